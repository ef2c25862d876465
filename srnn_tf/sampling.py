"""Drawing sequences: the one call of the structure, a step at a time, compiled into one loop."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from srnn_tf import nn
from srnn_tf.data.batching import frames as framing
from srnn_tf.programs import Programs


class Sampler:
    """`SequenceModel.sample` behind its checks; compiled once per shape.

    Args:
        model: a `SequenceModel`.
    """

    def __init__(self, model: Any):
        self.model = model
        self.program = Programs(model)

    def __call__(self, batch_size, num_steps, seed, prefix, temperature) -> tf.Tensor:
        model = self.model
        length = 0 if prefix is None else prefix.shape[1]

        def draw(*args):
            return self.draw(batch_size, num_steps * model.steps_per_frame, *args)

        program = self.program(draw, batch_size, num_steps, length)
        seed = nn.fold_in(tf.constant([seed % 2**31, 2]), 0)
        return program(prefix, seed, tf.constant(temperature, tf.float32))

    def draw(self, rows: Any, steps: Any, prefix, seed, temperature) -> tf.Tensor:
        """(rows, steps / steps_per_frame, D); `steps` are those of the structure.

        `rows` and `steps` are integers, or tensors outside XLA.
        """
        model = self.model
        previous, states = self._begin(rows, prefix, nn.fold_in(seed, 0))
        # All randomness is laid out before the loop; a longer run begins like a shorter one.
        seeds = nn.split(nn.fold_in(seed, 1), steps)
        noise = tf.zeros([steps, rows, 0])
        if model.latent_size:
            noise = nn.normal([steps, rows, model.latent_size], nn.fold_in(seed, 2))
        noise *= tf.sqrt(temperature)

        def body(t, previous, states, drawn):
            trace = model.structure(previous[:, None], states=states, noise=noise[t][:, None])
            x = model.emission(trace.context, temperature).sample(seed=seeds[t])[:, 0]
            return t + 1, x, trace.states, drawn.write(t, x)

        drawn = tf.TensorArray(tf.float32, size=steps, element_shape=[None, model.frame_size])
        *_, drawn = tf.while_loop(
            lambda t, *_: t < steps,
            body,
            (0, previous, states, drawn),
            maximum_iterations=steps,
        )
        values = nn.time_major(drawn.stack())
        return tf.reshape(values, [rows, steps // model.steps_per_frame, model.event_size])

    def _begin(self, rows, prefix, seed):
        """The step before the first drawn one, and the states after the prefix."""
        model = self.model
        if prefix is None:
            return tf.zeros([rows, model.frame_size]), model.structure.initial_states(rows)
        steps = framing.reframe(prefix, model.frame_size)
        noise = None
        if model.latent_size:
            noise = model.draw_noise(rows, steps.shape[1], seed)
        trace = model.structure(framing.shift(steps), targets=steps, noise=noise)
        return steps[:, -1], trace.states

"""Sampling sequences: the structure called one step at a time, compiled into one loop."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from srnn_tf.core import draws, nn, random
from srnn_tf.core import frames as framing
from srnn_tf.core.types import Size
from srnn_tf.density import Density
from srnn_tf.inference.programs import Programs


class Sampler:
    """Draws sequences from a density; compiled once per shape.

    Args:
        density: the density.
        programs: the cache of compiled functions.
    """

    def __init__(self, density: Density, programs: Programs):
        self.density, self.programs = density, programs

    def __call__(self, batch_size, num_steps, seed, prefix, temperature) -> tf.Tensor:
        program = self.programs(self.draw, prefix is None)
        # Integers of NumPy would be traced as tensors, which XLA takes for no sizes.
        rows, steps = int(batch_size), int(num_steps) * self.density.steps_per_frame
        # Arrays: to make a tensor of each, and to fold a seed, takes longer than a frame.
        seed = draws.request_seed(seed, draws.SAMPLES)
        return program(rows, steps, prefix, seed, np.array(temperature, np.float32))

    def draw(self, rows: Size, steps: Size, prefix, seed, temperature) -> tf.Tensor:
        """Draw sequences, (rows, steps / steps_per_frame, D), in `steps` steps of the structure.

        `rows` and `steps` are integers, or tensors outside XLA.
        """
        density, temperature = self.density, tf.convert_to_tensor(temperature)
        seed = random.fold_in(seed, 0)
        previous, states = self._begin(rows, prefix, random.fold_in(seed, draws.PREFIX))
        # All randomness is laid out before the loop; a longer run begins like a shorter one.
        seeds = random.split(random.fold_in(seed, draws.VALUES), steps)
        noise = tf.zeros([steps, rows, 0])
        if density.latent_size:
            drawn = random.fold_in(seed, draws.DRAWN_LATENTS)
            noise = random.normal([steps, rows, density.latent_size], drawn)
        noise *= tf.sqrt(temperature)

        def body(t, previous, states, drawn):
            trace, distribution = density.step(previous, states, noise[t], temperature=temperature)
            x = distribution.sample(seed=seeds[t])[:, 0]
            return t + 1, x, trace.states, drawn.write(t, x)

        drawn = tf.TensorArray(tf.float32, size=steps, element_shape=[None, density.frame_size])
        _, last, _, drawn = tf.while_loop(
            lambda t, *_: t < steps,
            body,
            (0, previous, states, drawn),
            maximum_iterations=steps,
        )
        # The last frame is written again, so that the loop must return it. Otherwise, where the
        # structure does not read x, XLA fuses its draw into its write, which runs on one core.
        values = nn.time_major(drawn.write(steps - 1, last).stack())
        return tf.reshape(values, [rows, steps // density.steps_per_frame, density.event_size])

    def _begin(self, rows, prefix, seed):
        """The step before the first step to draw, and the states after the prefix."""
        density = self.density
        if prefix is None:
            return tf.zeros([rows, density.frame_size]), density.initial_states(rows)
        batch = density.batch(prefix)
        noise = density.noise(rows, framing.size(batch.steps, 1), random.Key(seed))
        return batch.steps[:, -1], density.terms(batch, noise).states

"""Scoring whole sequences under the two protocols, compiled."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from srnn_tf import nn, objectives
from srnn_tf.data import frames as framing

PROTOCOLS = ("full", "paper")
# The seed of the fixed noise table: part of the definition of a published score.
TABLE_SEED = (1902, 1388)


def draw_seed(seed: int | None = None, sample: int = 0) -> tf.Tensor:
    """The seed (2,) of one draw of the latents; without a seed, that of the fixed table."""
    return nn.fold_in(nn.fold_in(TABLE_SEED if seed is None else [seed % 2**31, 1], 0), sample)


class Scorer:
    """`SequenceModel.log_prob` behind its checks; compiled once per shape.

    Args:
        model: a `SequenceModel`.
    """

    def __init__(self, model: Any):
        self.model = model
        self.programs: dict[bool, Any] = {}

    def __call__(self, frames, mask, num_samples, seed, protocol) -> tf.Tensor:
        rows, steps = frames.shape[:2]
        if mask is None:
            mask = np.ones([rows, steps], bool)
        padding = rounded(steps) - steps
        frames = np.pad(frames, [(0, 0), (0, padding), (0, 0)])
        mask = np.pad(mask, [(0, 0), (0, padding)])
        draws = num_samples if self.model.latent_size else 1
        program = self._program()
        total = tf.zeros([rows])
        for s in range(draws):
            total += program(
                frames, mask, draw_seed(seed, s), shared=seed is None, protocol=protocol
            )
        return total / draws

    def _program(self):
        xla = self.model.xla
        if xla not in self.programs:
            self.programs[xla] = tf.function(self.score, jit_compile=xla)
        return self.programs[xla]

    def score(self, frames, mask, seed, shared, protocol) -> tf.Tensor:
        """The bound (B,) from one draw of the latents.

        `shared` draws are a function of the step alone: a row's score does not depend on its batch.
        """
        model = self.model
        frames = tf.where(mask[..., None], tf.cast(frames, tf.float32), 0.0)
        steps = framing.reframe(frames, model.frame_size)
        mask = tf.repeat(mask, model.steps_per_frame, axis=1)
        rows = tf.shape(steps)[0]
        previous = framing.shift(steps)
        if protocol == "paper":  # the first step is context only
            steps, previous, mask = steps[:, 1:], steps[:, :-1], mask[:, 1:]
        noise = None
        if model.latent_size:
            noise = model.draw_noise(1 if shared else rows, steps.shape[1], seed)
            noise = tf.broadcast_to(noise, [rows, *noise.shape[1:]])
        if protocol == "paper" and model.window is not None:

            def cut(x):
                return framing.windows(x, model.window * model.steps_per_frame)

            steps, previous, mask = cut(steps), cut(previous), cut(mask)
            noise = None if noise is None else cut(noise)
        terms = model.terms(steps, previous, mask, noise)
        bound = objectives.elbo(terms["log_likelihood"], terms["kl"])
        return tf.reduce_sum(tf.reshape(bound, [rows, -1]), axis=1)


def rounded(steps: int) -> int:
    """`steps` rounded up to 3 significant bits, so that few lengths are ever compiled."""
    unit = max(1, 2 ** (steps.bit_length() - 3))
    return -(-steps // unit) * unit

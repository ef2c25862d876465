"""Moments of the posterior's means, from which active units are counted."""

from __future__ import annotations

import tensorflow as tf


def moments(mean: tf.Tensor, mask: tf.Tensor | None) -> tuple[tf.Tensor, ...]:
    """The number of real steps, and the sums over them of means and of their squares.

    Args:
        mean: (B, S, Z), the posterior's means; no gradient passes.
        mask: (B, S), or None where all steps are real.
    """
    mean = tf.stop_gradient(mean)
    weight = tf.ones(tf.shape(mean)[:2]) if mask is None else tf.cast(mask, tf.float32)
    sums = (tf.einsum("btz,bt->z", x, weight) for x in (mean, tf.square(mean)))
    return tf.reduce_sum(weight), *sums

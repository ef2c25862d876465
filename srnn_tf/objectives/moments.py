"""Moments of the posterior means, from which `ActiveUnits` counts active units."""

from __future__ import annotations

import tensorflow as tf


def moments(mean: tf.Tensor, mask: tf.Tensor | None) -> tuple[tf.Tensor, ...]:
    """The number of real steps, and the sums of the posterior means and their squares over them.

    Args:
        mean: (B, S, Z), the posterior means. No gradient passes through them.
        mask: (B, S) bool, or None where all steps are real.
    """
    mean = tf.stop_gradient(mean)
    weight = tf.ones(tf.shape(mean)[:2]) if mask is None else tf.cast(mask, tf.float32)
    sums = (tf.einsum("btz,bt->z", x, weight) for x in (mean, tf.square(mean)))
    return tf.reduce_sum(weight), *sums

"""Clipping gradients."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf


def clip(gradients: Sequence[tf.Tensor], norm: float) -> list[tf.Tensor]:
    """Clip gradients to a global norm; if one is infinite or NaN, return zeros.

    The latents of some structures form a chain, through which gradients can overflow float32. Such
    an update has gradient zero, instead of making every weight NaN. The norm is computed from
    scaled values, so that large gradients are clipped as long as they are finite. None stays None.

    Example:
        >>> [g.numpy().tolist() for g in clip([tf.constant([3e30, 4e30])], 5.0)]
        [[3.0, 4.0]]
    """
    # One vector of all: XLA would compile six loops for each gradient, and this is as fast.
    flat = tf.concat([tf.reshape(g, [-1]) for g in gradients if g is not None], axis=0)
    scale = tf.maximum(tf.reduce_max(tf.abs(flat)), 1e-30)
    total = tf.reduce_sum(tf.square(flat / scale))
    factor = tf.minimum(1.0, norm / tf.maximum(tf.sqrt(total), 1e-30) / scale)
    usable = tf.math.is_finite(total)
    return [
        None if g is None else tf.where(usable, g * factor, tf.zeros_like(g)) for g in gradients
    ]

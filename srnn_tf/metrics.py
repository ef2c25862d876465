"""Metrics over steps."""

from __future__ import annotations

import keras
import tensorflow as tf


class ActiveUnits(keras.metrics.Metric):
    """The number of latent units in use: variance over the data of the posterior mean > 0.01.

    Args:
        latent_size: Z.

    Reference: Burda et al., arXiv:1509.00519.
    """

    def __init__(self, latent_size: int, threshold: float = 0.01, name: str = "active_units"):
        super().__init__(name=name)
        self.threshold = threshold

        def weight(n, shape):
            return self.add_variable(shape, initializer="zeros", name=n)

        self.count = weight("count", ())
        self.total = weight("total", (latent_size,))
        self.squares = weight("squares", (latent_size,))

    def update_state(self, mean: tf.Tensor, mask: tf.Tensor | None = None) -> None:
        """Add posterior means (B, T, Z); steps under the mask (B, T) do not count."""
        weight = tf.ones(tf.shape(mean)[:2]) if mask is None else tf.cast(mask, tf.float32)
        self.count.assign_add(tf.reduce_sum(weight))
        self.total.assign_add(tf.einsum("btz,bt->z", mean, weight))
        self.squares.assign_add(tf.einsum("btz,bt->z", tf.square(mean), weight))

    def result(self) -> tf.Tensor:
        count = tf.maximum(self.count.value, 1.0)
        variance = self.squares / count - tf.square(self.total / count)
        return tf.reduce_sum(tf.cast(variance > self.threshold, tf.float32))

"""Metrics over steps."""

from __future__ import annotations

import keras
import tensorflow as tf


def active_units(
    mean: tf.Tensor, mask: tf.Tensor | None = None, threshold: float = 0.01
) -> tf.Tensor:
    """Which latent units are in use: those whose posterior mean varies over the data, (Z,) bool.

    Args:
        mean: (B, T, Z), the posterior means.
        mask: (B, T) bool; steps under it do not count.
        threshold: what the variance of a unit in use exceeds.

    Example:
        >>> active_units(tf.constant([[[0.0, 3.0], [1.0, 3.1]]])).numpy()
        array([ True, False])

    Reference: Burda et al., arXiv:1509.00519.
    """
    return _variance(*moments(mean, mask)) > threshold


class ActiveUnits(keras.metrics.Metric):
    """The number of `active_units` of all batches together.

    Args:
        latent_size: Z.
        threshold: what the variance of a unit in use exceeds.
    """

    def __init__(self, latent_size: int, threshold: float = 0.01, name: str = "active_units"):
        super().__init__(name=name)
        self.threshold = threshold

        def weight(n, shape):
            return self.add_variable(shape, initializer="zeros", name=n)

        self.moments = [
            weight("count", ()),
            weight("total", (latent_size,)),
            weight("squares", (latent_size,)),
        ]

    def update_state(self, mean: tf.Tensor, mask: tf.Tensor | None = None) -> None:
        """Add posterior means (B, T, Z); steps under the mask (B, T) do not count."""
        self.add(moments(mean, mask))

    def add(self, more: tuple[tf.Tensor, ...]) -> None:
        """Add `moments` of posterior means."""
        for moment, value in zip(self.moments, more, strict=True):
            moment.assign_add(value)

    def result(self) -> tf.Tensor:
        variance = _variance(*(moment.value for moment in self.moments))
        return tf.reduce_sum(tf.cast(variance > self.threshold, tf.float32))


def moments(mean: tf.Tensor, mask: tf.Tensor | None) -> tuple[tf.Tensor, ...]:
    """The number of real steps, and the sums over them of means and of their squares."""
    weight = tf.ones(tf.shape(mean)[:2]) if mask is None else tf.cast(mask, tf.float32)
    sums = (tf.einsum("btz,bt->z", x, weight) for x in (mean, tf.square(mean)))
    return tf.reduce_sum(weight), *sums


def _variance(count, total, squares):
    count = tf.maximum(count, 1.0)
    return squares / count - tf.square(total / count)

"""Metrics over steps."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from srnn_tf.objectives.moments import moments

# The name of what is monitored of a density that is not normalized: it is no log likelihood.
PSEUDO = "pseudo_log_likelihood"


def active_units(
    mean: tf.Tensor, mask: tf.Tensor | None = None, threshold: float = 0.01
) -> tf.Tensor:
    """The active latent units, (Z,) bool: those whose posterior mean varies over the data.

        active_i = Var_x( E_q[z_i] ) > threshold

    Args:
        mean: (B, T, Z), the posterior means.
        mask: (B, T) bool, true where a step is real; others are ignored.
        threshold: the variance above which a unit is active.

    Example:
        >>> active_units(tf.constant([[[0.0, 3.0], [1.0, 3.1]]])).numpy()
        array([ True, False])

    Reference: Burda et al., arXiv:1509.00519.
    """
    return _variance(*moments(mean, mask)) > threshold


class ActiveUnits(keras.metrics.Metric):
    """The number of `active_units` over all batches.

    Args:
        latent_size: Z.
        threshold: the variance above which a unit is active.
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
        """Add posterior means (B, T, Z); padding, by the mask (B, T), is ignored."""
        self.add(moments(mean, mask))

    def add(self, more: tuple[tf.Tensor, ...]) -> None:
        """Add `moments` of posterior means."""
        for moment, value in zip(self.moments, more, strict=True):
            moment.assign_add(value)

    def result(self) -> tf.Tensor:
        variance = _variance(*(moment.value for moment in self.moments))
        return tf.reduce_sum(tf.cast(variance > self.threshold, tf.float32))


class Metrics:
    """The metrics of training: means over real frames, and the number of active units.

    They do not depend on the batch size. Without latents there is no KL and no unit to report. Of a
    density that is not normalized there is no bound, and the log likelihood is a pseudo-likelihood.

    Args:
        latent_size: Z.
        normalized: whether the density is.
    """

    def __init__(self, latent_size: int, normalized: bool = True):
        names = ("loss", *(("bound", "log_likelihood") if normalized else (PSEUDO,)))
        names += ("kl", "kl_weight") if latent_size else ()
        self.means = [keras.metrics.Mean(name=name) for name in names]
        self.active_units = ActiveUnits(latent_size) if latent_size else None

    @property
    def all(self) -> list[keras.metrics.Metric]:
        """Every metric, in the order of the logs."""
        return [*self.means, *([] if self.active_units is None else [self.active_units])]

    def update(
        self, totals: dict[str, Any], count: tf.Tensor, kl_weight: tf.Tensor | float
    ) -> dict[str, tf.Tensor]:
        """Add the sums over a batch, and return the current value of all metrics.

        Args:
            totals: the sums, by the name of the metric, and the `moments` of the posterior means.
            count: the number of real frames in the batch.
            kl_weight: the KL weight of this update.
        """
        if self.active_units is not None and "moments" in totals:
            self.active_units.add(totals["moments"])
        for mean in self.means:
            name = "log_likelihood" if mean.name == PSEUDO else mean.name
            value = kl_weight if name == "kl_weight" else totals[name] / count
            mean.update_state(value, sample_weight=count)
        return {metric.name: metric.result() for metric in self.all}


def _variance(count, total, squares):
    count = tf.maximum(count, 1.0)
    return squares / count - tf.square(total / count)

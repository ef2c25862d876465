"""Objectives: pure functions of the terms a model call returns. Nats, float32."""

from __future__ import annotations

import dataclasses

import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class KLSchedule:
    """The weight of the KL term: linear in the number of updates made, then constant.

        w(step) = min(final, initial + increment * step)

    Example:
        >>> float(KLSchedule()(1000))
        0.25
    """

    initial: float = 0.2
    increment: float = 5e-5
    final: float = 1.0

    def __post_init__(self):
        for name, value in dataclasses.asdict(self).items():
            if value < 0.0:
                raise ValueError(f"`{name}` of a KL schedule must be >= 0; received {value!r}")

    def __call__(self, step: tf.Tensor | int) -> tf.Tensor:
        return tf.minimum(self.final, self.initial + self.increment * tf.cast(step, tf.float32))


def elbo(
    log_likelihood: tf.Tensor,
    kl: tf.Tensor,
    auxiliary: tf.Tensor | float = 0.0,
    kl_weight: tf.Tensor | float = 1.0,
) -> tf.Tensor:
    """The evidence lower bound of each step, nats; with weight 1 and no auxiliary cost, a bound.

        log p(x_t | z_<=t, x_<t) - w KL(q_t || p_t) + auxiliary_t

    For a model without latents it is the exact log likelihood.

    Args:
        log_likelihood, kl, auxiliary: (B, T).
        kl_weight: w.

    Example:
        >>> float(elbo(tf.constant(-3.0), tf.constant(1.0), kl_weight=0.5))
        -3.5

    Reference: Kingma and Welling, arXiv:1312.6114.
    """
    return log_likelihood - kl_weight * kl + auxiliary


def masked_mean(values: tf.Tensor, mask: tf.Tensor | None) -> tf.Tensor:
    """The mean over real steps of (B, T) values that are zero under the mask."""
    if mask is None:
        return tf.reduce_mean(values)
    return tf.reduce_sum(values) / tf.maximum(tf.reduce_sum(tf.cast(mask, values.dtype)), 1.0)

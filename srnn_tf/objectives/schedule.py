"""The weight of the KL term in training."""

from __future__ import annotations

import dataclasses

import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class KLSchedule:
    """The weight of the KL term: linear in the number of updates, then constant.

        w(step) = min(final, initial + increment * step)

    Raises:
        ValueError: an argument is negative.

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

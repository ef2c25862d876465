"""The standardization of a data set: from its signal to its values, and back."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True, repr=False)
class Standardization:
    """The affine map, and permutation, from the signal of a data set to its values.

        frame = ((signal - mean) / std)[permutation]

    Args:
        mean, std: one number for each value of a frame, or one for all.
        permutation: the order of the values in a frame; None for no permutation.

    Example:
        >>> scale = Standardization((2.0,), (4.0,))
        >>> scale.undo(scale.apply(np.array([[10.0, 2.0]])))
        array([[10.,  2.]])
    """

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    permutation: tuple[int, ...] | None = None

    def __repr__(self) -> str:
        order = "" if self.permutation is None else f", permutation of {len(self.permutation)}"
        return f"Standardization(mean={_short(self.mean)}, std={_short(self.std)}{order})"

    @classmethod
    def from_config(cls, config: Any, event_size: int) -> Standardization | None:
        """What a config holds, of frames of `event_size` values; None for None.

        Raises:
            ValueError: it is another thing: numbers that are not finite, standard deviations that
                are not positive, as many as fit no frame, or no permutation of a frame's values.
        """
        if config is None:
            return None
        if not isinstance(config, dict) or set(config) != {"mean", "std", "permutation"}:
            raise ValueError(f"it must have mean, std and permutation; received {config!r:.200}")
        for name in ("mean", "std"):
            values = config[name]
            numbers = isinstance(values, list) and all(type(v) in (int, float) for v in values)
            if not numbers or len(values) not in (1, event_size) or not np.isfinite(values).all():
                raise ValueError(
                    f"`{name}` must be 1 or {event_size} finite numbers; received {values!r:.200}"
                )
        if not min(config["std"]) > 0:
            raise ValueError(f"`std` must be positive; received {config['std']!r:.200}")
        order = config["permutation"]
        if order is not None:
            whole = isinstance(order, list) and all(type(i) is int for i in order)
            if not whole or len(order) != event_size or sorted(order) != list(range(event_size)):
                raise ValueError(
                    f"`permutation` must be the numbers 0 to {event_size - 1} in some order; "
                    f"received {order!r:.200}"
                )
        return cls(tuple(config["mean"]), tuple(config["std"]), order and tuple(order))

    def apply(self, frames: np.ndarray) -> np.ndarray:
        """Standardize frames of the signal, (T, D)."""
        frames = (frames - np.asarray(self.mean)) / np.asarray(self.std)
        return frames if self.permutation is None else frames[..., list(self.permutation)]

    def undo(self, frames: np.ndarray) -> np.ndarray:
        """The signal of standardized frames or samples, (T, D) float64: the inverse of `apply`."""
        frames = np.asarray(frames, np.float64)
        if self.permutation is not None:
            frames = frames[..., np.argsort(self.permutation)]
        return frames * np.asarray(self.std) + np.asarray(self.mean)


def _short(numbers: tuple[float, ...]) -> str:
    """All of a few numbers, the ends of many."""
    if len(numbers) <= 4:
        return "(" + ", ".join(f"{n:g}" for n in numbers) + ")"
    return f"({numbers[0]:g}, {numbers[1]:g}, ..., {numbers[-1]:g}: {len(numbers)} numbers)"

"""The standardization of a data set: from its signal to its values, and back."""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
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

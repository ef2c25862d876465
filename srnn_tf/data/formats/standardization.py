"""How the numbers of a data set were made from its signal."""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Standardization:
    """How the numbers of a data set were made from its signal, and back.

        frame = ((signal - mean) / std)[permutation]

    Args:
        mean, std: of each value of a frame, or one for all.
        permutation: the order of the values of a frame; None for their own.

    Example:
        >>> scale = Standardization((2.0,), (4.0,))
        >>> scale.undo(scale.apply(np.array([[10.0, 2.0]])))
        array([[10.,  2.]])
    """

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    permutation: tuple[int, ...] | None = None

    def apply(self, frames: np.ndarray) -> np.ndarray:
        """(T, D) of the signal to (T, D) of the data set."""
        frames = (frames - np.asarray(self.mean)) / np.asarray(self.std)
        return frames if self.permutation is None else frames[..., list(self.permutation)]

    def undo(self, frames: np.ndarray) -> np.ndarray:
        """(T, D) of the data set, or of a sample, to (T, D) of the signal, float64."""
        frames = np.asarray(frames, np.float64)
        if self.permutation is not None:
            frames = frames[..., np.argsort(self.permutation)]
        return frames * np.asarray(self.std) + np.asarray(self.mean)

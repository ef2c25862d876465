"""Sequences that stay on disk until they are sliced, and what undoes their standardization."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Standardization:
    """How the numbers of a data set were made from its signal, and back.

        frame = ((signal - mean) / std)[permutation]

    Args:
        mean, std: of each value of a frame, or one for all.
        permutation: the order of the values of a frame; None for their own.

    Example:
        >>> both = Standardization((2.0,), (4.0,))
        >>> both.undo(both.apply(np.array([[10.0, 2.0]])))
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


@dataclasses.dataclass(frozen=True)
class View:
    """How stored numbers are to be seen; all sequences of a part share one.

    Args:
        frame_size: D.
        dtype: of the file.
        standardization: of the data set.
        down_sample: k, above 1 the signal is read as its k interleaved parts, one after another.
        unscaled: values of a frame, from the first on, that a sequence's scale is not for: the bit
            of a pen.
    """

    frame_size: int
    dtype: str
    standardization: Standardization
    down_sample: int = 1
    unscaled: int = 0


@dataclasses.dataclass(frozen=True, eq=False)
class Stored:
    """A sequence of a prepared data set: an array (T, D), float32, read from disk where sliced.

    Args:
        path: the file.
        offset: of its first number, in bytes.
        size: how many numbers it has.
        scale: what a stored number is multiplied by.
        view: see `View`.
        first, last: the frames of it that are meant; all by default.

    Example:
        sequence[10:20].shape  # (10, D)
        np.asarray(sequence).shape == sequence.shape
    """

    path: Path
    offset: int
    size: int
    scale: float
    view: View
    first: int = 0
    last: int | None = None

    @property
    def num_values(self) -> int:
        """Numbers that a stream may read; above T * D where an incomplete frame ends the signal."""
        if self.last is not None or self.view.standardization.permutation is not None:
            return len(self) * self.view.frame_size
        return self._whole() - self.first * self.view.frame_size

    @property
    def shape(self) -> tuple[int, int]:
        return len(self), self.view.frame_size

    @property
    def ndim(self) -> int:
        return 2

    def __len__(self) -> int:
        frames = self._whole() // self.view.frame_size
        return (frames if self.last is None else self.last) - self.first

    def __getitem__(self, key: int | slice) -> np.ndarray:
        width = self.view.frame_size
        if isinstance(key, slice):
            start, stop, step = key.indices(len(self))
            if step != 1:
                return np.asarray(self)[key]
            stop = max(start, stop)
            return self.values(start * width, stop * width).reshape(-1, width)
        at = range(len(self))[key]  # an IndexError beyond the end, so that iteration ends
        return self.values(at * width, (at + 1) * width)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:].astype(dtype or np.float32, copy=False)

    def cut(self, start: int, stop: int) -> Stored:
        """The frames from `start` to `stop`, still on disk."""
        return dataclasses.replace(self, first=self.first + start, last=self.first + stop)

    def values(self, start: int, stop: int) -> np.ndarray:
        """Numbers `start` to `stop` of the frames laid end to end, float32, standardized."""
        both, width = self.view.standardization, self.view.frame_size
        # Means and permutations are per place in a frame, so whole frames are read.
        low, high = start // width, -(-stop // width)
        from_, to = (self.first + low) * width, (self.first + high) * width
        raw = self._stored(from_, min(to, self._whole())).astype(np.float32)
        missing = (to - from_) - len(raw)  # of an incomplete last frame
        frames = np.pad(raw, (0, missing)).reshape(-1, width)
        frames[:, self.view.unscaled :] *= self.scale
        flat = both.apply(frames).astype(np.float32).reshape(-1)
        return flat[start - low * width : stop - low * width]

    def _whole(self) -> int:
        """Numbers of the whole sequence in this view."""
        return self.size // self.view.down_sample * self.view.down_sample

    def _stored(self, start: int, stop: int) -> np.ndarray:
        """Stored numbers, a copy: nothing stays mapped, so memory does not grow with the files."""
        k = self.view.down_sample
        shape = (self.size,)
        stored = np.memmap(self.path, self.view.dtype, "r", self.offset, shape)
        if k == 1 or start == stop:
            return np.array(stored[start:stop])
        length, pieces = self.size // k, []
        for phase in range(start // length, (stop - 1) // length + 1):
            low, high = max(start - phase * length, 0), min(stop - phase * length, length)
            pieces.append(np.array(stored[phase : length * k : k][low:high]))
        return np.concatenate(pieces)


def num_values(sequence: Any) -> int:
    """How many numbers a stream may read of a sequence, an array (T, D) or `Stored`."""
    count = getattr(sequence, "num_values", None)
    return int(np.prod(np.shape(sequence))) if count is None else count


def read_values(sequence: Any, start: int, stop: int) -> np.ndarray:
    """Numbers `start` to `stop` of a sequence laid end to end, float32."""
    if hasattr(sequence, "values"):
        return sequence.values(start, stop)
    return np.reshape(sequence, -1)[start:stop].astype(np.float32)


def width_of(sequences: Sequence[Any]) -> int:
    """D of sequences (T_i, D).

    Raises:
        ValueError: they have none in common.
    """
    shapes = {np.shape(s)[1:] for s in sequences}
    if len(shapes) != 1 or any(len(shape) != 1 for shape in shapes):
        raise ValueError(
            f"`sequences` must be arrays (T, D) of one width D; received steps of {sorted(shapes)}"
        )
    return next(iter(shapes))[0]


def pieces(sequences: Sequence[Any], max_steps: int | None) -> list[Any]:
    """The same steps in sequences of at most `max_steps`, for corpora of very long ones.

    Args:
        sequences: arrays (T_i, D), or sequences of a prepared data set, which stay on disk.
        max_steps: None leaves the sequences as they are.

    Example:
        >>> [len(p) for p in pieces([np.zeros([5, 3]), np.zeros([2, 3])], 2)]
        [2, 2, 1, 2]
    """
    if max_steps is None:
        return list(sequences)
    if max_steps < 1:
        raise ValueError(f"`max_steps` must be at least 1; received {max_steps}")
    result = []
    for sequence in sequences:
        for start in range(0, len(sequence), max_steps):
            stop = min(start + max_steps, len(sequence))
            whole = start == 0 and stop == len(sequence)
            cut = getattr(sequence, "cut", None)
            piece = sequence if whole else cut(start, stop) if cut else sequence[start:stop]
            result.append(piece)
    return result

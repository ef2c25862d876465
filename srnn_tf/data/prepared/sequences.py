"""Sequences of a prepared data set: arrays that stay on disk until they are sliced."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from srnn_tf.data.formats.standardization import Standardization


@dataclasses.dataclass(frozen=True)
class View:
    """The conversion from stored values to frames; all sequences of a part share one.

    Args:
        frame_size: D.
        dtype: the dtype in the file.
        standardization: the standardization of the data set.
        down_sample: k. Above 1 the signal is read as its k interleaved parts, one after another.
        unscaled: the number of leading values of a frame that are not scaled, such as the bit of a
            pen.
    """

    frame_size: int
    dtype: str
    standardization: Standardization
    down_sample: int = 1
    unscaled: int = 0


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Stored:
    """A sequence of a prepared data set: an array (T, D), float32, read from disk when sliced.

    Args:
        path: the file.
        offset: the position of its first value, in bytes.
        size: its number of values.
        scale: the factor by which stored values are multiplied.
        view: see `View`.
        first, last: the range of frames; all by default.

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

    def __repr__(self) -> str:
        return f"Stored({len(self)} x {self.view.frame_size}, {self.path.name} at {self.offset})"

    @property
    def num_values(self) -> int:
        """The number of values that a stream may read: above T * D if the last frame is partial."""
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
        """The values `start` to `stop` of the flattened frames, float32, standardized."""
        standardization, width = self.view.standardization, self.view.frame_size
        # Means and permutations are per place in a frame, so whole frames are read.
        low, high = start // width, -(-stop // width)
        from_, to = (self.first + low) * width, (self.first + high) * width
        raw = self._stored(from_, min(to, self._whole())).astype(np.float32)
        missing = (to - from_) - len(raw)  # of an incomplete last frame
        frames = np.pad(raw, (0, missing)).reshape(-1, width)
        frames[:, self.view.unscaled :] *= self.scale
        flat = standardization.apply(frames).astype(np.float32).reshape(-1)
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
        length, chunks = self.size // k, []
        for phase in range(start // length, (stop - 1) // length + 1):
            low, high = max(start - phase * length, 0), min(stop - phase * length, length)
            chunks.append(np.array(stored[phase : length * k : k][low:high]))
        return np.concatenate(chunks)

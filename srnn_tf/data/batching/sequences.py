"""Access to sequences in memory, arrays (T, D), or on disk: width, values, pieces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeGuard

import numpy as np

from srnn_tf.core import checks
from srnn_tf.core.types import Steps


def num_values(sequence: Steps) -> int:
    """The number of values that a stream may read from a sequence, an array (T, D) or `Stored`."""
    count = getattr(sequence, "num_values", None)
    return int(np.prod(np.shape(sequence))) if count is None else count


def read_values(sequence: Steps, start: int, stop: int) -> np.ndarray:
    """The values `start` to `stop` of a flattened sequence, float32."""
    if _is_stored(sequence):
        return sequence.values(start, stop)
    return np.reshape(sequence, -1)[start:stop].astype(np.float32)


def _is_stored(sequence: Any) -> TypeGuard[Any]:
    """Whether a sequence reads its values from disk."""
    return callable(getattr(sequence, "values", None))


def check_numbers(sequences: Sequence[Steps]) -> None:
    """Check that sequences in memory are arrays of real numbers.

    Raises:
        ValueError: one is anything else, such as a masked array or a table.
    """
    for place, sequence in enumerate(sequences):
        if not _is_stored(sequence):
            checks.reals(sequence, f"sequences[{place}]", "an array (T, D)")


def width_of(sequences: Sequence[Steps]) -> int:
    """D, the common width of sequences (T_i, D).

    Raises:
        ValueError: the sequences differ in width, or are no arrays of real numbers.
    """
    check_numbers(sequences)
    shapes = {np.shape(s)[1:] for s in sequences}
    if len(shapes) != 1 or any(len(shape) != 1 for shape in shapes):
        raise ValueError(
            f"`sequences` must be arrays (T, D) of one width D; received steps of {sorted(shapes)}"
        )
    return next(iter(shapes))[0]


def pieces(sequences: Sequence[Steps], max_steps: int | None) -> list[Steps]:
    """Cut sequences into pieces of at most `max_steps` steps, for corpora of very long sequences.

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

"""The definition of a piano roll, and its check."""

from __future__ import annotations

import numpy as np

LOWEST_NOTE = 21  # MIDI number of column 0, the A of 27.5 Hz
_ROWS = 1 << 14  # frames checked at once: what that takes does not grow with the roll
NUM_NOTES = 88  # the keys of a piano, MIDI notes 21..108


def check_roll(roll: np.ndarray, what: str, path: str | None = None) -> np.ndarray:
    """Return `roll` as a uint8 piano roll of shape (T, 88) with values 0 and 1.

    Args:
        roll: array of numbers or booleans, one row per frame; column `c` is MIDI note `c + 21`.
        what: a description of the array, for the error message.
        path: the file of the array, if any, for the error message.

    Raises:
        ValueError: the array has another shape, no frames, or values other than 0 and 1.

    Example:
        check_roll(np.eye(88), "roll").shape  # (88, 88)
    """
    prefix = f"{path}: " if path else ""
    roll = np.asarray(roll)
    if roll.dtype.kind not in "buif" or roll.ndim != 2 or roll.shape[1] != NUM_NOTES:
        raise ValueError(
            f"{prefix}{what} has shape {roll.shape} and type {roll.dtype}; accepted are numbers "
            f"of shape (frames, {NUM_NOTES})"
        )
    if not len(roll):
        raise ValueError(f"{prefix}{what} is empty; accepted are rolls of at least one frame")
    for start in range(0, len(roll), _ROWS):
        rows = roll[start : start + _ROWS]
        foreign = rows[(rows != 0) & (rows != 1)]  # NaN differs from both, so it is caught too
        if foreign.size:
            raise ValueError(f"{prefix}{what} holds the value {foreign[0]}; accepted are 0 and 1")
    return roll.astype(np.uint8)

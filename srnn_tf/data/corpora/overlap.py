"""Pieces that two collections of music share, in any key and at any time step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from srnn_tf.core.types import Steps
from srnn_tf.data.formats.rolls import NUM_NOTES

# Chords in a row that are compared; chance does not repeat so many.
CHORDS = 6
# The part of the shorter piece's passages that two pieces must share to be called the same.
SHARED = 0.3
# Of a very short piece so many passages are asked for as if it had these.
_FEWEST = 8
# (first frame, step): a piece is compared as it is, and at two and four times its time step.
_READINGS = ((0, 1), (0, 2), (1, 2), (0, 4))


def repeated(rolls: Sequence[Steps], others: Sequence[Steps]) -> list[int]:
    """Find the rolls whose piece is also among the others, in whole or in part.

    A passage is six successive chords, each different from the previous one, regardless of their
    lengths and of the key. Two pieces are the same if they share at least 30 % of the passages of
    one of them.

    Args:
        rolls, others: piano rolls, arrays of 0 and 1, (T_i, 88).

    Returns:
        Indices in `rolls`, in order.

    Example:
        >>> first, second = np.random.default_rng(0).random([2, 50, 88]) < 0.02
        >>> repeated([first, second], [np.repeat(np.roll(second, 2, axis=1), 2, axis=0)])
        [1]
    """
    roll_readings, other_readings = [_passages(r) for r in rolls], [_passages(r) for r in others]
    known = np.concatenate(
        [p for readings in other_readings for p in readings] or [np.zeros(0, np.uint64)]
    )
    sizes = [len(p) for readings in other_readings for p in readings]
    reading_of = np.repeat(np.arange(len(sizes)), sizes)
    order = np.argsort(known, kind="stable")
    known, reading_of = known[order], reading_of[order]
    asked = SHARED * np.maximum(_FEWEST, np.array(sizes, float)) if sizes else np.zeros(0)
    return [
        place
        for place, readings in enumerate(roll_readings)
        if any(_same(passages, known, reading_of, asked) for passages in readings)
    ]


def _same(passages, known, reading_of, asked) -> bool:
    """Whether a piece shares enough with one of the known ones, for itself or for that one."""
    low, high = (np.searchsorted(known, passages, side=side) for side in ("left", "right"))
    hits = [reading_of[a:b] for a, b in zip(low, high, strict=True) if b > a]
    if not hits:
        return False
    shared = np.bincount(np.concatenate(hits), minlength=len(asked))
    mine = SHARED * max(_FEWEST, len(passages))
    return bool(np.any(shared >= np.minimum(asked, mine)))


def _passages(roll: Steps) -> list[np.ndarray]:
    """Of each reading the passages of a roll, as numbers that do not depend on the key."""
    return [_numbers(np.asarray(roll)[first::step]) for first, step in _READINGS]


def _numbers(roll: np.ndarray) -> np.ndarray:
    """A 64-bit number for each passage, uint64, sorted, none twice."""
    roll = roll[roll.any(axis=1)]
    if len(roll):
        changed = np.any(roll[1:] != roll[:-1], axis=1)
        roll = roll[np.concatenate([[True], changed])]
    if len(roll) < CHORDS:
        return np.zeros(0, np.uint64)
    lowest = roll.argmax(axis=1)
    above = np.minimum(lowest[:, None] + np.arange(NUM_NOTES), NUM_NOTES - 1)
    inside = lowest[:, None] + np.arange(NUM_NOTES) < NUM_NOTES
    chords = np.take_along_axis(roll.astype(bool), above, axis=1) & inside
    rng = np.random.default_rng(0)
    of_key, of_chord, of_step = (
        rng.integers(1, 2**63, size, np.uint64) for size in (NUM_NOTES, CHORDS, CHORDS)
    )
    # Sums and products of 64-bit numbers run over: that is the hash.
    with np.errstate(over="ignore"):
        kind = np.where(chords, of_key, np.uint64(0)).sum(axis=1, dtype=np.uint64)
        kind ^= kind >> np.uint64(29)
        steps = np.diff(lowest).astype(np.int64).view(np.uint64)
        count = len(roll) - CHORDS + 1
        total = np.zeros(count, np.uint64)
        for k in range(CHORDS):
            total += kind[k : k + count] * of_chord[k]
            if k:
                total += steps[k - 1 : k - 1 + count] * of_step[k]
    return np.unique(total)

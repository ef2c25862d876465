"""Transposition of piano rolls, so that models generalize over keys."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from srnn_tf.core import checks
from srnn_tf.core.types import Steps
from srnn_tf.data.formats.rolls import NUM_NOTES, check_roll

LARGEST = 24  # semitones; two octaves
# The last word of the random numbers' seed: without it, NumPy's would be that of the epoch's order
# for the first sequence, since it fills short seeds up with zeros.
_TRANSPOSITIONS = 1


def transposed(roll: np.ndarray, semitones: int) -> np.ndarray:
    """Transpose a piano roll up by a number of semitones, or down if negative; no note is lost.

    Args:
        roll: array of 0 and 1, shape (T, 88).
        semitones: -24 to 24, within `transposition_range`.

    Returns:
        A new array uint8 (T, 88): `result[t, i + semitones] == roll[t, i]`.

    Raises:
        ValueError: `roll` is not a piano roll, `semitones` is out of range, or a note would leave
            the keyboard.

    Example:
        >>> int(transposed(np.eye(88)[40:41], 12).argmax())
        52
    """
    roll = check_roll(roll, "roll")
    checks.between("semitones", semitones, -LARGEST, LARGEST)
    low, high = transposition_range(roll, LARGEST)
    if not low <= semitones <= high:
        raise ValueError(
            f"semitones={semitones} moves a note off the keyboard of {NUM_NOTES} keys; accepted "
            f"are {low} to {high} for this roll"
        )
    return np.roll(roll, semitones, axis=1)


def transposition_range(roll: Steps, semitones: int) -> tuple[int, int]:
    """The lowest and the highest transposition, of at most `semitones`, that keep every note.

    Args:
        roll: array of 0 and 1, shape (T, 88).
        semitones: 0 to 24.

    Raises:
        ValueError: `semitones` is out of range.

    Example:
        >>> transposition_range(np.eye(88)[[2, 60]], 6)
        (-2, 6)
    """
    checks.between("semitones", semitones, 0, LARGEST)
    keys = np.flatnonzero(np.any(roll, axis=0))
    if not len(keys):
        return -semitones, semitones
    return max(-semitones, -int(keys[0])), min(semitones, NUM_NOTES - 1 - int(keys[-1]))


def check_transpose(sequences: Sequence[Steps], semitones: int) -> None:
    """Check that sequences can be transposed by up to `semitones`.

    Raises:
        ValueError: `semitones` is not from 0 to 24, or it is above 0 and a sequence is not a piano
            roll.
    """
    checks.between("transpose", semitones, 0, LARGEST)
    if not semitones:
        return
    for i, sequence in enumerate(sequences):
        try:
            check_roll(np.asarray(sequence), f"sequence {i}")
        except ValueError as error:
            raise ValueError(
                f"`transpose` must be 0 for what is not piano rolls; received {semitones}: {error}"
            ) from error


def at_random(
    drawn: Sequence[tuple[int, Steps]], semitones: int, seed: int, epoch: int
) -> list[Steps]:
    """Transpose each sequence of an epoch by its own random number of semitones.

    The number is uniform over the sequence's `transposition_range`. It is a pure function of the
    seed, the epoch, the index of the sequence, and how often it has occurred in this epoch.

    Args:
        drawn: pairs (index, piano roll), in the order of the epoch.
        semitones: the largest transposition; 0 leaves the sequences as they are.
        seed, epoch: the seed and the number of the epoch.
    """
    if not semitones:
        return [roll for _, roll in drawn]
    result, times = [], dict[int, int]()
    for place, roll in drawn:
        again = times[place] = times.get(place, -1) + 1
        low, high = transposition_range(roll, semitones)
        rng = np.random.default_rng([seed, epoch, place, again, _TRANSPOSITIONS])
        result.append(np.roll(roll, int(rng.integers(low, high + 1)), axis=1))
    return result

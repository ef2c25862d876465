"""The same piece in two collections is found in any key and at any time step; others are not."""

import numpy as np
import pytest

from srnn_tf import data
from srnn_tf.data.corpora.overlap import repeated


def piece(seed, chords=40, notes=3):
    """Random chords of a few notes, each of one to three frames."""
    random = np.random.default_rng(seed)
    roll = np.zeros([chords, 88], np.uint8)
    for row in roll:
        row[random.choice(np.arange(20, 60), notes, replace=False)] = 1
    return np.repeat(roll, random.integers(1, 4, chords), axis=0)


PIECES = [piece(seed) for seed in range(6)]


@pytest.mark.parametrize("change", ["same", "key", "slower", "faster", "rests", "part"])
def test_a_piece_is_found_again(change):
    other = {
        "same": lambda roll: roll,
        "key": lambda roll: np.roll(roll, 9, axis=1),
        "slower": lambda roll: np.repeat(roll, 4, axis=0),
        "faster": lambda roll: np.repeat(roll, 2, axis=0)[1::4],
        "rests": lambda roll: np.insert(roll, [5, 9, 30], 0, axis=0),
        "part": lambda roll: np.concatenate([piece(77), roll[: len(roll) // 2]]),
    }[change](PIECES[2] if change != "faster" else np.repeat(PIECES[2], 2, axis=0))
    assert repeated(PIECES, [piece(50), other, piece(51)]) == [2]


def test_other_pieces_are_not():
    assert repeated(PIECES, [piece(seed) for seed in range(100, 110)]) == []
    assert repeated(PIECES, []) == [] and repeated([], PIECES) == []
    short = [np.eye(88, dtype=np.uint8)[30:34], np.zeros([50, 88], np.uint8)]
    assert repeated(short, short) == []  # too short to tell


def test_a_phrase_in_common_does_not_make_two_pieces_the_same():
    phrase = PIECES[0][:14]
    assert repeated([np.concatenate([phrase, piece(60, 80)])], [PIECES[0]]) == []


def test_chorales_in_another_key_are_found():
    bach = data.load("bach")
    moved = [data.transposed(roll, 3)[::2] for roll in bach.test]
    assert repeated(bach.test, moved) == [*range(len(bach.test))]
    assert len(repeated(bach.train, bach.test)) <= 3  # versions of one melody

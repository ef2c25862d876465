"""Transposed piano rolls, alone and in the batches of training."""

import hashlib
import re

import numpy as np
import pytest

from srnn_tf.data import streams, transposed, transposition_range
from srnn_tf.data.batching.transposition import at_random
from tests import harness

PLAIN = "dc33ab5b123a9e882e65c4abff0343d63dc1d66c1cb8587901421b81fcfac3d6"
ROLLS = harness.rolls([40, 25, 60, 33], density=0.05)
for _roll, _keys in zip(ROLLS, ((30, 50), (2, 88), (0, 88), (10, 84)), strict=True):
    _roll[:, : _keys[0]] = 0
    _roll[:, _keys[1] :] = 0


def intervals(frame):
    """The distances of a frame's notes from its lowest one."""
    keys = np.flatnonzero(frame)
    return tuple(keys - keys[0]) if len(keys) else ()


@pytest.mark.parametrize("semitones", [-7, -1, 0, 1, 12])
def test_transposed_moves_every_note(semitones):
    roll = ROLLS[0]
    kept, found = roll.copy(), transposed(roll, semitones)
    notes = {(t, i + semitones) for t, i in zip(*np.nonzero(roll), strict=True)}
    assert {(t, i) for t, i in zip(*np.nonzero(found), strict=True)} == notes
    assert found.dtype == np.uint8 and found.shape == roll.shape
    np.testing.assert_array_equal(roll, kept)
    np.testing.assert_array_equal(transposed(found, -semitones), roll)


def test_the_range_keeps_every_note_on_the_keyboard():
    keys = [(30, 50), (2, 87), (0, 87), (10, 80)]
    for low, high in keys:
        roll = np.zeros([2, 88], np.uint8)
        roll[0, low] = roll[1, high] = 1
        for most in (0, 6, 24):
            first, last = transposition_range(roll, most)
            assert (first, last) == (max(-most, -low), min(most, 87 - high))
            for semitones in (first, last):
                assert transposed(roll, semitones).sum() == 2
    assert transposition_range(np.zeros([3, 88]), 6) == (-6, 6)


@pytest.mark.parametrize("seed", [0, 7])
def test_an_epoch_keeps_all_notes_and_intervals(seed):
    drawn = [(place, roll) for place, roll in enumerate(ROLLS)]
    seen = [set() for _ in ROLLS]
    for epoch in range(100):
        for place, found in enumerate(at_random(drawn, 6, seed, epoch)):
            roll = ROLLS[place]
            assert found.sum() == roll.sum()
            for a, b in zip(found, roll, strict=True):
                assert intervals(a) == intervals(b)
            low = [np.flatnonzero(r.any(axis=0))[0] for r in (found, roll)]
            seen[place].add(int(low[0] - low[1]))
    ranges = [transposition_range(roll, 6) for roll in ROLLS]
    assert [(min(s), max(s)) for s in seen] == ranges and ranges[2] == (0, 0)
    assert len(seen[0]) == 13  # each of them, in 100 epochs


def test_a_sequence_drawn_twice_in_an_epoch_moves_twice():
    drawn = [(0, ROLLS[0])] * 30
    lowest = {int(np.flatnonzero(r.any(axis=0))[0]) for r in at_random(drawn, 6, 0, 0)}
    assert len(lowest) > 5
    again = [r.tobytes() for r in at_random(drawn, 6, 0, 0)]
    assert again == [r.tobytes() for r in at_random(drawn, 6, 0, 0)]


def batches(**options):
    data = streams(ROLLS, 2, 10, seed=3, **options)
    return [data[i] for i in range(3 * data.batches_per_epoch)]


def same(one, two):
    return all(a[k].tobytes() == b[k].tobytes() for a, b in zip(one, two, strict=True) for k in a)


def test_batches_are_a_function_of_seed_and_epoch():
    first = batches(transpose=6)
    assert same(first, batches(transpose=6)) and not same(first, batches())
    data = streams(ROLLS, 2, 10, seed=3, transpose=6)
    for i in reversed(range(len(first))):  # in any order
        assert same([data[i]], [first[i]])
    epoch = data.batches_per_epoch
    assert not same(first[:epoch], first[epoch : 2 * epoch])


def test_transpose_0_is_as_if_it_were_not_there():
    assert same(batches(transpose=0), batches())
    digest = hashlib.sha256()
    for batch in batches():
        for name in ("frames", "previous", "mask"):
            digest.update(batch[name].tobytes())
    # Of the same call, made with the code from before there was transposition.
    assert digest.hexdigest() == PLAIN


@pytest.mark.parametrize("transpose", [1, 6])
def test_batches_are_the_plain_ones_moved(transpose):
    """The order of sequences does not change, and each window keeps its notes."""
    for moved, plain in zip(batches(transpose=transpose), batches(), strict=True):
        np.testing.assert_array_equal(moved["mask"], plain["mask"])
        np.testing.assert_array_equal(moved["frames"].sum(axis=-1), plain["frames"].sum(axis=-1))


SPEECH = [np.random.default_rng(0).standard_normal([30, 200])]
STROKES = [np.random.default_rng(0).standard_normal([30, 3])]
BAD = {
    "speech": ((SPEECH, 6), "`transpose` must be 0 for what is not piano rolls; received 6"),
    "strokes": ((STROKES, 1), "must be 0 for what is not piano rolls; received 1.*(30, 3)"),
    "values": (([np.full([30, 88], 0.5)], 6), "sequence 0 holds the value 0.5"),
    "range": ((ROLLS, 25), "`transpose` must be an integer from 0 to 24; received 25"),
    "below": ((ROLLS, -1), "from 0 to 24; received -1"),
    "half": ((ROLLS, 0.5), "from 0 to 24; received 0.5"),
    "bool": ((ROLLS, True), "from 0 to 24; received True"),
}


@pytest.mark.parametrize("case", BAD)
def test_streams_refuse(case):
    (sequences, transpose), message = BAD[case]
    with pytest.raises(ValueError) as error:
        streams(sequences, 1, 5, transpose=transpose)
    assert re.search(message.replace("(", r"\(").replace(")", r"\)"), str(error.value))


def test_transposed_refuses():
    with pytest.raises(ValueError, match="semitones=7 moves a note off.*accepted are -24 to 4 for"):
        roll = np.zeros([3, 88])
        roll[1, 83] = roll[0, 40] = 1
        transposed(roll, 7)
    with pytest.raises(ValueError, match="`semitones` must be an integer from -24 to 24"):
        transposed(ROLLS[0], 25)
    with pytest.raises(ValueError, match="roll has shape"):
        transposed(np.zeros([3, 200]), 1)
    with pytest.raises(ValueError, match="`semitones` must be an integer from 0 to 24"):
        transposition_range(ROLLS[0], 25)

"""Sequences that stay on disk behave as the arrays they stand for."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srnn_tf.data import pieces
from srnn_tf.data.batching.sequences import num_values, read_values
from srnn_tf.data.formats.standardization import Standardization
from srnn_tf.data.prepared.sequences import Stored, View

NUMBERS = np.random.default_rng(0).integers(-900, 900, 53).astype("<i2")
OFFSET = 7  # odd: nothing is aligned in a record


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    file = tmp_path_factory.mktemp("stored") / "x.tfrecord"
    file.write_bytes(b"x" * OFFSET + NUMBERS.tobytes() + b"more")
    return file


def stored(path, frame=5, down_sample=1, permutation=None):
    both = Standardization((3.0,), (20.0,), permutation)
    return Stored(path, OFFSET, len(NUMBERS), 0.5, View(frame, "<i2", both, down_sample))


def expected(frame=5, permutation=None):
    """The frames that `stored` stands for."""
    whole = NUMBERS[: len(NUMBERS) // frame * frame].reshape(-1, frame) * 0.5
    frames = ((whole - 3) / 20).astype(np.float32)
    return frames if permutation is None else frames[:, list(permutation)]


ORDER = (2, 0, 4, 1, 3)


@pytest.mark.parametrize("permutation", [None, ORDER])
def test_it_reads_as_an_array(path, permutation):
    sequence, array = stored(path, permutation=permutation), expected(permutation=permutation)
    assert len(sequence) == 10 and sequence.shape == np.shape(sequence) == (10, 5)
    for key in (0, 9, -1, -10, slice(None), slice(2, 5), slice(3, 3), slice(-4, None),
                slice(0, 10, 3), slice(None, None, -1), slice(7, 2), slice(5, 99)):  # fmt: skip
        found = sequence[key]
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, array[key], rtol=1e-6)
    np.testing.assert_allclose(np.asarray(sequence), array, rtol=1e-6)
    assert np.asarray(sequence, np.float64).dtype == np.float64
    assert len(list(sequence)) == 10
    with pytest.raises(IndexError):
        sequence[10]


def test_values_go_beyond_the_last_whole_frame(path):
    sequence = stored(path)
    assert num_values(sequence) == 53
    np.testing.assert_allclose(
        read_values(sequence, 0, 53), (NUMBERS * 0.5 - 3) / 20, rtol=1e-5, atol=1e-7
    )
    # Permuted frames are whole or not at all.
    assert num_values(stored(path, permutation=ORDER)) == 50
    assert num_values(np.zeros([4, 3])) == 12


@settings(max_examples=100, derandomize=True, deadline=None)
@given(st.integers(0, 53), st.integers(0, 53), st.sampled_from([1, 2, 3, 5, 53]))
def test_any_range_of_values(path, a, b, down_sample):
    start, stop = min(a, b), max(a, b)
    sequence = stored(path, down_sample=down_sample)
    whole = NUMBERS[: len(NUMBERS) // down_sample * down_sample]
    signal = (whole.reshape(-1, down_sample).T.reshape(-1) * 0.5 - 3) / 20
    stop = min(stop, num_values(sequence))
    start = min(start, stop)
    found = sequence.values(start, stop)
    np.testing.assert_allclose(found, signal[start:stop], rtol=1e-5, atol=1e-7)


def test_a_cut_is_a_sequence_too(path):
    array = expected()
    part = stored(path).cut(2, 9).cut(1, 4)
    assert len(part) == 3 and num_values(part) == 15
    np.testing.assert_allclose(part, array[3:6], rtol=1e-6)
    np.testing.assert_allclose(part[-1], array[5], rtol=1e-6)
    np.testing.assert_allclose(part.values(4, 11), array[3:6].reshape(-1)[4:11], rtol=1e-6)


def test_it_can_go_to_another_process(path):
    again = pickle.loads(pickle.dumps(stored(path)))
    np.testing.assert_array_equal(again, stored(path))


def test_nothing_stays_mapped(path):
    sequence = stored(path)
    for i in range(10):
        sequence[i]
    with open("/proc/self/maps") as maps:
        assert str(path) not in maps.read()


@settings(max_examples=50, derandomize=True, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=5), st.integers(1, 40))
def test_pieces_are_the_whole(lengths, most):
    sequences = [np.arange(3.0 * n).reshape(n, 3) for n in lengths]
    cut = pieces(sequences, most)
    assert max(len(p) for p in cut) <= most
    assert len(cut) == sum(-(-n // most) for n in lengths)
    np.testing.assert_array_equal(np.concatenate(cut), np.concatenate(sequences))


def test_pieces_stay_on_disk(path):
    cut = pieces([stored(path)], 4)
    assert [len(p) for p in cut] == [4, 4, 2] and all(type(p) is Stored for p in cut)
    np.testing.assert_allclose(np.concatenate([np.asarray(p) for p in cut]), expected(), rtol=1e-6)
    assert pieces([stored(path)], None)[0].shape == (10, 5)
    with pytest.raises(ValueError, match="`max_steps` must be at least 1; received 0"):
        pieces([stored(path)], 0)


@settings(max_examples=50, derandomize=True, deadline=None)
@given(st.integers(1, 6), st.integers(0, 1000))
def test_standardization_is_undone(width, seed):
    rng = np.random.default_rng(seed)
    mean, std = rng.standard_normal(width), rng.random(width) + 0.1
    order = tuple(rng.permutation(width).tolist())
    both = Standardization(tuple(mean), tuple(std), order)
    signal = rng.standard_normal([7, width])
    np.testing.assert_allclose(both.undo(both.apply(signal)), signal, atol=1e-12)
    first = ((signal - mean) / std)[:, order[0]]
    np.testing.assert_allclose(both.apply(signal)[:, 0], first)

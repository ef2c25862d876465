"""Batches from sequences: what is in them, who reads what, again and again the same."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from srnn_tf import SequenceModel, data
from srnn_tf.core.frames import reframe, windows
from srnn_tf.data.batching.epochs import array_batches, epoch_order
from srnn_tf.data.batching.sequences import num_values, read_values
from srnn_tf.data.formats.standardization import Standardization
from srnn_tf.data.prepared.sequences import Stored, View
from srnn_tf.training import inputs

WIDTH = 4
SIZES = (37, 8, 61, 22, 5)  # values of the recordings on disk: not all whole frames


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """Recordings on disk, as a function of how they are seen."""
    folder = tmp_path_factory.mktemp("recordings")
    for i, size in enumerate(SIZES):
        (100 * i + np.arange(size)).astype("<i2").tofile(folder / f"{i}")

    def get(**view):
        both = Standardization((0.0,), (1.0,), view.pop("permutation", None))
        seen = View(WIDTH, "<i2", both, **view)
        return [Stored(folder / f"{i}", 0, size, 1.0, seen) for i, size in enumerate(SIZES)]

    return get


def brute_force(sequences, batch_size, num_steps, seed, epoch):
    """All batches of an epoch, as the paper's code makes them."""
    order = epoch_order(seed, epoch, len(sequences))
    joined = np.concatenate([read_values(sequences[i], 0, num_values(sequences[i])) for i in order])
    steps = len(joined) // (WIDTH * batch_size)
    lanes = joined[: steps * WIDTH * batch_size].reshape(batch_size, steps, WIDTH)
    for begin in range(0, steps - 1, num_steps):
        stop = min(begin + num_steps, steps - 1)
        yield lanes[:, begin + 1 : stop + 1], lanes[:, begin:stop]


VIEWS = ({}, {"permutation": (3, 0, 2, 1)}, {"down_sample": 3})


@pytest.mark.parametrize("view", VIEWS, ids=str)
@pytest.mark.parametrize(("batch_size", "num_steps"), [(1, 5), (2, 3), (3, 100)])
def test_streams_are_those_of_the_paper(recordings, view, batch_size, num_steps):
    sequences = recordings(**view)
    stream = data.streams(sequences, batch_size, num_steps, seed=3)
    for epoch in (0, 2):
        wanted = list(brute_force(sequences, batch_size, num_steps, 3, epoch))
        assert len(wanted) == stream.batches_per_epoch
        for i, (frames, previous) in enumerate(wanted):
            batch, length = stream[epoch * len(wanted) + i], frames.shape[1]
            np.testing.assert_array_equal(batch["frames"][:, :length], frames)
            np.testing.assert_array_equal(batch["previous"][:, :length], previous)
            assert not batch["frames"][:, length:].any() and not batch["previous"][:, length:].any()
            np.testing.assert_array_equal(batch["mask"][0], np.arange(num_steps) < length)


def test_recordings_are_joined_sample_by_sample(recordings):
    stream = data.streams(recordings(), batch_size=1, num_steps=100)
    values = np.concatenate([stream[0]["previous"][:, :1], stream[0]["frames"]], axis=1).reshape(-1)
    found = values[: (sum(SIZES) // WIDTH) * WIDTH]
    order = epoch_order(0, 0, len(SIZES))
    whole = np.concatenate([100 * i + np.arange(SIZES[i]) for i in order])
    np.testing.assert_array_equal(found, whole[: len(found)])


def test_arrays_and_files_give_the_same_batches(recordings):
    stored = recordings(permutation=(3, 0, 2, 1))
    arrays = [np.asarray(s) for s in stored]
    one, other = (data.streams(s, 2, 3, seed=1) for s in (stored, arrays))
    assert one.batches_per_epoch == other.batches_per_epoch
    for i in range(2 * one.batches_per_epoch):
        for key in one[i]:
            np.testing.assert_array_equal(one[i][key], other[i][key])


@settings(max_examples=40, derandomize=True, deadline=None)
@given(
    st.lists(st.integers(1, 25), min_size=1, max_size=6),
    st.integers(1, 3),
    st.integers(1, 9),
    st.integers(0, 5),
)
def test_no_step_is_lost_or_seen_twice(lengths, batch_size, num_steps, seed):
    ends = np.cumsum(lengths)
    sequences = [np.arange(end - n, end)[:, None] for n, end in zip(lengths, ends, strict=True)]
    if ends[-1] // batch_size < 2:
        with pytest.raises(ValueError, match="streams of at least 2 steps"):
            data.streams(sequences, batch_size, num_steps, seed)
        return
    stream = data.streams(sequences, batch_size, num_steps, seed)
    batches = [stream[i] for i in range(stream.batches_per_epoch)]
    seen = np.concatenate([b["frames"][b["mask"]].reshape(-1) for b in batches])
    steps = ends[-1] // batch_size
    assert len(seen) == len(set(seen.tolist())) == batch_size * (steps - 1)
    for b in batches:
        assert (b["mask"] == b["mask"][0]).all()


class Counting:
    """A sequence that remembers which values were read."""

    def __init__(self, array):
        self.array, self.shape, self.read = array, array.shape, []

    def __len__(self):
        return len(self.array)

    def values(self, start, stop):
        self.read.append((start, stop))
        return self.array.reshape(-1)[start:stop].astype(np.float32)

    def __array__(self, dtype=None, copy=None):
        self.read.append((0, self.array.size))
        return self.array.astype(dtype or self.array.dtype)


def datasets():
    """One of each kind, 4 rows a batch."""
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal([n, 2]).astype(np.float32) for n in (9, 30, 4, 17, 8, 25, 11)]
    return {
        "streams": data.streams(arrays, 4, 6, seed=2),
        "padded": data.padded(arrays, 4, seed=2),
        "arrays": array_batches({"frames": rng.standard_normal([11, 3, 2])}, 4, seed=2),
    }


@pytest.mark.parametrize("kind", datasets())
def test_parts_of_workers_are_the_batch(kind):
    dataset = datasets()[kind]
    parts = [dataset.shard(i, 2) for i in range(2)]
    for i in range(2 * dataset.batches_per_epoch):
        whole = dataset[i]
        for key, array in whole.items():
            joined = np.concatenate([part[i][key] for part in parts])
            np.testing.assert_array_equal(joined, array)
    assert parts[0].batch_size == 2 and parts[0].batches_per_epoch == dataset.batches_per_epoch


def test_parts_that_cannot_be():
    dataset = datasets()["streams"]
    with pytest.raises(ValueError, match="`count` must divide the batch size, 4; received 3"):
        dataset.shard(0, 3)
    for index in (-1, 2):
        with pytest.raises(ValueError, match="index"):
            dataset.shard(index, 2)
    with pytest.raises(ValueError, match="cannot be cut into parts again"):
        dataset.shard(0, 2).shard(0, 2)
    with pytest.raises(ValueError, match="must divide the batch size, None"):
        data.EpochDataset(lambda epoch: lambda position: {}, 1).shard(0, 2)


def test_a_worker_reads_its_own_rows_alone():
    sequences = [Counting(np.arange(40.0).reshape(20, 2)) for _ in range(4)]
    data.streams(sequences, batch_size=4, num_steps=5).shard(1, 4)[0]
    assert sorted(len(s.read) for s in sequences) == [0, 0, 0, 1]
    assert max(s.read for s in sequences) == [(0, 12)]  # six steps of two values


def test_padded_has_every_sequence_once_an_epoch():
    lengths = [9, 30, 4, 17, 8, 25, 11]
    sequences = [np.full([n, 2], n, np.float32) for n in lengths]
    dataset = data.padded(sequences, batch_size=3, seed=5, max_shapes=2)
    orders, shapes = [], set()
    for epoch in range(3):
        indices = []
        for i in range(dataset.batches_per_epoch):
            batch = dataset[epoch * dataset.batches_per_epoch + i]
            shapes.add(batch["frames"].shape)
            for row, index in enumerate(batch["index"]):
                if index >= 0:
                    n = lengths[index]
                    indices.append(int(index))
                    assert batch["mask"][row].sum() == n and batch["mask"][row, :n].all()
                    assert (batch["frames"][row, :n] == n).all()
                    assert not batch["frames"][row, n:].any()
        assert sorted(indices) == list(range(7))
        orders.append(tuple(indices))
    assert len(set(orders)) == 3 and len(shapes) <= 2
    again = data.padded(sequences, batch_size=3, seed=5, max_shapes=2)
    np.testing.assert_array_equal(again[4]["index"], dataset[4]["index"])


def test_batches_can_be_gone_through_again():
    lengths = [9, 30, 4, 17, 8]
    found = data.batches([np.ones([n, 2]) for n in lengths], batch_size=2, max_shapes=3)
    once = [batch["index"].tolist() for batch in found]
    assert once == [batch["index"].tolist() for batch in found] and len(once) == len(found)
    assert sorted(i for batch in once for i in batch if i >= 0) == list(range(5))
    assert [b["index"].tolist() for b in found[1:]] == once[1:]
    parts = [[b["index"].tolist() for b in found.shard(i, 2)] for i in range(2)]
    assert sorted(parts[0] + parts[1]) == sorted(once)
    with pytest.raises(IndexError):
        found[len(found)]


def tiny():
    structure = {"class": "rnn", "units": 3, "embedding_size": 2}
    likelihood = {"class": "gaussian_mixture", "num_components": 2}
    emission = {"class": "factorized", "event_size": 2, "likelihood": likelihood}
    return SequenceModel(structure, emission, seed=1)


def test_padded_trains_and_its_filling_does_not_count():
    dataset, model = datasets()["padded"], tiny()
    model.compile(jit_compile=False)
    model.fit(dataset, epochs=2, verbose=0)
    assert int(model.step) == 2 * dataset.batches_per_epoch
    full = model.evaluate(dataset, verbose=0, return_dict=True)
    # The last batch has one row that only fills it; as arrays, without it:
    sequences = [np.asarray(dataset[0]["frames"][0])]
    assert np.isfinite(full["loss"]) and len(sequences) == 1
    last = dataset[dataset.batches_per_epoch - 1]
    real = last["index"] >= 0
    assert not real.all()
    batch = {k: last[k][real] for k in ("frames", "mask")}
    alone = tf.data.Dataset.from_tensors(batch)
    filled = tf.data.Dataset.from_tensors(last)
    losses = [model.evaluate(d, verbose=0, return_dict=True)["loss"] for d in (alone, filled)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


@settings(max_examples=40, derandomize=True, deadline=None)
@given(st.integers(1, 3), st.integers(1, 5), st.sampled_from([1, 2, 3, 4, 6, 12]))
def test_reframing_moves_values_and_loses_none(rows, blocks, down_sample):
    steps, width = 3 * blocks, 4
    frames = tf.reshape(tf.range(rows * steps * width), [rows, steps, width])
    found = reframe(frames, 2, down_sample).numpy()
    assert found.shape == (rows, steps * 2, 2)
    flat = frames.numpy().reshape(rows, -1)
    parts = [flat[:, k::down_sample] for k in range(down_sample)]
    np.testing.assert_array_equal(found.reshape(rows, -1), np.concatenate(parts, axis=1))
    back = tf.transpose(tf.reshape(found, [rows, down_sample, -1]), [0, 2, 1])
    np.testing.assert_array_equal(tf.reshape(back, frames.shape), frames)


def test_reframing_by_a_step_that_does_not_divide():
    with pytest.raises(ValueError, match="`down_sample` must divide the 5 x 4 values"):
        reframe(tf.zeros([1, 5, 4]), 4, down_sample=3)
    with pytest.raises(ValueError, match="received 0"):
        reframe(tf.zeros([1, 5, 4]), 4, down_sample=0)


def test_stored_speech_is_interleaved_as_frames_are(recordings):
    plain, seen = recordings()[2], recordings(down_sample=3)[2]
    values = plain.values(0, 60)[None, :, None]
    wanted = reframe(tf.reshape(values, [1, 60, 1]), 1, down_sample=3)[0, :, 0]
    np.testing.assert_array_equal(seen.values(0, 60), wanted)


@settings(max_examples=30, derandomize=True, deadline=None)
@given(st.integers(1, 4), st.integers(1, 20), st.integers(1, 9))
def test_windows_are_the_sequence(rows, steps, size):
    array = np.random.default_rng(0).standard_normal([rows, steps, 2]).astype(np.float32)
    found = windows(tf.constant(array), size).numpy()
    whole = found.reshape(rows, -1, 2)
    np.testing.assert_array_equal(whole[:, :steps], array)
    assert not whole[:, steps:].any() and whole.shape[1] - steps < size


def test_a_workers_part_of_the_last_batch_may_be_empty():
    part = data.padded([np.ones([3, 2], np.float32)] * 5, 4, seed=1).shard(1, 2)
    batches = list(inputs.pipeline(tiny().density, part))
    assert [batch["frames"].shape[0] for batch in batches] == [2, 0]

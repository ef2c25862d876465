"""Batches against a plain reimplementation, and what they promise."""

import numpy as np
import pytest

from srnn_tf.data import EpochDataset, batches, streams
from srnn_tf.data.batching.epochs import array_batches, epoch_order

WIDTH, ROWS, WINDOW = 2, 3, 4
LENGTHS = (7, 11, 2, 9, 12, 1, 8)


def numbered(lengths=LENGTHS):
    """Sequences whose values are all different, so that each tells where it came from."""
    values = np.arange(1, 1 + sum(lengths) * WIDTH, dtype=np.float32).reshape(-1, WIDTH)
    return np.split(values, np.cumsum(lengths)[:-1])


def brute_force(sequences, rows, window, seed, epoch):
    """Shuffle, concatenate, cut into `rows` streams, walk windows of window + 1 steps."""
    joined = []
    for i in np.random.default_rng([seed, epoch]).permutation(len(sequences)):
        joined += [list(step) for step in sequences[i]]
    length = len(joined) // rows
    lanes = [joined[row * length : (row + 1) * length] for row in range(rows)]
    result = []
    for begin in range(0, length - 1, window):
        cut = [lane[begin : begin + window + 1] for lane in lanes]
        result.append(([part[:-1] for part in cut], [part[1:] for part in cut]))
    return result


@pytest.mark.parametrize("window", [1, 4, 15, 16, 100])
@pytest.mark.parametrize("epoch", [0, 2])
def test_streams_equal_a_brute_force_walk(window, epoch):
    data = streams(numbered(), ROWS, window, seed=5)
    wanted = brute_force(numbered(), ROWS, window, 5, epoch)
    assert data.batches_per_epoch == len(wanted)
    for i, (previous, frames) in enumerate(wanted):
        batch, length = data[epoch * len(wanted) + i], len(frames[0])
        assert {k: (v.shape, v.dtype.name) for k, v in batch.items()} == {
            "frames": ((ROWS, window, WIDTH), "float32"),
            "previous": ((ROWS, window, WIDTH), "float32"),
            "mask": ((ROWS, window), "bool"),
        }
        np.testing.assert_array_equal(batch["frames"][:, :length], frames)
        np.testing.assert_array_equal(batch["previous"][:, :length], previous)
        np.testing.assert_array_equal(batch["mask"], [[t < length for t in range(window)]] * ROWS)
        assert not batch["frames"][:, length:].any() and not batch["previous"][:, length:].any()


@pytest.mark.parametrize("openings", [1, 2])
def test_openings_are_the_first_steps_of_sequences(openings):
    sequences, rows = numbered(), ROWS - openings
    data = streams(sequences, ROWS, WINDOW, seed=5, openings=openings)
    plain = streams(sequences, rows, WINDOW, seed=5)
    assert data.batches_per_epoch == plain.batches_per_epoch
    drawn = set()
    for i in range(2 * data.batches_per_epoch):
        batch, streamed = data[i], plain[i]
        for name, values in streamed.items():
            np.testing.assert_array_equal(batch[name][:rows], values)
            assert len(batch[name]) == ROWS
        for row in range(rows, ROWS):
            frames, previous, mask = (batch[n][row] for n in ("frames", "previous", "mask"))
            (which,) = [k for k, s in enumerate(sequences) if (s[0] == frames[0]).all()]
            wanted = sequences[which][: batch["mask"][0].sum()]
            drawn.add(which)
            np.testing.assert_array_equal(frames[: len(wanted)], wanted)
            np.testing.assert_array_equal(previous[1 : len(wanted)], wanted[:-1])
            np.testing.assert_array_equal(mask, np.arange(WINDOW) < len(wanted))
            assert not previous[0].any() and not frames[len(wanted) :].any()
    assert len(drawn) > 3


def test_openings_are_the_same_again_and_in_shards():
    data = streams(numbered(), 4, WINDOW, seed=5, openings=2)
    for i in (7, 0, 7):
        again = streams(numbered(), 4, WINDOW, seed=5, openings=2)[i]
        second = data.shard(1, 2)[i]
        for name, values in data[i].items():
            np.testing.assert_array_equal(values, again[name])
            np.testing.assert_array_equal(values[2:], second[name])


@pytest.mark.parametrize("openings", [-1, ROWS, 1.0, True])
def test_openings_leave_a_stream(openings):
    with pytest.raises(ValueError, match=f"`openings` must be an integer from 0 to {ROWS - 1}"):
        streams(numbered(), ROWS, WINDOW, openings=openings)


def epoch_of(data, epoch):
    n = data.batches_per_epoch
    return [data[i] for i in range(epoch * n, (epoch + 1) * n)]


def test_every_step_but_each_streams_first_is_a_target_once():
    data = streams(numbered(), ROWS, WINDOW)
    for epoch in range(3):
        found = epoch_of(data, epoch)
        targets = np.concatenate([b["frames"][b["mask"]] for b in found])[:, 0]
        firsts = found[0]["previous"][:, 0, 0]
        every = np.concatenate(numbered())[:, 0]
        left = len(every) % ROWS  # the end of the shuffled sequences, too short for a step each
        assert len(targets) + len(firsts) + left == len(every)
        assert len(set(targets) | set(firsts)) == len(every) - left
        assert len(set(targets)) == len(targets) and not set(targets) & set(firsts)


def test_previous_is_the_step_before_across_windows():
    found = epoch_of(streams(numbered(), ROWS, WINDOW), 0)
    for one, two in zip(found, found[1:], strict=False):
        np.testing.assert_array_equal(one["previous"][:, 1:], one["frames"][:, :-1])
        np.testing.assert_array_equal(two["previous"][:, 0], one["frames"][:, -1])
    assert found[-1]["mask"].sum() < found[-1]["mask"].size  # the last one is padded


def test_the_order_of_an_epoch_depends_on_seed_and_epoch_alone():
    forward, backward = streams(numbered(), ROWS, WINDOW), streams(numbered(), ROWS, WINDOW)
    indices = list(range(3 * forward.batches_per_epoch))
    one = {i: forward[i]["frames"] for i in indices}
    two = {i: backward[i]["frames"] for i in reversed(indices)}
    for i in indices:
        np.testing.assert_array_equal(one[i], two[i])
    other = streams(numbered(), ROWS, WINDOW, seed=1)
    starts = [one[0], one[forward.batches_per_epoch], other[0]["frames"]]
    assert len({start.tobytes() for start in starts}) == 3
    for epoch in range(4):
        assert sorted(epoch_order(3, epoch, 9)) == list(range(9))
    assert len({tuple(epoch_order(s, e, 9)) for s in range(3) for e in range(3)}) == 9


def counting(n):
    """An `EpochDataset` of `n` batches; batch i holds the number i."""

    def make_epoch(epoch):
        return lambda position: {"frames": np.full([1, 1, 1], epoch * n + position, np.float32)}

    return EpochDataset(make_epoch, n)


def values(dataset):
    return [int(batch["frames"][0, 0, 0]) for batch in dataset]


def test_a_dataset_is_one_epoch_or_endless():
    data = counting(3)
    assert values(data.as_dataset()) == [0, 1, 2]
    assert values(data.as_dataset(lambda: 6)) == [6, 7, 8]
    assert values(data.as_dataset(lambda: 7)) == [6, 7, 8]  # the one epoch that step 7 is in
    assert values(data.as_dataset(lambda: 7, endless=True).take(5)) == [7, 8, 9, 10, 11]
    assert int(data.as_dataset().cardinality()) == 3
    assert int(data.as_dataset(endless=True).cardinality()) == -1
    start = [0]
    dataset = data.as_dataset(lambda: start[0])
    assert values(dataset) == [0, 1, 2]
    start[0] = 3  # asked anew by each iterator
    assert values(dataset) == [3, 4, 5]


def test_a_dataset_knows_its_widths_but_not_its_rows():
    spec = streams(numbered(), ROWS, WINDOW).as_dataset().element_spec
    assert spec["frames"].shape.as_list() == [None, WINDOW, WIDTH]
    assert spec["mask"].shape.as_list() == [None, WINDOW]


@pytest.mark.parametrize("shuffle", [True, False])
def test_array_batches_hold_every_row_once(shuffle):
    rows = np.arange(11)[:, None]
    data = array_batches({"a": rows, "b": -rows}, 4, seed=2, shuffle=shuffle)
    assert data.batches_per_epoch == 3 and [len(b["a"]) for b in epoch_of(data, 0)] == [4, 4, 3]
    orders = []
    for epoch in range(2):
        found = epoch_of(data, epoch)
        assert all(np.array_equal(b["a"], -b["b"]) for b in found)
        orders.append([int(a) for b in found for a in b["a"][:, 0]])
        assert sorted(orders[-1]) == list(range(11))
    assert (orders[0] != orders[1]) == shuffle and (orders[0] != list(range(11))) == shuffle


def test_no_batch_changes_the_sequences():
    sequences, kept = numbered(), numbered()
    epoch_of(streams(sequences, ROWS, WINDOW), 0)
    for batch in batches(sequences, 2):
        batch["frames"] += 1.0
    for a, b in zip(sequences, kept, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("batch_size", [1, 4, 100])
@pytest.mark.parametrize("max_steps", [None, 60])
def test_batches_hold_every_sequence_once(batch_size, max_steps):
    lengths = np.random.default_rng(0).integers(1, 80, 50).tolist()
    sequences = numbered(lengths)
    found = batches(sequences, batch_size, max_steps=max_steps)
    seen = [int(i) for b in found for i in b["index"] if i >= 0]
    assert sorted(seen) == list(range(len(sequences)))
    assert len({b["frames"].shape for b in found}) <= 8
    for batch in found:
        rows, steps, _ = batch["frames"].shape
        assert rows <= batch_size
        assert max_steps is None or rows == 1 or rows * steps <= max_steps
        for i, frames, mask in zip(batch["index"], batch["frames"], batch["mask"], strict=True):
            length = 1 if i < 0 else len(sequences[i])  # a row that only fills has one step
            np.testing.assert_array_equal(mask, np.arange(steps) < length)
            assert not frames[length if i >= 0 else 0 :].any()
            if i >= 0:
                np.testing.assert_array_equal(frames[:length], sequences[i])


@pytest.mark.parametrize("max_shapes", [1, 3])
def test_batches_have_few_shapes(max_shapes):
    sequences = numbered(list(range(1, 40)))
    found = batches(sequences, 4, max_shapes=max_shapes)
    assert len({b["frames"].shape for b in found}) == max_shapes
    assert max(b["frames"].shape[1] for b in found) == 39


def test_equal_lengths_are_one_shape():
    found = batches(numbered([6] * 5), 2)
    assert {b["frames"].shape for b in found} == {(2, 6, WIDTH)}
    assert [b["index"].tolist() for b in found] == [[0, 1], [2, 3], [4, -1]]


def test_errors():
    with pytest.raises(ValueError, match="3 streams of at least 2 steps need 6 .* have 5"):
        streams(numbered([5]), 3, 2)
    with pytest.raises(ValueError, match="`sequences` must be non-empty"):
        batches([], 2)
    with pytest.raises(ValueError, match="`sequences` must be non-empty"):
        batches([*numbered([3]), np.zeros([0, WIDTH])], 2)
    with pytest.raises(ValueError, match="at least one batch"):
        EpochDataset(lambda epoch: lambda position: {}, 0)


@pytest.mark.parametrize(
    ("name", "act"),
    [
        ("batch_size", lambda x: streams(x, 0, 4)),
        ("num_steps", lambda x: streams(x, 3, 0)),
        ("batch_size", lambda x: batches(x, 0)),
        ("max_shapes", lambda x: batches(x, 2, max_shapes=0)),
        ("sequences", lambda x: streams([x[0], x[1][:, :1]], 2, 4)[0]),
        ("sequences", lambda x: batches([x[0], x[1][:, :1]], 2)),
    ],
)
def test_bad_arguments_are_named(name, act):
    with pytest.raises(ValueError, match=f"`{name}`"):
        act(numbered())

"""Batches as pure functions of a seed and a step, so that a resumed run repeats itself exactly."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from srnn_tf import checks

Batch = dict[str, np.ndarray]


class EpochDataset:
    """An endless sequence of batches, batch i a pure function of i.

    `SequenceModel.fit` starts it at the model's own step counter, so a run that is killed and
    restored reads the batches that the uninterrupted run would have read.

    Args:
        make_epoch: from an epoch's number to a function from a position in that epoch to a batch.
        batches_per_epoch: how many batches an epoch has.
    """

    def __init__(self, make_epoch: Callable[[int], Callable[[int], Batch]], batches_per_epoch: int):
        if batches_per_epoch < 1:
            raise ValueError("the data must fill at least one batch; they fill none")
        self.batches_per_epoch = batches_per_epoch
        self._make_epoch = make_epoch
        self._current: tuple[int, Callable[[int], Batch]] | None = None

    def __getitem__(self, index: int) -> Batch:
        epoch, position = divmod(index, self.batches_per_epoch)
        if self._current is None or self._current[0] != epoch:
            self._current = epoch, self._make_epoch(epoch)
        return self._current[1](position)

    def as_dataset(
        self, start: Callable[[], int] = lambda: 0, endless: bool = False
    ) -> tf.data.Dataset:
        """A `tf.data.Dataset` whose iterators ask `start` for the step to begin at.

        Endless ones go on from that very step; others give the one epoch that the step is in.
        """

        def generate():
            n, first = self.batches_per_epoch, start()
            index, stop = (first, None) if endless else (first // n * n, first // n * n + n)
            while stop is None or index < stop:
                yield self[index]
                index += 1

        signature = {k: tf.TensorSpec([None, *v.shape[1:]], v.dtype) for k, v in self[0].items()}
        dataset = tf.data.Dataset.from_generator(generate, output_signature=signature)
        count = tf.data.INFINITE_CARDINALITY if endless else self.batches_per_epoch
        return dataset.apply(tf.data.experimental.assert_cardinality(count)).prefetch(4)


def epoch_order(seed: int, epoch: int, size: int) -> np.ndarray:
    """The order of `size` items in an epoch, a pure function of (seed, epoch)."""
    return np.random.default_rng([seed, epoch]).permutation(size)


def array_batches(
    arrays: Batch, batch_size: int, seed: int = 0, shuffle: bool = True
) -> EpochDataset:
    """Batches of rows of arrays that share their first axis."""
    rows = len(next(iter(arrays.values())))

    def make_epoch(epoch):
        order = epoch_order(seed, epoch, rows) if shuffle else np.arange(rows)

        def batch(position):
            chosen = order[position * batch_size : (position + 1) * batch_size]
            return {name: array[chosen] for name, array in arrays.items()}

        return batch

    return EpochDataset(make_epoch, -(-rows // batch_size))


def streams(
    sequences: Sequence[np.ndarray], batch_size: int, num_steps: int, seed: int = 0
) -> EpochDataset:
    """Training batches as parallel streams: the reference's way to cut long sequences.

    In each epoch the sequences are shuffled, concatenated and cut into `batch_size` streams of
    equal length, and windows of `num_steps` steps walk along all streams at once. The step before
    a window is its context, so a stream's first step is never scored. The last window is padded.

    Args:
        sequences: arrays (T_i, D).
        batch_size: B.
        num_steps: T.
        seed: the epochs' orders are a function of it.

    Returns:
        An `EpochDataset` of `frames` and `previous`, float32 (B, T, D), and `mask`, bool (B, T).

    Raises:
        ValueError: too few steps for `batch_size` streams of two steps.

    Example:
        >>> data = streams([np.zeros([30, 88], np.uint8)] * 4, batch_size=2, num_steps=10)
        >>> data.batches_per_epoch, data[0]["frames"].shape
        (6, (2, 10, 88))

    Reference: Lai et al., arXiv:1902.01388.
    """
    checks.sizes(batch_size=batch_size, num_steps=num_steps)
    checks.sizes(minimum=0, seed=seed)
    _check_width(sequences)
    steps = sum(len(s) for s in sequences) // batch_size
    if steps < 2:
        raise ValueError(
            f"{batch_size} streams of at least 2 steps need {2 * batch_size} steps; the sequences "
            f"have {sum(len(s) for s in sequences)}"
        )

    def make_epoch(epoch):
        order = epoch_order(seed, epoch, len(sequences))
        joined = np.concatenate([sequences[i] for i in order])[: batch_size * steps]
        lanes = joined.reshape(batch_size, steps, -1)

        def batch(position):
            begin = position * num_steps
            previous = lanes[:, begin : min(begin + num_steps, steps - 1)]
            frames = lanes[:, begin + 1 : begin + 1 + num_steps]
            length = frames.shape[1]

            def pad(a):
                return np.pad(a.astype(np.float32), [(0, 0), (0, num_steps - length), (0, 0)])

            mask = np.broadcast_to(np.arange(num_steps) < length, [batch_size, num_steps])
            return {"frames": pad(frames), "previous": pad(previous), "mask": mask}

        return batch

    return EpochDataset(make_epoch, -(-(steps - 1) // num_steps))


def batches(
    sequences: Sequence[np.ndarray],
    batch_size: int,
    max_shapes: int = 8,
    max_steps: int | None = None,
) -> list[Batch]:
    """Whole sequences for evaluation: sorted by length, padded to few lengths, masked.

    Args:
        sequences: arrays (T_i, D).
        batch_size: B, the most rows in a batch.
        max_shapes: the most (B, T) shapes in the result, since XLA compiles once per shape.
        max_steps: the most padded steps in a batch, B * T; rows are fewer where T is large.

    Returns:
        Dicts of `frames` float32 (B, T, D), `mask` bool (B, T) and `index` (B,), the place of each
        row in `sequences`, or -1 for a row that only fills the batch (one real step of zeros).

    Raises:
        ValueError: no sequences, or an empty one.

    Example:
        >>> data = batches([np.ones([n, 88]) for n in (5, 9, 30)], batch_size=2)
        >>> sorted(int(i) for b in data for i in b["index"] if i >= 0)
        [0, 1, 2]
    """
    checks.sizes(batch_size=batch_size, max_shapes=max_shapes)
    _check_width(sequences)
    lengths = np.array([len(s) for s in sequences], dtype=np.int64)
    if lengths.size == 0 or lengths.min() < 1:
        raise ValueError("`sequences` must be non-empty arrays (T, D); one is empty, or none came")
    bounds = _bounds(lengths, max_shapes)
    bucket = np.searchsorted(bounds, lengths)
    result = []
    for b, bound in enumerate(bounds):
        members = np.flatnonzero(bucket == b)
        members = members[np.argsort(lengths[members], kind="stable")]
        rows = min(batch_size, len(members), max(1, (max_steps or 2**62) // int(bound)))
        for start in range(0, len(members), rows):
            result.append(_padded(sequences, members[start : start + rows], rows, int(bound)))
    return result


def _check_width(sequences: Sequence[np.ndarray]) -> None:
    shapes = {np.shape(s)[1:] for s in sequences}
    if len(shapes) > 1 or any(len(shape) != 1 for shape in shapes):
        raise ValueError(
            f"`sequences` must be arrays (T, D) of one width D; received steps of {sorted(shapes)}"
        )


def _bounds(lengths: np.ndarray, max_shapes: int) -> np.ndarray:
    """Up to `max_shapes` padded lengths, spaced geometrically between the extremes."""
    low, high = lengths.min(), lengths.max()
    edges = np.geomspace(low, high, max_shapes + 1)[1:]
    # A bucket is padded to its own longest sequence.
    groups = np.searchsorted(np.ceil(edges).astype(np.int64), lengths)
    return np.unique([lengths[groups == g].max() for g in np.unique(groups)])


def _padded(sequences, members, rows, steps) -> Batch:
    width = sequences[0].shape[1]
    frames = np.zeros([rows, steps, width], np.float32)
    mask = np.zeros([rows, steps], bool)
    mask[:, 0] = True
    index = np.full([rows], -1)
    for row, member in enumerate(members):
        length = len(sequences[member])
        frames[row, :length] = sequences[member]
        mask[row, :length] = True
        index[row] = member
    return {"frames": frames, "mask": mask, "index": index}

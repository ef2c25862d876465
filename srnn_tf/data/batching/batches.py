"""Whole sequences, padded and masked: batches for scoring, and for training on short sequences."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from srnn_tf.core import checks
from srnn_tf.core.types import Steps
from srnn_tf.data.batching.epochs import Batch, EpochDataset, epoch_order
from srnn_tf.data.batching.sequences import check_numbers, width_of


def padded(
    sequences: Sequence[Steps], batch_size: int, seed: int = 0, max_shapes: int = 4
) -> EpochDataset:
    """Training batches of whole sequences, shuffled, right-padded and masked.

    Args:
        sequences: arrays (T_i, D), or sequences of a prepared data set.
        batch_size: B. Dummy rows fill the last batch of an epoch: one real step of zeros, `index`
            -1.
        seed: the seed of the order of each epoch.
        max_shapes: the most different lengths T, since XLA compiles once per shape.

    Returns:
        An `EpochDataset` of `frames` float32 (B, T, D), `mask` bool (B, T) and `index` (B,), the
        index of each row in `sequences`.

    Raises:
        ValueError: there are no sequences, or one is empty.

    Example:
        >>> data = padded([np.ones([n, 3]) for n in (5, 9, 30)], batch_size=2)
        >>> data.batches_per_epoch
        2
    """
    checks.sizes(batch_size=batch_size, max_shapes=max_shapes)
    checks.sizes(minimum=0, seed=seed)
    lengths = _lengths(sequences)
    bounds = _bounds(lengths, max_shapes)

    def make_epoch(epoch):
        order = epoch_order(seed, epoch, len(sequences))

        def batch(position, part=slice(None)):
            members = order[position * batch_size : (position + 1) * batch_size]
            # All workers of a batch pad to the same length.
            steps = bounds[np.searchsorted(bounds, lengths[members].max())]
            rows = range(batch_size)[part]
            return _padded(sequences, members[part], len(rows), int(steps))

        return batch

    return EpochDataset(make_epoch, -(-len(sequences) // batch_size), batch_size, False)


class Batches(Sequence):
    """A sequence of batches, each computed on access. It can be iterated repeatedly.

    Args:
        make: a function from the indices in a batch, its rows and its steps to the batch.
        plan: the arguments of `make` for each batch.
    """

    def __init__(self, make: Callable[..., Batch], plan: list[tuple[np.ndarray, int, int]]):
        self._make, self._plan = make, plan

    def __len__(self) -> int:
        return len(self._plan)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return Batches(self._make, self._plan[index])
        return self._make(*self._plan[index])

    def shard(self, index: int, count: int) -> Batches:
        """Every `count`-th batch, from `index` on: the batches of one of `count` workers."""
        checks.sizes(count=count)
        checks.between("index", index, 0, count - 1)
        return self[index::count]


def batches(
    sequences: Sequence[Steps],
    batch_size: int,
    max_shapes: int = 8,
    max_steps: int | None = None,
) -> Batches:
    """Batches of whole sequences for evaluation: sorted by length, padded to few lengths, masked.

    Args:
        sequences: arrays (T_i, D), or sequences of a prepared data set, which are read batch by
            batch.
        batch_size: B, the most rows in a batch.
        max_shapes: the most different shapes (B, T), since XLA compiles once per shape.
        max_steps: the most steps in a batch, B * T with padding. Batches of long sequences have
            fewer rows.

    Returns:
        Dicts of `frames` float32 (B, T, D), `mask` bool (B, T) and `index` (B,), the index of each
        row in `sequences`, or -1 for a dummy row (one real step of zeros).

    Raises:
        ValueError: there are no sequences, or one is empty.

    Example:
        >>> data = batches([np.ones([n, 88]) for n in (5, 9, 30)], batch_size=2)
        >>> sorted(int(i) for b in data for i in b["index"] if i >= 0)
        [0, 1, 2]
    """
    checks.sizes(batch_size=batch_size, max_shapes=max_shapes)
    lengths = _lengths(sequences)
    bounds = _bounds(lengths, max_shapes)
    bucket = np.searchsorted(bounds, lengths)
    plan = []
    for b, bound in enumerate(bounds):
        members = np.flatnonzero(bucket == b)
        members = members[np.argsort(lengths[members], kind="stable")]
        rows = min(batch_size, len(members), max(1, (max_steps or 2**62) // int(bound)))
        for start in range(0, len(members), rows):
            plan.append((members[start : start + rows], rows, int(bound)))
    return Batches(functools.partial(_padded, sequences), plan)


def _lengths(sequences: Sequence[Steps]) -> np.ndarray:
    check_numbers(sequences)
    lengths = np.array([len(s) for s in sequences], dtype=np.int64)
    if lengths.size == 0 or lengths.min() < 1:
        raise ValueError("`sequences` must be non-empty arrays (T, D); one is empty, or none came")
    width_of(sequences)
    return lengths


def _bounds(lengths: np.ndarray, max_shapes: int) -> np.ndarray:
    """Up to `max_shapes` padded lengths, spaced geometrically between the extremes."""
    low, high = lengths.min(), lengths.max()
    edges = np.geomspace(low, high, max_shapes + 1)[1:]
    # A bucket is padded to its own longest sequence.
    groups = np.searchsorted(np.ceil(edges).astype(np.int64), lengths)
    return np.unique([lengths[groups == g].max() for g in np.unique(groups)])


def _padded(sequences, members, rows, steps) -> Batch:
    width = np.shape(sequences[0])[1]
    frames = np.zeros([rows, steps, width], np.float32)
    mask = np.zeros([rows, steps], bool)
    mask[:, 0] = True
    index = np.full([rows], -1)
    for row, member in enumerate(members):
        length = len(sequences[member])
        frames[row, :length] = np.asarray(sequences[member])
        mask[row, :length] = True
        index[row] = member
    return {"frames": frames, "mask": mask, "index": index}

"""Batches as pure functions of a seed and a step, so that a resumed run is exactly repeatable."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from srnn_tf.core import checks, lazy

if TYPE_CHECKING:
    import tensorflow as tf
else:  # much of what imports this module does not need it
    tf = lazy.module("tensorflow")

Batch = dict[str, np.ndarray]


class EpochDataset:
    """An endless sequence of batches in which batch i is a pure function of i.

    `SequenceModel.fit` starts it at the model's own step counter. A run that is killed and restored
    so reads the batches that the uninterrupted run would have read.

    Args:
        make_epoch: a function from the number of an epoch to a function from a position in that
            epoch to a batch.
        batches_per_epoch: the number of batches in an epoch.
        batch_size: the rows of a batch; the last batch of an epoch may have fewer. If it is given,
            the function of a position also takes a slice, and returns these rows of the batch.
        same_length: whether all batches have the same number of steps.
    """

    def __init__(
        self,
        make_epoch: Callable[[int], Callable[..., Batch]],
        batches_per_epoch: int,
        batch_size: int | None = None,
        same_length: bool = True,
    ):
        if batches_per_epoch < 1:
            raise ValueError("the data must fill at least one batch; they fill none")
        self.batches_per_epoch, self.batch_size = batches_per_epoch, batch_size
        self.same_length = same_length
        self._make_epoch = make_epoch
        self._rows: tuple[slice, ...] = ()
        self._current: tuple[int, Callable[..., Batch]] | None = None

    def __getitem__(self, index: int) -> Batch:
        epoch, position = divmod(index, self.batches_per_epoch)
        if self._current is None or self._current[0] != epoch:
            self._current = epoch, self._make_epoch(epoch)
        return self._current[1](position, *self._rows)

    def shard(self, index: int, count: int) -> EpochDataset:
        """The rows of every batch that belong to worker `index` of `count`.

        The concatenated parts of all workers are the whole batch. Each worker reads its own rows
        only.

        Raises:
            ValueError: `index` is not in 0 ... count - 1, or `count` does not divide the batch.
        """
        checks.sizes(count=count)
        checks.between("index", index, 0, count - 1)
        if self._rows:
            raise ValueError("a part of a dataset cannot be cut into parts again")
        if self.batch_size is None or self.batch_size % count:
            raise ValueError(
                f"`count` must divide the batch size, {self.batch_size}; received {count}"
            )
        rows = self.batch_size // count
        part = EpochDataset(self._make_epoch, self.batches_per_epoch, rows, self.same_length)
        part._rows = (slice(index * rows, (index + 1) * rows),)
        return part

    def as_dataset(
        self, start: Callable[[], int] = lambda: 0, endless: bool = False
    ) -> tf.data.Dataset:
        """A `tf.data.Dataset` of the batches; each iterator calls `start` for its first step.

        With `endless` it continues from that step without end. Otherwise it is the one epoch that
        contains the step.
        """

        def generate():
            n, first = self.batches_per_epoch, start()
            index, stop = (first, None) if endless else (first // n * n, first // n * n + n)
            while stop is None or index < stop:
                yield self[index]
                index += 1

        def spec(a):
            shape = a.shape[1:] if self.same_length else (None, *a.shape[2:])[: a.ndim - 1]
            return tf.TensorSpec([None, *shape], a.dtype)

        signature = {name: spec(array) for name, array in self[0].items()}
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

        def batch(position, part=slice(None)):
            chosen = order[position * batch_size : (position + 1) * batch_size][part]
            return {name: array[chosen] for name, array in arrays.items()}

        return batch

    return EpochDataset(make_epoch, -(-rows // batch_size), batch_size)

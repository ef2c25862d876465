"""Training on several devices as on one: what the replicas of a model share, and what each draws.

    loss = sum{ loss_t of all rows of all replicas } / number of real steps of all replicas

A strategy of `tf.distribute` gives each replica some rows of a global batch. Noise and dropout are
drawn for the whole of it, and each replica takes its rows, so that N replicas repeat what one
would have done with all rows.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import tensorflow as tf

_local = threading.local()  # a strategy traces each replica in a thread of its own


class Share(NamedTuple):
    """Which rows of a global batch a replica has: `rows` of `total`, from `first` on.

    `copies` is how many whole batches follow one another along the axis of the rows.
    """

    first: tf.Tensor
    rows: tf.Tensor
    total: tf.Tensor
    copies: int = 1


UNKNOWN = Share(None, None, None, 0)  # what is worked on has no rows of its own


@contextlib.contextmanager
def sharing(share: Share | None) -> Iterator[None]:
    """What is drawn inside, by `draw`, is a share of what a global batch draws; None for all."""
    before = getattr(_local, "share", None)
    _local.share = None if before is None and share is UNKNOWN else share
    try:
        yield
    finally:
        _local.share = before


def copies(number: int) -> contextlib.AbstractContextManager:
    """Inside, the axis of the rows holds so many batches one after another."""
    share = getattr(_local, "share", None)
    return sharing(share and share._replace(copies=number))


def draw(drawn: Callable[[Any], tf.Tensor], shape: Any, axis: int) -> tf.Tensor:
    """`drawn(shape)`; in a replica the part of it that its rows have.

    Args:
        drawn: from a shape to random values, a function of their places alone.
        shape: of this replica.
        axis: of the rows; it may hold a row's steps too, or its particles, side by side.

    Raises:
        ValueError: inside of `sharing(UNKNOWN)` in a replica.
    """
    share = getattr(_local, "share", None)
    if share is None:
        return drawn(shape)
    if share is UNKNOWN:
        raise ValueError(
            "dropout under a strategy of several replicas does not go with `recompute`, whose "
            "blocks are not whole rows; set one of the two to its default"
        )
    sizes = tf.unstack(shape) if tf.is_tensor(shape) else list(shape)
    before, after = sizes[:axis], sizes[axis + 1 :]
    inner = sizes[axis] // (share.copies * share.rows)
    whole = drawn([*before, share.copies * share.total * inner, *after])
    whole = tf.reshape(whole, [*before, share.copies, share.total, inner, *after])
    start = [0] * (axis + 1) + [share.first] + [0] * (1 + len(after))
    part = tf.slice(whole, start, [*before, share.copies, share.rows, inner, *after])
    return tf.reshape(part, shape)


def share_of(rows: Any, steps: tf.Tensor) -> tuple[Share | None, tf.Tensor]:
    """What of the global batch this replica has, and the global number of real steps.

    Args:
        rows: of this replica's batch; 0 counts as 1, see `not_empty`.
        steps: how many of its steps are real, float32.
    """
    number = tf.distribute.get_strategy().num_replicas_in_sync
    if number == 1:
        return None, steps
    context = tf.distribute.get_replica_context()
    mine = tf.one_hot(context.replica_id_in_sync_group, number, tf.cast(rows, tf.float32))
    everyones = total(tf.concat([mine, [steps]], axis=0))
    counts = tf.cast(everyones[:-1], tf.int32)
    count = tf.reduce_sum(counts)
    first = tf.cumsum(counts, exclusive=True)[context.replica_id_in_sync_group]
    return Share(tf.minimum(first, count - 1), tf.maximum(rows, 1), count), everyones[-1]


def total(values: Any) -> Any:
    """The sum over all replicas of a nest of tensors."""
    if tf.distribute.get_strategy().num_replicas_in_sync == 1:
        return values
    context = tf.distribute.get_replica_context()
    return context.all_reduce(tf.distribute.ReduceOp.SUM, values)


def not_empty(batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """A batch as it is; one without rows, which a replica may get, with one row under the mask."""
    if tf.distribute.get_strategy().num_replicas_in_sync == 1:
        return batch
    frames = batch["frames"]
    mask = batch.get("mask")
    mask = tf.ones(tf.shape(frames)[:2], tf.bool) if mask is None else mask
    missing = tf.cast(tf.shape(frames)[0] == 0, tf.int32)

    def filled(x):
        padding = [[0, missing]] + [[0, 0]] * (x.shape.rank - 1)
        return tf.ensure_shape(tf.pad(x, padding), [None, *x.shape[1:]])

    return {name: filled(x) for name, x in {**batch, "mask": mask}.items()}


def compiled(function: Callable, xla: bool) -> Callable:
    """A replica's part of a step; with XLA where the whole step cannot be compiled.

    XLA works on one device: under a strategy gradients are compiled, and what replicas tell one
    another is not. Each replica traces the function anew, its variables being its own.
    """
    if not (xla and tf.distribute.has_strategy()):
        return function
    return tf.function(function, jit_compile=True, autograph=False)

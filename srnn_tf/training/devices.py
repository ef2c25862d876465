"""Training on several devices with the results of one: what replicas share, and what each draws.

    loss = sum{ loss_t of all rows of all replicas } / number of real steps of all replicas

A strategy of `tf.distribute` gives each replica some rows of a global batch. Each replica draws
noise and dropout for the global batch and takes its own rows, so that N replicas compute what one
device would compute with all rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from srnn_tf.core.random import Rows


def rows_of(rows: Any, steps: tf.Tensor) -> tuple[Rows | None, tf.Tensor]:
    """The rows of the global batch that this replica has, and the global number of real steps.

    Args:
        rows: the number of rows in this replica's batch; 0 counts as 1, see `not_empty`.
        steps: the number of its real steps, float32.
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
    return Rows(tf.minimum(first, count - 1), tf.maximum(rows, 1), count), everyones[-1]


def total(values: Any) -> Any:
    """The sum of a nest of tensors over all replicas."""
    if tf.distribute.get_strategy().num_replicas_in_sync == 1:
        return values
    context = tf.distribute.get_replica_context()
    return context.all_reduce(tf.distribute.ReduceOp.SUM, values)


def not_empty(batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """The batch, or one masked row if it has no rows, as a replica's batch may."""
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
    """A replica's part of a step, compiled with XLA where the whole step cannot be.

    XLA works on one device: under a strategy the gradients are compiled, and the communication
    between replicas is not. Each replica traces the function, since it has its own variables.
    """
    if not (xla and tf.distribute.has_strategy()):
        return function
    return tf.function(function, jit_compile=True, autograph=False)

"""The last steps of a sequence, as states of structures that read a window of the past."""

from __future__ import annotations

import tensorflow as tf


def joined(before: tf.Tensor, new: tf.Tensor) -> tf.Tensor:
    """The steps before a sequence, then the sequence: (B, n, F), (B, T, F) to (B, n + T, F)."""
    return tf.concat([before, tf.cast(new, before.dtype)], axis=1)


def last(steps: tf.Tensor, size: int, lengths: tf.Tensor | None = None) -> tf.Tensor:
    """The `size` steps before the end of each row, the state after the steps of `joined`.

    Args:
        steps: (B, size + T, ...), the output of `joined`.
        size: the number of steps of the state.
        lengths: (B,) int32, the number of real steps of the T in each row; all by default.

    Returns:
        (B, size, ...).

    Example:
        >>> steps = joined(tf.zeros([1, 2, 1]), tf.constant([[[1.0], [2.0], [3.0]]]))
        >>> last(steps, 2, lengths=[1]).numpy().tolist()
        [[[0.0], [1.0]]]
    """
    if lengths is None:
        ended = steps[:, tf.shape(steps)[1] - size :]
    else:
        index = tf.cast(lengths, tf.int32)[:, None] + tf.range(size)
        ended = tf.gather(steps, index, batch_dims=1)
    return tf.ensure_shape(ended, [None, size, *steps.shape[2:]])

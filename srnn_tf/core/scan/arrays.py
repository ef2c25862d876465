"""Time-major arrays inside the loops."""

from __future__ import annotations

import tensorflow as tf


def num_steps(array):
    return array.shape[0] if array.shape[0] is not None else tf.shape(array)[0]


def new_array(steps, dtype, shape):
    return tf.TensorArray(dtype, size=steps, element_shape=shape)


def array_of(array):
    return new_array(num_steps(array), array.dtype, array.shape[1:]).unstack(array)


def swap_time(array):
    return tf.transpose(array, [1, 0, *range(2, array.shape.rank)])


def flip(array: tf.Tensor, lengths: tf.Tensor | None) -> tf.Tensor:
    """Reverse the first `lengths[b]` steps (all by default) of row b of a time-major array."""
    if lengths is None:
        return tf.reverse(array, axis=[0])
    return tf.reverse_sequence(array, lengths, seq_axis=0, batch_axis=1)


def at(array: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
    """Row b of a time-major array at step index[b]: (B, ...)."""
    return tf.gather_nd(array, tf.stack([index, tf.range(tf.shape(index)[0])], axis=-1))

"""Reshaping sequences: frames into shorter frames, steps into windows. Tensors in, tensors out."""

from __future__ import annotations

import tensorflow as tf


def reframe(frames: tf.Tensor, frame_size: int) -> tf.Tensor:
    """The same values in frames of another size: (B, T, D) to (B, T * D / frame_size, frame_size).

    With `frame_size=1` this is the flat view, one value per step.

    Raises:
        ValueError: `frame_size` does not divide D.

    Example:
        >>> reframe(tf.zeros([2, 5, 88]), 1).shape
        TensorShape([2, 440, 1])
    """
    width = frames.shape[-1]
    if frame_size < 1 or width % frame_size:
        raise ValueError(
            f"`frame_size` must divide the {width} values of a frame; received {frame_size}"
        )
    if frame_size == width:
        return frames
    rows, steps = tf.shape(frames)[0], _size(frames, 1)
    return tf.reshape(frames, [rows, steps * (width // frame_size), frame_size])


def shift(frames: tf.Tensor, first: tf.Tensor | None = None) -> tf.Tensor:
    """The step before each step: `first` (B, D), zeros by default, then all frames but the last."""
    first = tf.zeros_like(frames[:, 0]) if first is None else first
    return tf.concat([first[:, None], frames[:, :-1]], axis=1)


def windows(array: tf.Tensor, size: int) -> tf.Tensor:
    """Cut (B, T, ...) into windows of `size` steps, (B * N, size, ...), the last padded."""
    steps = _size(array, 1)
    count = -(-steps // size)
    padding = [[0, 0], [0, count * size - steps]] + [[0, 0]] * (array.shape.rank - 2)
    rest = array.shape[2:]
    return tf.reshape(tf.pad(array, padding), [tf.shape(array)[0] * count, size, *rest])


def _size(array, axis):
    return array.shape[axis] if array.shape[axis] is not None else tf.shape(array)[axis]

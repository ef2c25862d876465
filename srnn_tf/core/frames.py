"""Reshaping sequences: frames into shorter frames, steps into windows. Tensors in, tensors out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from srnn_tf.core import lazy

if TYPE_CHECKING:
    import tensorflow as tf
else:  # much of what imports this module does not need it
    tf = lazy.module("tensorflow")


def reframe(frames: tf.Tensor, frame_size: int, down_sample: int = 1) -> tf.Tensor:
    """The same values in frames of another size: (B, T, D) to (B, T * D / frame_size, frame_size).

    With `frame_size=1` this is the flat view, one value per step. With `down_sample=k` the values
    v_0, v_1, ... of a sequence are put in the order v_0, v_k, v_2k, ..., v_1, v_k+1, ...: k copies
    of the signal at a k-th of its rate, one after another, whose neighbours are less alike. All
    rows must be of full length.

    Raises:
        ValueError: `frame_size` does not divide D, `down_sample` does not divide T * D.

    Example:
        >>> reframe(tf.zeros([2, 5, 88]), 1).shape
        TensorShape([2, 440, 1])
        >>> reframe(tf.reshape(tf.range(6.0), [1, 3, 2]), 2, down_sample=3)[0].numpy().tolist()
        [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]

    Reference: Lai et al., arXiv:1902.01388 (`down_sample`).
    """
    width = frames.shape[-1]
    if frame_size < 1 or width % frame_size:
        raise ValueError(
            f"`frame_size` must divide the {width} values of a frame; received {frame_size}"
        )
    rows, steps = tf.shape(frames)[0], size(frames, 1)
    if down_sample != 1:
        frames = _interleaved(frames, rows, steps, down_sample)
    if frame_size == width:
        return frames
    return tf.reshape(frames, [rows, steps * (width // frame_size), frame_size])


def _interleaved(frames, rows, steps, down_sample: int):
    width = frames.shape[-1]
    known = isinstance(steps, int)
    if down_sample < 1 or (known and steps * width % down_sample):
        raise ValueError(
            f"`down_sample` must divide the {steps} x {width} values of a sequence; "
            f"received {down_sample}"
        )
    parts = tf.reshape(frames, [rows, -1, down_sample])
    return tf.reshape(tf.transpose(parts, [0, 2, 1]), [rows, steps, width])


def shift(frames: tf.Tensor, first: tf.Tensor | None = None) -> tf.Tensor:
    """The step before each step: `first` (B, D), zeros by default, then all frames but the last."""
    first = tf.zeros_like(frames[:, 0]) if first is None else first
    return tf.concat([first[:, None], frames[:, :-1]], axis=1)


# Where a window that is longer than a sequence is padded to: up to here to its own length, so that
# sequences of many lengths share one program.
_PADDED = 1 << 16


def windows(array: tf.Tensor, length: int) -> tf.Tensor:
    """Cut (B, T, ...) into windows of `length` steps, (B * N, length, ...), the last padded.

    A window that is far longer than the array is no longer than it, or than `_PADDED`.
    """
    steps = size(array, 1)
    if isinstance(steps, int):
        length = min(length, max(steps, _PADDED))
    count = -(-steps // length)
    padding = [[0, 0], [0, count * length - steps]] + [[0, 0]] * (array.shape.rank - 2)
    rest = array.shape[2:]
    return tf.reshape(tf.pad(array, padding), [tf.shape(array)[0] * count, length, *rest])


def size(array: tf.Tensor, axis: int) -> int | tf.Tensor:
    """The size of an axis, a number where it is known."""
    return array.shape[axis] if array.shape[axis] is not None else tf.shape(array)[axis]

"""Causal attention to a window of steps, with rotary positions."""

from __future__ import annotations

import keras
import tensorflow as tf

from srnn_tf.core import recent
from srnn_tf.core.types import Size


class WindowAttention(keras.layers.Layer):
    """Multi-head attention of each step to itself and the W - 1 steps before it.

        q_t, k_t, v_t = x_t K        per head: y_t = sum{ softmax_s(q_t . k_s / sqrt(d)) v_s } O
                                     s = t - W + 1, ..., t

    q_t and k_t are rotated by their positions (Su et al., arXiv:2104.09864), so that q_t . k_s
    depends on t - s. Keys are stored as they are before the rotation, so that a stream has no last
    position. Long sequences are cut into blocks of W steps, each of which attends to itself and to
    the block before: time and memory are linear in T.

    Args:
        units: H, the number of inputs and outputs.
        num_heads: the number of heads.
        window: W.

    Shapes: call(x (B, T, H), state, real, lengths) -> outputs (B, T, H), state. `state` is the keys
    and values before x, (B, W - 1, 2H). `real` (B,) int32 is how many of them are steps.
    """

    def __init__(self, units: int, num_heads: int, window: int, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.units, self.num_heads, self.window = units, num_heads, window
        policy = dict(dtype=self.dtype_policy)
        self.project = keras.layers.Dense(3 * units, use_bias=False, name="project", **policy)
        self.out = keras.layers.Dense(units, name="out", **policy)

    def build(self, input_shape):
        self.project.build(input_shape)
        self.out.build(input_shape)

    def zero_state(self, batch_size: Size) -> tf.Tensor:
        return tf.zeros([batch_size, self.window - 1, 2 * self.units], self.compute_dtype)

    def call(self, x, state, real, lengths=None):
        steps, before = tf.shape(x)[1], self.window - 1
        query, new = tf.split(self.project(x), [self.units, 2 * self.units], axis=-1)
        read = recent.joined(state, new)
        end = recent.last(read, before, lengths)
        if x.shape[1] is not None and x.shape[1] <= self.window:
            blocks, size = 1, x.shape[1]
        else:
            blocks, size = -(-steps // self.window), self.window
        # A query at position p of its block is at position p + W - 1 of the steps that it may read.
        p, s = tf.range(size)[:, None] + before, tf.range(before + size)
        seen = (s <= p) & (s > p - self.window)
        start = tf.range(blocks)[:, None] * size  # of the steps that a block reads
        exists = (start + s)[None] >= before - real[:, None, None]  # (B, blocks, W - 1 + size)
        mask = seen & tf.reshape(exists, [-1, 1, 1, before + size])
        query = self._rotated(_blocks(query, blocks, size), before)
        key, value = tf.split(self._windows(read, blocks, size), 2, axis=-1)
        y = keras.ops.dot_product_attention(
            query, self._rotated(key), self._heads(value), mask=mask
        )
        y = tf.reshape(y, [tf.shape(x)[0], blocks * size, self.units])[:, :steps]
        return self.out(y), end

    def _windows(self, read, blocks, size):
        """The steps that each block reads: (B, W - 1 + T, F) to (B * blocks, W - 1 + size, F)."""
        if isinstance(blocks, int):  # one
            return read
        before = self.window - 1
        own = _blocks(read[:, before:], blocks, size)
        own = tf.reshape(own, [tf.shape(read)[0], blocks, size, read.shape[-1]])
        earlier = tf.concat([read[:, None, :before], own[:, :-1, size - before :]], axis=1)
        joined = tf.concat([earlier, own], axis=2)
        return tf.reshape(joined, [-1, before + size, read.shape[-1]])

    def _rotated(self, x, first=0):
        """Heads of x (B, T, H), rotated by their positions, counted from `first`."""
        x = self._heads(x)
        half = x.shape[-1] // 2
        frequency = 10_000.0 ** -(tf.range(half, dtype=tf.float32) / half)
        position = tf.cast(tf.range(tf.shape(x)[1]) + first, tf.float32)
        angle = (position[:, None] * frequency)[:, None]
        a, b = tf.split(tf.cast(x, tf.float32), 2, axis=-1)
        cos, sin = tf.cos(angle), tf.sin(angle)
        return tf.cast(tf.concat([a * cos - b * sin, a * sin + b * cos], axis=-1), x.dtype)

    def _heads(self, x):
        shape = tf.shape(x)
        return tf.reshape(x, [shape[0], shape[1], self.num_heads, self.units // self.num_heads])


def _blocks(x, blocks, size):
    """(B, T, F) to (B * blocks, size, F), the last block padded."""
    rows, steps, width = tf.shape(x)[0], tf.shape(x)[1], x.shape[-1]
    x = tf.pad(x, [[0, 0], [0, blocks * size - steps], [0, 0]])
    return tf.reshape(x, [rows * blocks, size, width])

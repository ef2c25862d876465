"""Building blocks: random numbers, dropout, perceptrons, recurrent layers, Gaussians.

Everything random is a pure function of a seed, two int32 numbers, and comes from the philox
generator: XLA's default generator takes about 40 times as long on a CPU. Recurrent layers are time
major, (T, B, ...), so that a step of their loop reads one contiguous slice.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from srnn_tf import scan

LOG_2PI = math.log(2.0 * math.pi)


def fold_in(seed: tf.Tensor, data: tf.Tensor | int) -> tf.Tensor:
    """A new seed (2,) from a seed and an integer; the same in eager, graph and XLA."""
    return tf.random.experimental.stateless_fold_in(seed, data, alg="philox")


def split(seed: tf.Tensor, num: int) -> tf.Tensor:
    """`num` independent seeds, (num, 2)."""
    return tf.random.experimental.stateless_split(seed, num, alg="philox")


def _random_bits(shape: Any, seed: tf.Tensor) -> tf.Tensor:
    return tf.random.stateless_uniform(
        shape, seed, minval=None, maxval=None, dtype=tf.int32, alg="philox"
    )


def uniform(shape: Any, seed: tf.Tensor) -> tf.Tensor:
    """Uniform float32 draws in (0, 1), equal in eager, graph and XLA."""
    bits = tf.bitwise.right_shift(tf.bitcast(_random_bits(shape, seed), tf.uint32), 9)
    return (tf.cast(bits, tf.float32) + 0.5) * 2.0**-23


def normal(shape: Any, seed: tf.Tensor) -> tf.Tensor:
    """Standard normal float32 draws, equal in eager, graph and XLA to about 2e-5.

    `tf.random.stateless_normal` differs between them. Draw i depends on the seed and i alone: a
    longer leading axis continues a shorter one.
    """
    return tf.math.ndtri(uniform(shape, seed))


def dropout(x: tf.Tensor, rate: float, seed: tf.Tensor | None) -> tf.Tensor:
    """Inverted dropout with 8 random bits per value, the rate rounded to a multiple of 1/256.

    Args:
        x: any floating tensor.
        rate: the share of values set to zero, in [0, 1).
        seed: (2,) int32; None leaves x as it is.
    """
    level = min(round(rate * 256), 255)
    if seed is None or level == 0:
        return x
    size = tf.size(x)
    words = _random_bits([(size + 3) // 4], seed)
    bits = tf.reshape(tf.bitcast(words, tf.uint8), [-1])[:size]
    keep = tf.reshape(bits, tf.shape(x)) >= tf.constant(level, tf.uint8)
    return tf.where(keep, x * (256.0 / (256 - level)), tf.zeros_like(x))


def clipped_leaky_relu(x: tf.Tensor) -> tf.Tensor:
    """Leaky ReLU of slope 1/3, clipped to [-3, 3]: the activation of prior and posterior."""
    return tf.clip_by_value(tf.maximum(x, x / 3.0), -3.0, 3.0)


def project(x: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor, dtype: str) -> tf.Tensor:
    """x (T, B, E) times a kernel (E, F), plus a bias, as one matrix product.

    `tf.matmul` of rank 3 would take the kernel's gradient one step at a time, then add them up.
    """
    x, kernel, bias = (tf.cast(a, dtype) for a in (x, kernel, bias))
    flat = tf.matmul(tf.reshape(x, [-1, x.shape[-1]]), kernel) + bias
    shape = tf.shape(x)
    return tf.reshape(flat, [shape[0], shape[1], kernel.shape[-1]])


class GaussianHead(keras.layers.Layer):
    """Mean and log variance of a diagonal Gaussian: a perceptron, its outputs clipped to [-8, 8].

    With `hidden_size > 0`: dropout, dense, clipped leaky ReLU, dropout, dense; else dropout, dense.

    Args:
        size: Z, the number of latent units.
        hidden_size: width of the one hidden layer; 0 for none.
        dropout: rate before each dense layer.

    Shapes: call(x (..., H), seed) -> mean, log variance, each (..., Z) float32.
    """

    def __init__(self, size: int, hidden_size: int = 0, dropout: float = 0.0, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.size, self.hidden_size, self.dropout = size, hidden_size, dropout

        def dense(units, name):
            return keras.layers.Dense(units, dtype=self.dtype_policy, name=name)

        self.hidden = dense(hidden_size, "hidden") if hidden_size else None
        self.out = dense(2 * size, "out")

    def build(self, input_shape):
        if self.hidden is not None:
            self.hidden.build(input_shape)
            input_shape = (*input_shape[:-1], self.hidden_size)
        self.out.build(input_shape)

    def call(self, x, seed=None):
        x = dropout(x, self.dropout, site(seed, 0))
        if self.hidden is not None:
            x = dropout(clipped_leaky_relu(self.hidden(x)), self.dropout, site(seed, 1))
        params = tf.clip_by_value(tf.cast(self.out(x), tf.float32), -8.0, 8.0)
        return tf.split(params, 2, axis=-1)


class Scalars(NamedTuple):
    """One value per step, embedded as x * kernel + bias, the embedding never formed."""

    x: tf.Tensor  # (T, B)
    kernel: tf.Tensor  # (E,)
    bias: tf.Tensor  # (E,)

    def embedding(self) -> tf.Tensor:
        """What it stands for, (T, B, E)."""
        return self.x[..., None] * self.kernel + self.bias


class LSTM(keras.layers.Layer):
    """A long short-term memory layer over `scan.lstm`, time major.

    Args:
        units: H.

    Shapes: call(x (T, B, E), state, lengths, reverse) -> outputs (T, B, H), state (h, c).
    x may be `Scalars`, whose projection is one number per step and row times a fixed vector.
    """

    def __init__(self, units: int, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.units = units

    def build(self, input_shape):
        wide = (4 * self.units,)
        self.kernel = self.add_weight(name="kernel", shape=(input_shape[-1], *wide))
        self.recurrent_kernel = self.add_weight(
            name="recurrent_kernel", shape=(self.units, *wide), initializer="orthogonal"
        )
        self.bias = self.add_weight(name="bias", shape=wide, initializer="zeros")

    def call(self, x, state=None, lengths=None, reverse=False):
        dtype = self.compute_dtype
        recurrent = tf.cast(self.recurrent_kernel, dtype)
        where = dict(lengths=lengths, reverse=reverse, time_major=True)
        if isinstance(x, Scalars):
            rows = tf.stack([x.kernel, x.bias]) @ self.kernel + [[0.0], [1.0]] * self.bias
            kernel, base = tf.unstack(tf.cast(rows, dtype))
            return scan.lstm_rank_one(tf.cast(x.x, dtype), kernel, base, recurrent, state, **where)
        inputs = project(x, self.kernel, self.bias, dtype)
        return scan.lstm(inputs, recurrent, state, **where)

    def zero_state(self, batch_size: Any) -> tuple[tf.Tensor, tf.Tensor]:
        h = tf.zeros([batch_size, self.units], self.compute_dtype)
        return h, tf.zeros([batch_size, self.units])


class GRUCell(keras.layers.Layer):
    """One step of a gated recurrent unit on projected inputs (B, 3H), gates in Keras' order.

    The reset gate acts after the recurrent product, as in `keras.layers.GRU(reset_after=True)`.
    """

    def __init__(self, units: int, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.units = units

    def build(self, input_shape=None):
        self.recurrent_kernel = self.add_weight(
            name="recurrent_kernel", shape=(self.units, 3 * self.units), initializer="orthogonal"
        )
        self.recurrent_bias = self.add_weight(
            name="recurrent_bias", shape=(3 * self.units,), initializer="zeros"
        )

    def call(self, inputs, states, training=False):
        def cast(w):
            return tf.cast(w, inputs.dtype)

        (state,) = states
        recurrent = tf.matmul(state, cast(self.recurrent_kernel)) + cast(self.recurrent_bias)
        n = 2 * self.units
        update, reset = tf.split(tf.sigmoid(inputs[:, :n] + recurrent[:, :n]), 2, axis=-1)
        candidate = tf.tanh(inputs[:, n:] + reset * recurrent[:, n:])
        h = update * state + (1.0 - update) * candidate
        return h, (h,)


class GRU(keras.layers.Layer):
    """A gated recurrent unit layer over `scan.unroll`, time major (Cho et al., arXiv:1406.1078).

    Args:
        units: H.

    Shapes: call(x (T, B, E), state, lengths, reverse) -> outputs (T, B, H), state (h,).
    """

    def __init__(self, units: int, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.units = units
        self.cell = GRUCell(units, dtype=self.dtype_policy, name="cell")

    def build(self, input_shape):
        wide = 3 * self.units
        self.kernel = self.add_weight(name="kernel", shape=(input_shape[-1], wide))
        self.bias = self.add_weight(name="bias", shape=(wide,), initializer="zeros")
        self.cell.build()

    def call(self, x, state=None, lengths=None, reverse=False):
        x = x.embedding() if isinstance(x, Scalars) else x
        inputs = project(x, self.kernel, self.bias, self.compute_dtype)
        inputs = scan.flip(inputs, lengths) if reverse else inputs
        state = self.zero_state(tf.shape(x)[1]) if state is None else state
        outputs, (h,) = scan.unroll(
            self.cell, inputs, tuple(state), lengths=lengths, time_major=True
        )
        return (scan.flip(outputs, lengths) if reverse else outputs), (h,)

    def zero_state(self, batch_size: Any) -> tuple[tf.Tensor]:
        return (tf.zeros([batch_size, self.units], self.compute_dtype),)


RECURRENT = {"lstm": LSTM, "gru": GRU}


def site(seed: tf.Tensor | None, index: int) -> tf.Tensor | None:
    """The seed of one place that draws; None stays None."""
    return None if seed is None else fold_in(seed, index)


def time_major(x: tf.Tensor) -> tf.Tensor:
    """(B, T, ...) to (T, B, ...), and back."""
    return tf.transpose(x, [1, 0, *range(2, x.shape.rank)])


def gaussian_log_prob(x: tf.Tensor, mean: tf.Tensor, log_variance: tf.Tensor) -> tf.Tensor:
    """log N(x; mean, exp(log_variance)) per unit, nats."""
    return -0.5 * (LOG_2PI + log_variance + tf.square(x - mean) * tf.exp(-log_variance))


def gaussian_kl(q: tuple[tf.Tensor, tf.Tensor], p: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
    """KL(q || p) per unit, nats, of diagonal Gaussians given as (mean, log variance)."""
    (q_mean, q_log_variance), (p_mean, p_log_variance) = q, p
    ratio = tf.exp(q_log_variance - p_log_variance)
    distance = tf.square(q_mean - p_mean) * tf.exp(-p_log_variance)
    return 0.5 * (p_log_variance - q_log_variance + ratio + distance - 1.0)

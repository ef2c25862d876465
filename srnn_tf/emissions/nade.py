"""Each value given the previous values of its frame, by one hidden layer that all values share."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from srnn_tf.core import checks
from srnn_tf.emissions.base import Emission
from srnn_tf.emissions.chain import chained, dims, draw_in_turn
from srnn_tf.emissions.heads import ValueHeads, fan_in

BLOCK = 8  # values whose sums are formed by one triangle


class NADE(Emission):
    """A neural autoregressive distribution estimator, conditional on the context: RNN-NADE.

        p(x | h) = prod{ p(x_i | params_i) : i = 1, ..., D }
        params_i = sigmoid(a_i) V_i + (h U)_i + c_i
        a_1 = h A + b,  a_{i+1} = a_i + x_i W_i

    The hidden layer of value i adds one row of W to that of value i - 1, so that a frame costs what
    one MLP costs, whatever D. In `masked_mlp`, each value has an MLP of its own.

    Args:
        event_size: D.
        likelihood: a `Likelihood`, its name or its config.
        units: the width of a.

    Shapes: call(context (B, T, H)) -> `tfd.Distribution`, batch (B, T), event (D,). Log densities
    are nats, float32.

    Raises:
        ValueError: a size is below 1.

    Example:
        >>> emission = NADE(88, "bernoulli", units=16)
        >>> emission(tf.zeros([2, 5, 8])).log_prob(tf.ones([2, 5, 88])).shape
        TensorShape([2, 5])

    Reference: Boulanger-Lewandowski et al., arXiv:1206.6392; Uria et al., arXiv:1605.02226.
    """

    def __init__(self, event_size: int, likelihood="bernoulli", units: int = 150, **kwargs):
        super().__init__(event_size, likelihood, **kwargs)
        checks.sizes(units=units)
        self.units, policy = units, dict(dtype=self.dtype_policy)
        self.hidden = keras.layers.Dense(units, name="hidden", **policy)
        size = self.likelihood.frame_params_size(event_size)
        self.direct = keras.layers.Dense(size, use_bias=False, name="direct", **policy)
        self.heads = ValueHeads(self.likelihood, event_size, name="heads", **policy)

    def build(self, input_shape):
        self.hidden.build(input_shape)
        self.direct.build(input_shape)
        self.heads.build((None, None, self.units))
        # No value is after the last one, so that W has no row for it.
        shape = (self.event_size - 1, self.units)
        start = fan_in(self.event_size)
        self.kernel = self.add_weight(name="kernel", shape=shape, initializer=start)

    def call(self, context, temperature=1.0, key=None):
        def score(context, x, key=None):
            a = self._initial(context) + sums_before(x, self._rows())
            shift = self.direct(context)
            return self.heads.log_prob(self._features(a), tf.transpose(x), temperature, shift)

        def draw(context, seed):
            return self._draw(context, seed, temperature)

        return chained(self, context, score, draw, key)

    # a is float32: in bfloat16 the terms added one by one would stray from the score's sum.

    def _initial(self, context):
        return tf.cast(self.hidden(context), tf.float32)

    def _rows(self):
        """W with a last row of zeros, (D, units)."""
        return tf.pad(tf.cast(self.kernel, tf.float32), [[0, 1], [0, 0]])

    def _features(self, a):
        return tf.sigmoid(tf.cast(a, self.compute_dtype))

    def _draw(self, context, seed, temperature):
        rows, shift = self._rows(), self.direct(context)

        def params(r, i, a):
            return self.heads.params(r, i, self._features(a), shift)

        def read(x, i, a):
            return a + x[:, None] * rows[i]

        return draw_in_turn(
            self.heads.runs, self._initial(context), params, read, seed, temperature
        )

    def get_config(self):
        return {**super().get_config(), "units": self.units}


def sums_before(x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """sum{ x_j W_j : j < i } of every value i, (D, N, F), from frames (N, D) and a kernel (D, F).

    The sums over whole blocks before that of i, and those within it, are products with triangles of
    ones. `tf.cumsum` and its gradient take seven times as long on a CPU (docs/notes.md).
    """
    size, rows = kernel.shape[0], dims(x)[0]
    block = min(size, BLOCK)
    count = -(-size // block)
    padding = [[0, count * block - size], [0, 0]]
    x = tf.reshape(tf.pad(tf.transpose(x), padding), [count, block, rows])
    kernel = tf.reshape(tf.pad(kernel, padding), [count, block, kernel.shape[1]])
    whole = tf.tensordot(_before(count), tf.matmul(x, kernel, transpose_a=True), axes=1)
    within = tf.matmul(x[:, None] * _before(block)[..., None], kernel[:, None], transpose_a=True)
    sums = whole[:, None] + within
    return tf.reshape(sums, [count * block, rows, kernel.shape[2]])[:size]


def _before(size):
    """Ones where a column is before a row."""
    return np.tri(size, k=-1, dtype=np.float32)

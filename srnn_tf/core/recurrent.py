"""Recurrent layers, time major, (T, B, ...), so that a step of their loop reads one slice."""

from __future__ import annotations

import abc
from typing import Any

import keras
import tensorflow as tf

from srnn_tf.core import scan
from srnn_tf.core.lru import LRU
from srnn_tf.core.nn import Part, Scalars, project, width
from srnn_tf.core.types import Size


class LSTM(keras.layers.Layer):
    """A long short-term memory layer over `scan.lstm`, time major.

    Args:
        units: H.

    Shapes: call(x (T, B, E), state, lengths, reverse) -> outputs (T, B, H), state (h, c).
    x may be `Scalars`, whose projection is one number per step and row times a fixed vector.
    """

    output_is_state = True  # the first state is the last output

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
        where: dict[str, Any] = dict(lengths=lengths, reverse=reverse, time_major=True)
        if isinstance(x, Scalars):
            kernel, base = tf.unstack(tf.cast(x.projection(self.kernel, self.bias), dtype))
            return scan.lstm_rank_one(tf.cast(x.x, dtype), kernel, base, recurrent, state, **where)
        inputs = project(x, self.kernel, self.bias, dtype)
        return scan.lstm(inputs, recurrent, state, **where)

    def part(self, fixed: tf.Tensor | Scalars) -> Part:
        """The layer on [fixed_t, extra_t] inside a loop: `step(inputs_t, extra_t, state, dense)`.

        Args:
            fixed: (T, B, F) or `Scalars`, the first input features, known for all steps.

        A step returns its output (B, H) and its state.
        """
        dtype, fixed_width = self.compute_dtype, width(fixed)
        inputs = project(fixed, self.kernel[:fixed_width], self.bias, dtype)
        kernel = tf.concat([self.kernel[fixed_width:], self.recurrent_kernel], axis=0)

        def step(projected, extra, state, dense):
            h, c = state
            x = tf.concat([tf.cast(extra, dtype), h], axis=-1)
            h, c = scan.lstm_step(projected + dense(x, self.name), c)
            return h, (h, c)

        return Part(inputs, {self.name: (tf.cast(kernel, dtype), None)}, step)

    def zero_state(self, batch_size: Size) -> tuple[tf.Tensor, tf.Tensor]:
        h = tf.zeros([batch_size, self.units], self.compute_dtype)
        return h, tf.zeros([batch_size, self.units])


class _Unrolled(keras.layers.Layer):
    """A layer over `scan.unroll` whose state is its last output, defined by `part`."""

    output_is_state = True

    def __init__(self, units: int, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.units = units

    def call(self, x, state=None, lengths=None, reverse=False):
        part = self.part(x)
        inputs = scan.flip(part.inputs, lengths) if reverse else part.inputs
        state = self.zero_state(tf.shape(inputs)[1]) if state is None else state

        def step(projected, state, dense):
            return part.step(projected, None, state, dense)

        outputs, (h,) = scan.unroll(
            step, inputs, tuple(state), weights=part.weights, lengths=lengths, time_major=True
        )
        return (scan.flip(outputs, lengths) if reverse else outputs), (h,)

    @abc.abstractmethod
    def part(self, fixed: tf.Tensor | Scalars) -> Part:
        """As `LSTM.part`; `extra` is None where there are no inputs besides the fixed ones."""

    def zero_state(self, batch_size: Size) -> tuple[tf.Tensor]:
        return (tf.zeros([batch_size, self.units], self.compute_dtype),)


class GRU(_Unrolled):
    """A gated recurrent unit layer over `scan.unroll`, time major (Cho et al., arXiv:1406.1078).

    The reset gate acts after the recurrent product, as in `keras.layers.GRU(reset_after=True)`.

    Args:
        units: H.

    Shapes: call(x (T, B, E), state, lengths, reverse) -> outputs (T, B, H), state (h,).
    """

    def build(self, input_shape):
        wide = (3 * self.units,)
        self.kernel = self.add_weight(name="kernel", shape=(input_shape[-1], *wide))
        self.bias = self.add_weight(name="bias", shape=wide, initializer="zeros")
        self.recurrent_kernel = self.add_weight(
            name="recurrent_kernel", shape=(self.units, *wide), initializer="orthogonal"
        )
        self.recurrent_bias = self.add_weight(
            name="recurrent_bias", shape=wide, initializer="zeros"
        )

    def part(self, fixed: tf.Tensor | Scalars) -> Part:
        dtype, fixed_width, name = self.compute_dtype, width(fixed), self.name
        inputs = project(fixed, self.kernel[:fixed_width], self.bias, dtype)
        recurrent = (tf.cast(w, dtype) for w in (self.recurrent_kernel, self.recurrent_bias))
        weights = {f"{name}_h": tuple(recurrent)}
        if fixed_width < self.kernel.shape[0]:
            weights[f"{name}_x"] = (tf.cast(self.kernel[fixed_width:], dtype), None)

        def step(projected, extra, state, dense):
            (h,) = state
            x = projected if extra is None else projected + dense(extra, f"{name}_x")
            recurrent, n = dense(h, f"{name}_h"), 2 * self.units
            update, reset = tf.split(tf.sigmoid(x[:, :n] + recurrent[:, :n]), 2, axis=-1)
            h = update * h + (1.0 - update) * tf.tanh(x[:, n:] + reset * recurrent[:, n:])
            return h, (h,)

        return Part(inputs, weights, step)


class Simple(_Unrolled):
    """A tanh recurrent layer over `scan.unroll`, time major (Elman, 1990).

        h_t = tanh(x_t W + h_{t-1} U + b)

    Args:
        units: H.

    Shapes: call(x (T, B, E), state, lengths, reverse) -> outputs (T, B, H), state (h,).
    """

    def build(self, input_shape):
        self.kernel = self.add_weight(name="kernel", shape=(input_shape[-1], self.units))
        self.recurrent_kernel = self.add_weight(
            name="recurrent_kernel", shape=(self.units, self.units), initializer="orthogonal"
        )
        self.bias = self.add_weight(name="bias", shape=(self.units,), initializer="zeros")

    def part(self, fixed: tf.Tensor | Scalars) -> Part:
        dtype, fixed_width, name = self.compute_dtype, width(fixed), self.name
        inputs = project(fixed, self.kernel[:fixed_width], self.bias, dtype)
        weights = {f"{name}_h": (tf.cast(self.recurrent_kernel, dtype), None)}
        if fixed_width < self.kernel.shape[0]:
            weights[f"{name}_x"] = (tf.cast(self.kernel[fixed_width:], dtype), None)

        def step(projected, extra, state, dense):
            (h,) = state
            x = projected if extra is None else projected + dense(extra, f"{name}_x")
            h = tf.tanh(x + dense(h, f"{name}_h"))
            return h, (h,)

        return Part(inputs, weights, step)


RECURRENT = {"lstm": LSTM, "gru": GRU, "simple": Simple, "lru": LRU}

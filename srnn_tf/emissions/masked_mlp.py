"""Each value given the previous values of its frame, by MLPs with a masked first layer."""

from __future__ import annotations

import functools
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from srnn_tf.core import checks, nn
from srnn_tf.core.random import fold
from srnn_tf.emissions.base import Emission
from srnn_tf.emissions.chain import chained, dims, draw_in_turn, runs_of
from srnn_tf.emissions.heads import ValueHeads, fan_in


class MaskedMLP(Emission):
    """One MLP per value, of the context and the previous values (similar to NADE).

        p(x | h) = prod{ p(x_i | a_i) : i = 1, ..., D }
        a_i = MLP_i([h, x_1, ..., x_{i-1}])

    The first layers of all MLPs are one matrix product with a masked kernel, so that no input is
    copied. Each hidden layer is affine, then layer normalization over the units of its value, ReLU
    and dropout. The paper's code normalizes over the units of all values at once. There a_i depends
    on x_i and later values, and the result is not a density.

    Args:
        event_size: D.
        likelihood: a `Likelihood`, its name or its config.
        num_layers: the number of hidden layers. With 0 the parameters of x_i are a linear function
            of [h, x_1, ..., x_{i-1}], as in the paper's handwriting models.
        units: the width of each hidden layer, per value.
        dropout: the dropout rate after each hidden layer.

    Shapes: call(context (B, T, H)) -> `tfd.Distribution`, batch (B, T), event (D,). Log densities
    are nats, float32.

    Raises:
        ValueError: a size is below 1 (`num_layers` below 0), or the rate is outside [0, 1), or
            above 0 without hidden layers.

    Example:
        >>> emission = MaskedMLP(88, "bernoulli", num_layers=2, units=4)
        >>> emission(tf.zeros([2, 5, 8])).log_prob(tf.ones([2, 5, 88])).shape
        TensorShape([2, 5])

    Reference: Lai et al., arXiv:1902.01388, section 4.4; Uria et al., arXiv:1605.02226.
    """

    def __init__(
        self,
        event_size: int,
        likelihood="bernoulli",
        num_layers: int = 3,
        units: int = 64,
        dropout: float = 0.0,
        **kwargs,
    ):
        super().__init__(event_size, likelihood, **kwargs)
        checks.sizes(minimum=0, num_layers=num_layers)
        checks.sizes(units=units)
        checks.rate(dropout=dropout)
        if dropout and not num_layers:
            raise ValueError(
                f"`dropout` must be 0 without hidden layers, which it follows; received {dropout!r}"
            )
        self.options = {"num_layers": num_layers, "units": units, "dropout": dropout}
        self.num_layers, self.units = num_layers, units
        policy = dict(dtype=self.dtype_policy)
        self.runs, self.hidden, self.heads = runs_of(self.likelihood, event_size), None, None
        if num_layers:
            widths, unbiased = [units] * event_size, [0] * event_size
            self.hidden = HiddenLayers(
                event_size, units, num_layers, dropout, name="hidden", **policy
            )
            self.heads = ValueHeads(self.likelihood, event_size, name="heads", **policy)
        else:
            values = self.likelihood.values(event_size)
            widths = [value.params_size for value in values]
            unbiased = [value.num_unbiased for value in values]
        self.first = MaskedDense(widths, unbiased, name="first", **policy)

    def build(self, input_shape):
        self.first.build(input_shape)
        if self.num_layers:
            self.hidden.build((None, None, self.units))
            self.heads.build((None, None, self.units))

    def call(self, context, temperature=1.0, key=None):
        def score(context, x, key=None):
            outputs = self.first(context, x)
            if not self.num_layers:
                return self._linear_log_prob(outputs, x, temperature)
            features = tf.reshape(outputs, [-1, self.event_size, self.units])
            features = self.hidden(nn.time_major(features), key=key)
            return self.heads.log_prob(features, tf.transpose(x), temperature)

        def draw(context, draws):
            return self._draw(context, draws, temperature)

        return chained(self, context, score, draw, key)

    def _linear_log_prob(self, outputs, x, temperature):
        total = 0.0
        for r, run in enumerate(self.runs):
            params = self._columns(outputs, r)
            log_prob = run.likelihood(params, temperature).log_prob(x[:, run.start : run.stop])
            total += tf.reduce_sum(log_prob, axis=1)
        return total

    def _columns(self, outputs, r):
        """The outputs of the first layer for the values of a run, (N, n, width)."""
        run, offsets = self.runs[r], self.first.offsets
        columns = outputs[:, offsets[run.start] : offsets[run.stop]]
        return tf.reshape(columns, [dims(outputs)[0], run.size, -1])

    def _draw(self, context, seed, temperature):
        kernel = self.first.values_kernel()

        def params(r, i, outputs):
            here = tf.gather(self._columns(outputs, r), i - self.runs[r].start, axis=1)
            here = tf.cast(here, self.compute_dtype)
            if not self.num_layers:
                return here
            return self.heads.params(r, i, self.hidden.of_value(i, here))

        def read(x, i, outputs):
            return outputs + x[:, None] * tf.cast(kernel[i], tf.float32)

        # In float32: in bfloat16 the terms added one by one would stray from the score's sum.
        state = tf.cast(self.first.from_context(context), tf.float32)
        return draw_in_turn(self.runs, state, params, read, seed, temperature)

    def get_config(self):
        return {**super().get_config(), **self.options}


class MaskedDense(keras.layers.Layer):
    """Affine layers of [h, x_1, ..., x_{i-1}], one per value, with concatenated outputs.

    Args:
        widths: the number of outputs of each value's layer.
        unbiased: how many of its last outputs have no bias.

    Shapes: call(context (N, H), x (N, D)) -> (N, sum of the widths).
    """

    def __init__(self, widths: list[int], unbiased: list[int], **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.event_size = len(widths)
        self.widths, self.unbiased = widths, unbiased
        self.offsets = np.concatenate([[0], np.cumsum(widths)]).tolist()

    # What has a number for each output is made when it is needed: a config may ask for more outputs
    # than there is room for, which is to be told before.

    @functools.cached_property
    def biased(self) -> np.ndarray:
        """Which outputs have a bias."""
        pairs = zip(self.widths, self.unbiased, strict=True)
        return np.concatenate([np.arange(w) < w - u for w, u in pairs])

    @functools.cached_property
    def value(self) -> np.ndarray:
        """The value that each output is for."""
        return np.repeat(np.arange(self.event_size), self.widths)

    def build(self, input_shape):
        width, total = input_shape[-1], self.offsets[-1]
        start = fan_in(width + self.event_size - 1)
        self.context_kernel = self.add_weight(
            name="context_kernel", shape=(width, total), initializer=start
        )
        self.kernel = self.add_weight(
            name="kernel", shape=(self.event_size - 1, total), initializer=start
        )
        self.bias = self.add_weight(
            name="bias", shape=(total - sum(self.unbiased),), initializer="zeros"
        )

    def call(self, context, x):
        return self.from_context(context) + self._from_values(x)

    def from_context(self, context):
        kernel, bias = tf.cast(self.context_kernel, self.compute_dtype), self._whole_bias()
        return tf.matmul(tf.cast(context, self.compute_dtype), kernel) + bias

    def values_kernel(self) -> tf.Tensor:
        """The masked kernel, (D, sum of the widths): zero where a layer must not read a value."""
        kernel = tf.pad(tf.convert_to_tensor(self.kernel), [[0, 1], [0, 0]])
        # Row j, of x_j, is read by the values after it; the last row by none. Made of one row and
        # one column, since a whole mask would be a constant of each graph, 10 MB for speech.
        seen = tf.range(self.event_size)[:, None] < self.value
        return tf.cast(tf.where(seen, kernel, tf.zeros_like(kernel)), self.compute_dtype)

    def _from_values(self, x):
        """The triangular product in blocks of columns, each with only the rows that it reads."""
        x, kernel = tf.cast(x, self.compute_dtype), self.values_kernel()
        edges = np.unique(np.linspace(0, self.event_size, 5).round().astype(int))
        blocks = [
            tf.matmul(x[:, :stop], kernel[:stop, self.offsets[start] : self.offsets[stop]])
            for start, stop in zip(edges[:-1], edges[1:], strict=True)
        ]
        return tf.concat(blocks, axis=1)

    def _whole_bias(self):
        if not any(self.unbiased):
            return tf.cast(self.bias, self.compute_dtype)
        place = np.where(self.biased)[0][:, None]
        bias = tf.scatter_nd(place, tf.convert_to_tensor(self.bias), [self.biased.size])
        return tf.cast(bias, self.compute_dtype)


class HiddenLayers(keras.layers.Layer):
    """The layers after the first affine one of each value, value major: (D, N, units)."""

    def __init__(self, event_size: int, units: int, num_layers: int, dropout: float, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.event_size, self.units = event_size, units
        self.num_layers, self.dropout = num_layers, dropout

    def build(self, input_shape):
        size = (self.event_size, self.units)

        def add(name, shape, start):
            return self.add_weight(name=name, shape=shape, initializer=start)

        layers = range(self.num_layers)
        self.scales = [add(f"scale_{i}", size, "ones") for i in layers]
        self.shifts = [add(f"shift_{i}", size, "zeros") for i in layers]
        square, start = (*size, self.units), fan_in(self.units)
        self.kernels = [add(f"kernel_{i}", square, start) for i in layers[1:]]
        self.biases = [add(f"bias_{i}", size, "zeros") for i in layers[1:]]

    def call(self, x, key=None):
        return self._transformed(x, tf.convert_to_tensor, key)

    def of_value(self, i: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
        """Apply the layers of value i alone, (N, units) in and out."""
        return self._transformed(x[None], lambda weight: tf.convert_to_tensor(weight)[i][None])[0]

    def _transformed(self, x, read: Callable, key=None):
        for layer in range(self.num_layers):
            if layer:
                kernel, bias = read(self.kernels[layer - 1]), read(self.biases[layer - 1])
                x = tf.matmul(x, tf.cast(kernel, x.dtype)) + tf.cast(bias, x.dtype)[:, None]
            x = self._normalized(x, read(self.scales[layer]), read(self.shifts[layer]))
            x = nn.dropout(tf.nn.relu(x), self.dropout, fold(key, layer))
        return x

    def _normalized(self, x, scale, shift):
        """Layer normalization over the units of a value, in float32."""
        single = tf.cast(x, tf.float32)
        mean, variance = tf.nn.moments(single, axes=[-1], keepdims=True)
        single = (single - mean) * tf.math.rsqrt(variance + 1e-5)
        scale, shift = (tf.cast(a, tf.float32)[:, None] for a in (scale, shift))
        return tf.cast(single * scale + shift, x.dtype)

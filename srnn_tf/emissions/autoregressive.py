"""Each value given the previous values of its frame, by a recurrence over the values."""

from __future__ import annotations

import keras
import tensorflow as tf

from srnn_tf.core import checks, nn, recurrent, scan
from srnn_tf.core.random import fold
from srnn_tf.emissions.base import Emission
from srnn_tf.emissions.chain import chained, dims, draw_in_turn
from srnn_tf.emissions.heads import ValueHeads

HEADS = ("shared", "private")
INITIAL_STATES = ("learned", "context")
RECOMPUTED_ROWS = 512  # evaluated at once with `recompute`


class AutoregressiveRNN(Emission):
    """A low-level LSTM over the values of a frame: the "hier" models.

        p(x | h) = prod{ p(x_i | l_i) : i = 1, ..., D }
        l_{i+1} = LSTM([embed(x_i), h], l_i)

    The LSTM predicts value i before it reads it. Its input is one projection of h per frame plus a
    scalar times a vector per value, so that the cost is that of the recurrence alone.

    Args:
        event_size: D.
        likelihood: a `Likelihood`, its name or its config.
        units: the width of l.
        embedding_size: the width of the linear embedding of a value.
        head: "shared" for one output layer for all values, "private" for one per value.
        initial_state: "learned" or "context". With "learned", l_1 is a constant, so that the first
            value does not depend on h, as in the paper's code. With "context", l_1 is a linear
            function of h.
        dropout: the dropout rate before the output layer.
        embedding_dropout: the dropout rate after the embedding of a value. Above 0, training forms
            all inputs of the LSTM, at three times the arithmetic.
        recompute: evaluate in blocks of 512 frames, and recompute (rematerialize) them for the
            gradient. The memory of the LSTM does then not grow with the batch, at the cost of one
            more forward pass.

    Shapes: call(context (B, T, H)) -> `tfd.Distribution`, batch (B, T), event (D,). Log densities
    are nats, float32.

    Raises:
        ValueError: a size is below 1, a rate is outside [0, 1), the head or initial state is
            unknown, the head is shared although the values differ in likelihood, or the initial
            state is learned although frames have one value.

    Example:
        >>> emission = AutoregressiveRNN(88, "bernoulli", units=16, embedding_size=4)
        >>> emission(tf.zeros([2, 5, 8])).log_prob(tf.ones([2, 5, 88])).shape
        TensorShape([2, 5])

    Reference: Lai et al., arXiv:1902.01388, section 4.4.
    """

    def __init__(
        self,
        event_size: int,
        likelihood="bernoulli",
        units: int = 256,
        embedding_size: int = 256,
        head: str = "shared",
        initial_state: str = "learned",
        dropout: float = 0.0,
        embedding_dropout: float = 0.0,
        recompute: bool = False,
        **kwargs,
    ):
        super().__init__(event_size, likelihood, **kwargs)
        checks.sizes(units=units, embedding_size=embedding_size)
        checks.choice("head", head, HEADS)
        checks.choice("initial_state", initial_state, INITIAL_STATES)
        checks.rate(dropout=dropout, embedding_dropout=embedding_dropout)
        if not isinstance(recompute, bool):
            raise ValueError(f"`recompute` must be True or False; received {recompute!r}")
        if event_size == 1 and initial_state == "learned":
            raise ValueError(
                "`initial_state` must be 'context' for frames of one value, which would not depend "
                f"on the context; received {initial_state!r}"
            )
        self.options = {
            "units": units,
            "embedding_size": embedding_size,
            "head": head,
            "initial_state": initial_state,
            "dropout": dropout,
            "embedding_dropout": embedding_dropout,
            "recompute": recompute,
        }
        self.units, self.embedding_size, self.recompute = units, embedding_size, recompute
        self.dropout, self.embedding_dropout = dropout, embedding_dropout
        policy = dict(dtype=self.dtype_policy)
        self.embed = keras.layers.Dense(embedding_size, name="embed", **policy)
        self.low = recurrent.LSTM(units, name="low", **policy)
        self.heads = ValueHeads(
            self.likelihood, event_size, head == "shared", name="heads", **policy
        )
        self.initial = None
        if initial_state == "context":
            self.initial = keras.layers.Dense(2 * units, name="initial", **policy)

    def build(self, input_shape):
        self.embed.build((None, 1))
        self.low.build((None, None, self.embedding_size + input_shape[-1]))
        self.heads.build((None, None, self.units))
        if self.initial is not None:
            self.initial.build(input_shape)
        else:
            small = keras.initializers.RandomUniform(-0.01, 0.01)
            shape = (2, self.units)
            self.initial_value = self.add_weight(name="initial", shape=shape, initializer=small)

    def call(self, context, temperature=1.0, key=None):
        def score(context, x, key=None):
            features = self._features(context, x, key)
            return self.heads.log_prob(features, tf.transpose(x), temperature)

        def draw(context, draws):
            return self._draw(context, draws, temperature)

        rows = RECOMPUTED_ROWS if self.recompute else None
        return chained(self, context, score, draw, key, rows)

    def _features(self, context, x, key):
        """l before it has read each value, from which that is predicted, (D, N, units)."""
        (h, c), read = self._initial_state(context), tf.transpose(x)[:-1]
        features = h[None]
        if self.event_size > 1:
            features = self._scan(context, read, (h, c), key)
        return nn.dropout(features, self.dropout, fold(key, "features"))

    def _scan(self, context, read, state, key):
        """The initial l, and l after each of the values `read`, (D - 1, N)."""
        dtype, options = self.compute_dtype, dict(time_major=True, return_initial=True)
        recurrent_kernel = tf.cast(self.low.recurrent_kernel, dtype)
        if key is None or self.embedding_dropout == 0.0:
            row, base = self._projections(context)
            read = tf.cast(read, dtype)
            return scan.lstm_rank_one(read, row, base, recurrent_kernel, state, **options)[0]
        embedded = self.embed(read[..., None])
        embedded = nn.dropout(embedded, self.embedding_dropout, fold(key, "embedded"))
        kernel = self.low.kernel[: self.embedding_size]
        inputs = nn.project(embedded, kernel, self.low.bias, dtype) + self._from_context(context)
        return scan.lstm(inputs, recurrent_kernel, state, **options)[0]

    def _projections(self, context):
        """The LSTM's input is x_i * row + base: row (4 units,), base (N, 4 units)."""
        scalar = nn.Scalars(None, self.embed.kernel.value[0], self.embed.bias.value)
        row, base = scalar.projection(self.low.kernel[: self.embedding_size], self.low.bias)
        row, base = (tf.cast(a, self.compute_dtype) for a in (row, base))
        return row, base + self._from_context(context)

    def _from_context(self, context):
        kernel = tf.cast(self.low.kernel[self.embedding_size :], self.compute_dtype)
        return tf.matmul(tf.cast(context, self.compute_dtype), kernel)

    def _initial_state(self, context):
        if self.initial is not None:
            h, c = tf.split(self.initial(context), 2, axis=-1)
            return tf.tanh(h), tf.cast(c, tf.float32)
        h, c = tf.unstack(tf.convert_to_tensor(self.initial_value))
        shape = [dims(context)[0], self.units]
        return tf.broadcast_to(tf.cast(h, self.compute_dtype), shape), tf.broadcast_to(c, shape)

    def _draw(self, context, seed, temperature):
        row, base = self._projections(context)
        kernel = tf.cast(self.low.recurrent_kernel, self.compute_dtype)

        def params(run, i, state):
            return self.heads.params(run, i, state[0])

        def read(x, i, state):
            projected = scan.rank_one(base, tf.cast(x, base.dtype), row)
            return scan.lstm_step(projected + tf.matmul(state[0], kernel), state[1])

        state = self._initial_state(context)
        return draw_in_turn(self.heads.runs, state, params, read, seed, temperature)

    def get_config(self):
        return {**super().get_config(), **self.options}

"""A structure with a first step of its own, and an emission that computes what it reads."""

import keras
import tensorflow as tf

from srnn_tf import emissions, structures
from srnn_tf.core import checks, nn, scan
from srnn_tf.structures.base import Structure, Trace, fresh_rows, sequence_lengths, where_fresh


@structures.register("average")
class Average(Structure):
    """A moving average of what was read: m_1 is a weight, m_t = a m_{t-1} + (1 - a) read(x_{t-1}).

    Args:
        size: the number of values that the emission reads.
    """

    latent_size = 0

    def __init__(self, size: int, **kwargs):
        checks.sizes(size=size)
        super().__init__(**kwargs)
        self.options = {"size": size}
        self.context_size = size

    def build(self, input_shape):
        checks.width("the inputs of an average", input_shape, self.context_size)
        self.first = self.add_weight(name="first", shape=(self.context_size,))
        self.decay = self.add_weight(name="decay", shape=(self.context_size,))

    def initial_states(self, batch_size):
        return {"fresh": fresh_rows(batch_size), "m": tf.zeros([batch_size, self.context_size])}

    def call(
        self, inputs, targets=None, states=None, noise=None, mask=None, key=None, evidence=None
    ):
        states = self.initial_states(tf.shape(inputs)[0]) if states is None else states
        x, zero = nn.time_major(inputs), tf.zeros(tf.shape(inputs)[:2])
        rows = tf.ones_like(x)  # a loop reads its arguments alone
        given = {"x": x, "first": rows * self.first, "a": rows * tf.sigmoid(self.decay)}

        def step(inputs, states, training=False):
            m = inputs["a"] * states["m"] + (1.0 - inputs["a"]) * inputs["x"]
            m = where_fresh(states["fresh"], inputs["first"], m)
            return m, {"fresh": tf.zeros_like(states["fresh"]), "m": m}

        m, states = scan.unroll(
            step, given, states, lengths=sequence_lengths(mask), time_major=True
        )
        context = nn.time_major(m)
        return Trace(tf.cast(context, self.compute_dtype), zero, zero, zero, states)


@emissions.register("features")
class Features(emissions.Factorized):
    """Independent values; the structure reads tanh(x W) of a frame x, `units` wide."""

    def __init__(self, event_size, likelihood="bernoulli", units=4, **kwargs):
        super().__init__(event_size, likelihood, **kwargs)
        self.features = keras.layers.Dense(
            units, "tanh", use_bias=False, dtype=self.dtype_policy, name="features"
        )

    def build(self, input_shape):
        super().build(input_shape)
        self.features.build((None, None, self.event_size))

    @property
    def read_size(self):
        return self.features.units

    def read(self, x):
        return tf.cast(self.features(x), tf.float32)

    def get_config(self):
        return {**super().get_config(), "units": self.features.units}

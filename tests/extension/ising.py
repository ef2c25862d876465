"""An emission whose partition function is not computed: a chain of bits that attract."""

import keras
import tensorflow as tf

from srnn_tf import emissions
from srnn_tf.emissions import Unnormalized
from srnn_tf.emissions.chain import dims


@emissions.register("ising")
class Ising(emissions.Emission):
    """Bits in a row: F(x) = -x.(h W + b) - sum{ c_i x_i x_{i+1} : i < D }."""

    normalized = False

    def __init__(self, event_size, likelihood="bernoulli", **kwargs):
        super().__init__(event_size, likelihood, **kwargs)
        self.dense = keras.layers.Dense(event_size, dtype=self.dtype_policy, name="dense")

    def build(self, input_shape):
        self.dense.build(input_shape)
        self.coupling = self.add_weight(name="coupling", shape=(self.event_size - 1,))

    def call(self, context, temperature=1.0, key=None):
        fields = tf.cast(self.dense(context), tf.float32) / temperature
        coupling = tf.convert_to_tensor(self.coupling) / temperature
        return Neighbours(fields, coupling, dims(context)[:-1])


class Neighbours(Unnormalized):
    """The path multiplies the couplings by b; even and odd bits are drawn in turn."""

    def __init__(self, fields, coupling, batch_shape):
        self.fields, self.coupling = fields, coupling
        size = fields.shape[-1]
        given = {"fields": fields, "coupling": coupling}
        super().__init__(batch_shape, size, 3 * size, cd_steps=5, num_steps=20, **given)

    def free_energy(self, x, beta=1.0):
        pairs = tf.reduce_sum(x[..., 1:] * x[..., :-1] * beta * self.coupling, axis=-1)
        return -tf.reduce_sum(x * self.fields, axis=-1) - pairs

    def transition(self, x, uniform, beta=1.0):
        odd = tf.range(self.event_size) % 2 == 1
        edges = [[0, 0]] * (x.shape.rank - 1)
        # Even, odd, even: the same backwards, so that the step is reversible.
        parts = zip(tf.split(uniform, 3, axis=-1), (~odd, odd, ~odd), strict=True)
        for u, chosen in parts:
            left = tf.pad(x[..., :-1] * self.coupling, [*edges, [1, 0]])
            right = tf.pad(x[..., 1:] * self.coupling, [*edges, [0, 1]])
            drawn = u < tf.sigmoid(self.fields + beta * (left + right))
            x = tf.where(chosen, tf.cast(drawn, tf.float32), x)
        return x

    def initial(self, uniform):
        drawn = uniform[..., : self.event_size] < tf.sigmoid(self.fields)
        return tf.cast(drawn, tf.float32)

    def initial_log_partition(self):
        return tf.reduce_sum(tf.math.softplus(self.fields), axis=-1)

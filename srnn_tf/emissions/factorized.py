"""Values that are independent given the context."""

from __future__ import annotations

import keras
import tensorflow as tf
import tensorflow_probability as tfp

from srnn_tf.emissions.base import Emission


class Factorized(Emission):
    """Independent values: the "F-" models.

        p(x | h) = prod{ p(x_i | h) : i = 1, ..., D }

    Args:
        event_size: D.
        likelihood: a `Likelihood`, its name or its config.

    Shapes: call(context (B, T, H)) -> `tfd.Independent`, batch (B, T), event (D,). Log densities
    are nats, float32.

    Raises:
        ValueError: `event_size` below 1, an unknown likelihood.

    Example:
        >>> emission = Factorized(88, "bernoulli")
        >>> emission(tf.zeros([2, 5, 8])).log_prob(tf.ones([2, 5, 88])).shape
        TensorShape([2, 5])

    Reference: Lai et al., arXiv:1902.01388.
    """

    def __init__(self, event_size, likelihood="bernoulli", **kwargs):
        super().__init__(event_size, likelihood, **kwargs)
        size = event_size * self.likelihood.params_size
        self.dense = keras.layers.Dense(size, dtype=self.dtype_policy, name="dense")

    def build(self, input_shape):
        self.dense.build(input_shape)

    def call(self, context, temperature=1.0):
        params = self.dense(context)
        shape = [*tf.unstack(tf.shape(context)[:-1]), self.event_size, self.likelihood.params_size]
        values = self.likelihood(tf.reshape(params, shape), temperature)
        return tfp.distributions.Independent(values, reinterpreted_batch_ndims=1)

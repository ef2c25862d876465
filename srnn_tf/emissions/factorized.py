"""Values that are independent given the context."""

from __future__ import annotations

import keras
import tensorflow as tf

from srnn_tf.emissions.base import Emission


class Factorized(Emission):
    """Values that are independent given the context: the "F-" models.

        p(x | h) = prod{ p(x_i | h) : i = 1, ..., D }

    Args:
        event_size: D.
        likelihood: a `Likelihood`, its name or its config.

    Shapes: call(context (B, T, H)) -> `tfd.Distribution`, batch (B, T), event (D,). Log densities
    are nats, float32.

    Raises:
        ValueError: `event_size` is below 1, the likelihood does not support it, or the likelihood
            is unknown.

    Example:
        >>> emission = Factorized(88, "bernoulli")
        >>> emission(tf.zeros([2, 5, 8])).log_prob(tf.ones([2, 5, 88])).shape
        TensorShape([2, 5])

    Reference: Lai et al., arXiv:1902.01388.
    """

    def __init__(self, event_size, likelihood="bernoulli", **kwargs):
        super().__init__(event_size, likelihood, **kwargs)
        size = self.likelihood.frame_params_size(event_size)
        whole = self.likelihood.num_unbiased == 0  # all parameters have a bias, that of `dense`
        self.dense = keras.layers.Dense(size, use_bias=whole, dtype=self.dtype_policy, name="dense")
        self.bias = None

    def build(self, input_shape):
        self.dense.build(input_shape)
        if self.likelihood.num_unbiased:
            size = self.dense.units - self.likelihood.num_unbiased
            self.bias = self.add_weight(shape=(size,), initializer="zeros", name="bias")

    def call(self, context, temperature=1.0, key=None):
        params = self.dense(context)
        if self.bias is not None:
            bias = tf.pad(tf.convert_to_tensor(self.bias), [[0, self.likelihood.num_unbiased]])
            params += tf.cast(bias, params.dtype)
        return self.likelihood.frame(params, self.event_size, temperature)

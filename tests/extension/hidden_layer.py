"""An emission: independent values behind one hidden layer."""

import keras

from srnn_tf import emissions
from srnn_tf.core import checks
from srnn_tf.emissions import Emission


@emissions.register("hidden_layer")
class HiddenLayer(Emission):
    """p(x | h) = prod{ p(x_i | tanh(W h)) : i = 1, ..., D }, `units` wide."""

    def __init__(self, event_size: int, likelihood="bernoulli", units: int = 8, **kwargs):
        checks.sizes(units=units)
        super().__init__(event_size, likelihood, **kwargs)
        size, policy = self.likelihood.frame_params_size(event_size), self.dtype_policy
        self.hidden = keras.layers.Dense(units, "tanh", dtype=policy, name="hidden")
        self.dense = keras.layers.Dense(size, dtype=policy, name="dense")

    def build(self, input_shape):
        self.hidden.build(input_shape)
        self.dense.build((*input_shape[:-1], self.hidden.units))

    def call(self, context, temperature=1.0, key=None):
        params = self.dense(self.hidden(context))
        return self.likelihood.frame(params, self.event_size, temperature)

    def get_config(self):
        return {**super().get_config(), "units": self.hidden.units}

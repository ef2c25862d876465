"""Transitions of latents that form a Markov chain: Gaussians of the latents of the step before.

A transition is called on all steps at once, or step by step inside a loop: both run its `step`.
"""

from __future__ import annotations

import abc

import keras
import tensorflow as tf

from srnn_tf.core import nn
from srnn_tf.core.scan.dense import Dense, Weights
from srnn_tf.structures.base import Gaussian


class Transition(keras.layers.Layer):
    """p(z_t | s_t): a diagonal Gaussian of s_t, which is z_{t-1}, or [z_{t-1}, x_{t-1}].

    Subclasses list their dense layers in `layers`, and use them in `step`.

    Args:
        size: Z.
        units: the width of the hidden layers.

    Shapes: call(s (T, B, S)) -> mean, log variance, each (T, B, Z) float32.
    """

    layers: list[keras.layers.Dense]

    def __init__(self, size: int, units: int, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.size, self.units = size, units
        self.layers = []

    def dense(self, units: int, name: str, **how) -> None:
        """Add a dense layer, which a step calls by its name."""
        self.layers.append(keras.layers.Dense(units, dtype=self.dtype_policy, name=name, **how))

    @abc.abstractmethod
    def step(self, s: tf.Tensor, dense: Dense) -> Gaussian:
        """Mean and log variance, each (B, Z), from s (B, S)."""

    def products(self) -> Weights:
        """The weights of all layers, by the name of the layer, for `scan.unroll`."""
        dtype = self.compute_dtype
        return {
            layer.name: (tf.cast(layer.kernel, dtype), tf.cast(layer.bias, dtype))
            for layer in self.layers
        }

    def call(self, s):
        steps = tf.unstack(tf.shape(s)[:-1])
        gaussian = self.step(tf.reshape(s, [-1, s.shape[-1]]), Dense(self.products()))
        return tuple(tf.reshape(a, [*steps, self.size]) for a in gaussian)


class GatedTransition(Transition):
    """A choice, per unit, between a linear function of s and an MLP of s.

        g = sigmoid(MLP(s)),  h = MLP(s)
        mean = (1 - g) (s W + b) + g h,  variance = softplus(relu(h) V + c)

    Each MLP has one ReLU layer. At the start s W + b is z_{t-1}.
    """

    def __init__(self, size, units, **kwargs):
        super().__init__(size, units, **kwargs)
        for name in ("gate", "proposal"):
            self.dense(units, f"{name}_hidden")
            self.dense(size, name)
        self.dense(size, "linear", kernel_initializer="identity")
        self.dense(size, "variance")

    def build(self, input_shape):
        hidden = {"gate": self.units, "proposal": self.units, "variance": self.size}
        for layer in self.layers:
            layer.build((*input_shape[:-1], hidden.get(layer.name, input_shape[-1])))

    def step(self, s, dense):
        gate, proposal = (
            dense(tf.nn.relu(dense(s, f"{name}_hidden")), name) for name in ("gate", "proposal")
        )
        gate = tf.sigmoid(gate)
        mean = (1.0 - gate) * dense(s, "linear") + gate * proposal
        return nn.softplus_gaussian(
            tf.concat([mean, dense(tf.nn.relu(proposal), "variance")], axis=-1)
        )


class MLPTransition(Transition):
    """mean = h W + b,  variance = softplus(h V + c),  h two ReLU layers of s."""

    def __init__(self, size, units, **kwargs):
        super().__init__(size, units, **kwargs)
        self.dense(units, "hidden_0")
        self.dense(units, "hidden_1")
        self.dense(2 * size, "moments")

    def build(self, input_shape):
        for layer in self.layers:
            layer.build(input_shape)
            input_shape = (*input_shape[:-1], layer.units)

    def step(self, s, dense):
        h = tf.nn.relu(dense(tf.nn.relu(dense(s, "hidden_0")), "hidden_1"))
        return nn.softplus_gaussian(dense(h, "moments"))


class LinearTransition(Transition):
    """mean = s W + b,  variance = softplus(c), the same at all steps.

    At the start the mean is z_{t-1}.
    """

    def __init__(self, size, units, **kwargs):
        super().__init__(size, units, **kwargs)
        self.dense(size, "linear", kernel_initializer="identity")

    def build(self, input_shape):
        self.layers[0].build(input_shape)
        self.variance = self.add_weight(name="variance", shape=(self.size,), initializer="zeros")

    def products(self):
        # A bias of a product is what a loop may read beside its inputs.
        nothing = tf.zeros([1, self.size], self.compute_dtype)
        variance = tf.cast(self.variance, self.compute_dtype)
        return {**super().products(), "variance": (nothing, variance)}

    def step(self, s, dense):
        return nn.softplus_gaussian(
            tf.concat([dense(s, "linear"), dense(tf.zeros_like(s[:, :1]), "variance")], axis=-1)
        )


TRANSITIONS: dict[str, type[Transition]] = {
    "gated": GatedTransition,
    "mlp": MLPTransition,
    "linear": LinearTransition,
}

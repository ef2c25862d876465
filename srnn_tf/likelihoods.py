"""Likelihoods: from parameters to a distribution of one value. They have no weights.

A likelihood turns params (..., D, params_size) into a `tfd.Distribution` of batch shape (..., D)
and scalar events. Parameters are cast to float32 first, whatever the dtype policy.
"""

from __future__ import annotations

import abc
from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp

from srnn_tf import checks, nn

tfd = tfp.distributions


class Likelihood(abc.ABC):
    """One value's distribution, from `params_size` parameters."""

    binary: bool = False

    @property
    @abc.abstractmethod
    def params_size(self) -> int:
        """The number of parameters per value."""

    @abc.abstractmethod
    def __call__(self, params: tf.Tensor, temperature: float = 1.0) -> tfd.Distribution:
        """(..., D, params_size) -> batch (..., D), scalar event.

        `temperature` t divides logits by t and multiplies scales by sqrt(t).
        """

    @abc.abstractmethod
    def get_config(self) -> dict[str, Any]:
        """Plain values that rebuild it."""


class _Bernoulli(tfd.Bernoulli):
    """Draws by philox, so that a seed gives the same sample in eager, graph and XLA."""

    def _sample_n(self, n, seed=None):
        logits = self._logits_parameter_no_checks()
        u = nn.uniform(tf.concat([[n], tf.shape(logits)], axis=0), seed)
        return tf.cast(u < tf.sigmoid(logits), self.dtype)


class Bernoulli(Likelihood):
    """A binary value.

        p(x = 1) = sigmoid(params[..., 0])

    Example:
        >>> Bernoulli()(tf.zeros([2, 88, 1])).log_prob(tf.ones([2, 88])).shape
        TensorShape([2, 88])
    """

    binary = True

    @property
    def params_size(self) -> int:
        return 1

    def __call__(self, params: tf.Tensor, temperature: float = 1.0) -> tfd.Distribution:
        logits = tf.cast(params[..., 0], tf.float32) / temperature
        return _Bernoulli(logits=logits, dtype=tf.float32)

    def get_config(self) -> dict[str, Any]:
        return {}


class _Mixture(tfd.MixtureSameFamily):
    """A mixture of normals with a lean log density, and draws by philox."""

    def _log_prob(self, x):
        normal = self.components_distribution
        standard = (x[..., None] - normal.loc) / normal.scale
        # XLA takes the logarithm of the scale, which is an exponential, as what it is.
        joint = -0.5 * (tf.square(standard) + nn.LOG_2PI) - tf.math.log(normal.scale)
        joint += tf.nn.log_softmax(self.mixture_distribution.logits, axis=-1)
        return tf.reduce_logsumexp(joint, axis=-1)

    def _sample_n(self, n, seed=None):
        logits = self.mixture_distribution.logits
        u = nn.uniform(tf.concat([[n], tf.shape(logits)], axis=0), nn.fold_in(seed, 0))
        chosen = tf.argmax(logits - tf.math.log(-tf.math.log(u)), axis=-1)
        pick = tf.one_hot(chosen, tf.shape(logits)[-1])
        normal = self.components_distribution
        loc, scale = (tf.reduce_sum(pick * p, axis=-1) for p in (normal.loc, normal.scale))
        return loc + scale * nn.normal(tf.shape(loc), nn.fold_in(seed, 1))


class _Normal(tfd.Normal):
    """Draws by philox."""

    def _sample_n(self, n, seed=None):
        shape = tf.concat([[n], self.batch_shape_tensor()], axis=0)
        return self.loc + self.scale * nn.normal(shape, seed)


class GaussianMixture(Likelihood):
    """A real value, a mixture of K normals.

        p(x) = sum{ softmax(a)[k] N(x; m[k], exp(s[k])^2) : k = 1, ..., K }

    The parameters are a, m and s, K numbers each; with one component there are no logits a.

    Args:
        num_components: K.

    Raises:
        ValueError: K < 1.

    Example:
        >>> GaussianMixture(20)(tf.zeros([2, 200, 60])).log_prob(tf.zeros([2, 200])).shape
        TensorShape([2, 200])
    """

    def __init__(self, num_components: int = 20):
        checks.sizes(num_components=num_components)
        self.num_components = num_components

    @property
    def params_size(self) -> int:
        return 3 * self.num_components if self.num_components > 1 else 2

    def __call__(self, params: tf.Tensor, temperature: float = 1.0) -> tfd.Distribution:
        params = tf.cast(params, tf.float32)
        if self.num_components == 1:
            loc, log_scale = tf.unstack(params, axis=-1)
            return _Normal(loc, tf.exp(log_scale) * temperature**0.5)
        logits, loc, log_scale = tf.split(params, 3, axis=-1)
        scale = tf.exp(log_scale) * temperature**0.5
        return _Mixture(tfd.Categorical(logits=logits / temperature), tfd.Normal(loc, scale))

    def get_config(self) -> dict[str, Any]:
        return {"num_components": self.num_components}


LIKELIHOODS = {"bernoulli": Bernoulli, "gaussian_mixture": GaussianMixture}

"""Likelihoods: from parameters to the distribution of a frame of D values. They have no weights.

A `Likelihood` maps the parameters of a frame, (..., P), to a `tfd.Distribution` of batch shape
(...) and event shape (D,). A `ValueLikelihood` maps the parameters of each value,
(..., D, params_size), to a distribution of batch shape (..., D) and scalar events. Parameters are
cast to float32 first, whatever the dtype policy.
"""

from __future__ import annotations

import abc

import tensorflow as tf
import tensorflow_probability as tfp

from srnn_tf.core import checks, nn, random, registry
from srnn_tf.core.types import Config, Temperature

tfd = tfp.distributions
# The range of log standard deviations. Far outside of it a scale is 0 or infinity in float32, and
# densities and their gradients NaN.
LOG_SCALES = (-20.0, 40.0)


class Likelihood(abc.ABC):
    """The distribution of a frame whose values are independent given the parameters."""

    # How many of the last parameters, of a frame or of a value, a layer computes without a bias.
    num_unbiased: int = 0

    @abc.abstractmethod
    def values(self, event_size: int) -> tuple[ValueLikelihood, ...]:
        """The likelihood of each value of a frame.

        Raises:
            ValueError: the likelihood does not support frames of `event_size` values.
        """

    def frame_params_size(self, event_size: int) -> int:
        """P, the number of parameters of a frame."""
        return sum(value.params_size for value in self.values(event_size))

    @abc.abstractmethod
    def frame(
        self, params: tf.Tensor, event_size: int, temperature: Temperature = 1.0
    ) -> tfd.Distribution:
        """The distribution of a frame: parameters (..., P) to batch (...), event (D,).

        A `temperature` t divides logits by t and multiplies scales by sqrt(t). Besides `log_prob`
        and `sample` the distribution has `greedy()`. It returns, for each value, the more probable
        bit, or the mean of the component with the largest weight.
        """

    def log_prob_of_each(
        self, params: tf.Tensor, x: tf.Tensor, temperature: Temperature = 1.0
    ) -> tf.Tensor:
        """log p(x; params_k) in nats of every frame with each of K rows of parameters.

        Args:
            params: (K, P).
            x: (..., D).
            temperature: as in `frame`.

        Returns:
            (..., K) float32.
        """
        return self.frame(params, x.shape[-1], temperature).log_prob(x[..., None, :])

    def params_of_moments(self, mean: tf.Tensor, variance: tf.Tensor) -> tf.Tensor:
        """The parameters of maximum likelihood, from the mean and the variance of each value.

        Args:
            mean, variance: (K, D), of K sets of frames.

        Returns:
            (K, P).

        Raises:
            ValueError: the likelihood has no such closed form.
        """
        raise ValueError(
            "`likelihood` must be bernoulli, or gaussian_mixture with num_components=1, whose "
            "parameters of maximum likelihood are functions of the mean and the variance; received "
            f"{type(self).__name__} with {self.get_config()}"
        )

    @abc.abstractmethod
    def get_config(self) -> Config:
        """The constructor's arguments, as plain values."""


class ValueLikelihood(Likelihood):
    """The distribution of one value, from `params_size` parameters; the same for all values."""

    binary: bool = False  # whether the value is 0 or 1

    @property
    @abc.abstractmethod
    def params_size(self) -> int:
        """The number of parameters per value."""

    @abc.abstractmethod
    def __call__(self, params: tf.Tensor, temperature: Temperature = 1.0) -> tfd.Distribution:
        """The distribution of each value: (..., D, params_size) to batch (..., D), scalar event.

        `temperature` is as in `frame`.
        """

    def values(self, event_size):
        return (self,) * event_size

    def frame(self, params, event_size, temperature=1.0):
        shape = [*tf.unstack(tf.shape(params)[:-1]), event_size, self.params_size]
        return _Independent(self(tf.reshape(params, shape), temperature), 1)


class _Independent(tfd.Independent):
    """`tfd.Independent` with `greedy`."""

    def _sample_n(self, n, seed=None, **kwargs):
        return super()._sample_n(n, seed=random.as_seed(seed), **kwargs)

    def greedy(self):
        return self.distribution.greedy()


class _Bernoulli(tfd.Bernoulli):
    """A Bernoulli with a cheaper log density, sampled by Philox: a seed gives the same sample in
    eager, graph and XLA.
    """

    def _log_prob(self, x):
        # log sigmoid(a) x + log sigmoid(-a) (1 - x), with one softplus for
        # both: a x - max(a, 0) - softplus(-|a|), whose first two terms cancel exactly.
        logits = self._logits_parameter_no_checks()
        positive = logits >= 0.0  # the gradient at 0 is that of the formula
        linear = tf.math.multiply_no_nan(logits, tf.where(positive, x - 1.0, x))
        return linear - tf.nn.softplus(tf.where(positive, -logits, logits))

    def _sample_n(self, n, seed=None):
        logits = self._logits_parameter_no_checks()
        u = random.uniform(tf.concat([[n], tf.shape(logits)], axis=0), random.as_seed(seed))
        return tf.cast(u < tf.sigmoid(logits), self.dtype)

    def greedy(self):
        return tf.cast(self._logits_parameter_no_checks() > 0.0, self.dtype)


class Bernoulli(ValueLikelihood):
    """A binary value, 0 or 1, from one logit.

        p(x = 1) = sigmoid(params[..., 0])

    Example:
        >>> Bernoulli()(tf.zeros([2, 88, 1])).log_prob(tf.ones([2, 88])).shape
        TensorShape([2, 88])
    """

    binary = True

    @property
    def params_size(self) -> int:
        return 1

    def __call__(self, params: tf.Tensor, temperature: Temperature = 1.0) -> tfd.Distribution:
        logits = tf.cast(params[..., 0], tf.float32) / temperature
        return _Bernoulli(logits=logits, dtype=tf.float32)

    def log_prob_of_each(self, params, x, temperature=1.0):
        # One product, of which memory is that of the result: x a - log(1 + exp(a)), a the logits.
        logits = tf.cast(params, tf.float32) / temperature
        product = tf.matmul(tf.reshape(x, [-1, x.shape[-1]]), logits, transpose_b=True)
        nats = product - tf.reduce_sum(tf.math.softplus(logits), axis=-1)
        return tf.reshape(nats, tf.concat([tf.shape(x)[:-1], tf.shape(logits)[:1]], axis=0))

    def params_of_moments(self, mean, variance):
        mean = tf.clip_by_value(mean, 1e-7, 1.0 - 1e-7)
        return tf.math.log(mean) - tf.math.log1p(-mean)

    def get_config(self) -> Config:
        return {}


class _Mixture(tfd.MixtureSameFamily):
    """A mixture of normals with a cheaper log density, sampled by Philox."""

    def _log_prob(self, x):
        normal = self.components_distribution
        standard = (x[..., None] - normal.loc) / normal.scale
        # XLA takes the logarithm of the scale, which is an exponential, as what it is.
        joint = -0.5 * (tf.square(standard) + nn.LOG_2PI) - tf.math.log(normal.scale)
        joint += tf.nn.log_softmax(self.mixture_distribution.logits, axis=-1)
        return tf.reduce_logsumexp(joint, axis=-1)

    def _sample_n(self, n, seed=None):
        logits, seed = self.mixture_distribution.logits, random.as_seed(seed)
        u = random.uniform(tf.concat([[n], tf.shape(logits)], axis=0), random.fold_in(seed, 0))
        loc, scale = self._component(logits - tf.math.log(-tf.math.log(u)))
        return loc + scale * random.normal(tf.shape(loc), random.fold_in(seed, 1))

    def greedy(self):
        return self._component(self.mixture_distribution.logits)[0]

    def _mode(self):
        raise NotImplementedError(
            "the mode of a mixture has no closed form; `greedy()` is the mean of the component "
            "with the largest weight"
        )

    def _component(self, scores):
        """Mean and scale of the component with the highest score."""
        pick = tf.one_hot(tf.argmax(scores, axis=-1), tf.shape(scores)[-1])
        normal = self.components_distribution
        return [tf.reduce_sum(pick * p, axis=-1) for p in (normal.loc, normal.scale)]


class _Normal(tfd.Normal):
    """A normal sampled by Philox."""

    def _sample_n(self, n, seed=None):
        shape = tf.concat([[n], self.batch_shape_tensor()], axis=0)
        return self.loc + self.scale * random.normal(shape, random.as_seed(seed))

    def greedy(self):
        return tf.broadcast_to(self.loc, self.batch_shape_tensor())


class GaussianMixture(ValueLikelihood):
    """A real value, distributed as a mixture of K normals.

        p(x) = sum{ softmax(a)[k] N(x; m[k], exp(s[k])^2) : k = 1, ..., K }

    The parameters are a, m and s, K numbers each. With one component there are no logits a.

    Args:
        num_components: K.

    Raises:
        ValueError: K is below 1.

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

    def __call__(self, params: tf.Tensor, temperature: Temperature = 1.0) -> tfd.Distribution:
        params = tf.cast(params, tf.float32)
        if self.num_components == 1:
            loc, log_scale = tf.unstack(params, axis=-1)
            return _Normal(loc, _scale(log_scale, temperature))
        logits, loc, log_scale = tf.split(params, 3, axis=-1)
        scale = _scale(log_scale, temperature)
        return _Mixture(tfd.Categorical(logits=logits / temperature), tfd.Normal(loc, scale))

    def params_of_moments(self, mean, variance):
        if self.num_components > 1:
            return super().params_of_moments(mean, variance)
        pairs = tf.stack([mean, 0.5 * tf.math.log(tf.maximum(variance, 1e-6))], axis=-1)
        return tf.reshape(pairs, [-1, 2 * mean.shape[-1]])

    def get_config(self) -> Config:
        return {"num_components": self.num_components}


def _scale(log_scale, temperature):
    return tf.exp(tf.clip_by_value(log_scale, *LOG_SCALES)) * temperature**0.5


class _Blocks(tfd.Blockwise):
    """Concatenated distributions; each draws from its own seed."""

    def _sample_n(self, n, seed=None):
        blocks, seed = enumerate(self.distributions), random.as_seed(seed)
        return tf.concat([block.sample(n, random.fold_in(seed, i)) for i, block in blocks], axis=-1)

    def greedy(self):
        return tf.concat([block.greedy() for block in self.distributions], axis=-1)

    def _mode(self):
        return tf.concat([block.mode() for block in self.distributions], axis=-1)


class _Move(GaussianMixture):
    """A mixture whose log scales have no bias, as in the paper's code."""

    @property
    def num_unbiased(self):  # ty: ignore[incompatible-property-override]
        return self.num_components


class Handwriting(Likelihood):
    """A step of a pen: a bit (pen up or down), then the move in x and y.

        p(x) = p(pen) p(dx) p(dy)      pen binary, dx and dy each a mixture of K normals

    The parameters of a frame are the logit of the bit, then those of dx and dy: their mixture
    logits (none with one component), means and log standard deviations. The log standard deviations
    have no bias.

    Args:
        num_components: K.

    Raises:
        ValueError: K is below 1; in `values`, `event_size` is not 3.

    Example:
        >>> likelihood = Handwriting(5)
        >>> params = tf.zeros([2, 7, likelihood.frame_params_size(3)])
        >>> likelihood.frame(params, 3).log_prob(tf.zeros([2, 7, 3])).shape
        TensorShape([2, 7])

    Reference: the IAM-OnDB models of Lai et al., arXiv:1902.01388.
    """

    def __init__(self, num_components: int = 5):
        self.bit, self.move = Bernoulli(), _Move(num_components)

    @property
    def num_unbiased(self) -> int:  # ty: ignore[incompatible-property-override]
        return 2 * self.move.num_unbiased

    def values(self, event_size):
        if event_size != 3:
            raise ValueError(
                "`event_size` must be 3 for a handwriting likelihood, (pen, dx, dy); "
                f"received {event_size}"
            )
        return self.bit, self.move, self.move

    def frame(self, params, event_size, temperature=1.0):
        bit, move, _ = self.values(event_size)
        components = move.num_components
        parts = [2 * components] * (move.params_size // components)
        logit, *parts = tf.split(params, [1, *parts], axis=-1)
        shape = [*tf.unstack(tf.shape(params)[:-1]), 2, components]
        moves = tf.concat([tf.reshape(part, shape) for part in parts], axis=-1)
        blocks = bit(logit[..., None], temperature), move(moves, temperature)
        return _Blocks([_Independent(block, 1) for block in blocks])

    def get_config(self) -> Config:
        return self.move.get_config()


LIKELIHOODS: dict[str, type[Likelihood]] = {
    "bernoulli": Bernoulli,
    "gaussian_mixture": GaussianMixture,
    "handwriting": Handwriting,
}
register = registry.register("likelihood", LIKELIHOODS, Likelihood)

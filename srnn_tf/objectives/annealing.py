"""Estimates of log p(x) where the partition function is not known: AIS and RAISE."""

from __future__ import annotations

import abc
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from srnn_tf.core import checks, draws
from srnn_tf.core.random import Key
from srnn_tf.core.types import Array
from srnn_tf.density import Batch, Density
from srnn_tf.objectives.base import Objective


class Estimate(NamedTuple):
    """An estimate of log p(x_t | x_<t) of each step, in nats, zero under the mask."""

    log_prob: tf.Tensor  # (B, S)
    error: tf.Tensor  # (B, S), its standard error over the chains; NaN with one chain


class _Annealed(Objective):
    """An estimate from chains of transitions between p_0, which is known, and p."""

    arguments = ("num_samples", "num_steps")
    scores_unnormalized = True
    default_samples = 20

    def __init__(self, num_samples: int = 20, num_steps: int = 500):
        checks.sizes(num_samples=num_samples, num_steps=num_steps)
        self.num_samples, self.num_steps = num_samples, num_steps

    def check(self, density):
        if density.latent_size or density.normalized:
            raise ValueError(
                f"{type(self).__name__} needs a model without latents whose emission has "
                "normalized=False; log p(x) of others is exact, or has ELBO(), IWAE() and FIVO()"
            )

    def check_training(self):
        raise ValueError(
            f"{type(self).__name__} is for `log_prob` alone; use Exact(), which trains an emission "
            "with normalized=False by contrastive divergence"
        )

    def loss(self, density, batch, key, step):
        self.check_training()

    def bound(self, density, batch, key):
        return tf.reduce_sum(self.estimate(density, batch, key).log_prob, axis=1)

    def estimate(self, density: Density, batch: Batch, key: Key | None) -> Estimate:
        """The estimate of each step, with its standard error.

        Args:
            density, batch: as in `bound`.
            key: the key of the chains, which then differ by row; None for a fixed table of draws,
                the same for all rows.
        """
        distribution = density.distribution(batch)
        rows, steps = tf.unstack(tf.shape(batch.steps)[:2])
        if key is None:
            key, rows = Key(draws.draw_seed()), 1
        seeds = key.fold("chains").split(self.num_samples)

        def chain(seed):
            each = key.at(seed).split(self.num_steps + 1)

            def uniform(k):
                # Steps first: draws of a step do not depend on how many there are.
                shape = [steps, rows, distribution.num_uniforms]
                return tf.transpose(key.at(each[k]).uniform(shape, axis=1), [1, 0, 2])

            return self._log_weight(distribution, batch.steps, uniform)

        log_weights = tf.map_fn(chain, seeds, fn_output_signature=tf.float32)
        total = tf.reduce_logsumexp(log_weights, axis=0) - math.log(self.num_samples)
        spread = tf.math.reduce_variance(tf.exp(log_weights - total), axis=0)
        error = tf.sqrt(spread / max(self.num_samples - 1, 1))
        if self.num_samples == 1:
            error = tf.fill(tf.shape(error), math.nan)
        log_prob = self._log_prob(distribution, batch.steps, total)

        def real(x):
            return x if batch.mask is None else tf.where(batch.mask, x, 0.0)

        return Estimate(real(log_prob), real(error))

    @abc.abstractmethod
    def _log_weight(self, distribution: Any, x: tf.Tensor, uniform: Callable) -> tf.Tensor:
        """log w of one chain, (B, S); uniform(k) are the draws (B, S, U) of its place k <= K."""

    @abc.abstractmethod
    def _log_prob(self, distribution: Any, x: tf.Tensor, log_mean_weight: tf.Tensor) -> tf.Tensor:
        """The estimate of log p(x_t | ...), (B, S), from the mean weight of the chains."""

    def _along(self, body, x, log_weight):
        """x and log w after all K steps of `body(k, x, log_weight)`, k = 0, ..., K - 1."""
        _, x, log_weight = tf.while_loop(
            lambda k, *_: k < self.num_steps,
            lambda k, *state: (k + 1, *body(k, *state)),
            (0, tf.stop_gradient(x), log_weight),
            maximum_iterations=self.num_steps,
        )
        return x, log_weight

    def _beta(self, k):
        return tf.cast(k, tf.float32) / self.num_steps


class AIS(_Annealed):
    """Annealed importance sampling of the partition functions: an optimistic estimate, no bound.

        log p(x) = -F(x) - log( Z_0 / M sum{ w_m : m = 1, ..., M } )
        log w = sum{ F_{k-1}(v_{k-1}) - F_k(v_{k-1}) : k = 1, ..., K }      F_k = F at b = k / K
        v_0 ~ p_0,   v_k: a transition at b = k / K from v_{k-1}

    The mean of w is an unbiased estimate of Z / Z_0, so that of log Z is too low on average, and
    the result too high. Report it together with `RAISE`, with standard errors: `annealed`.

    Args:
        num_samples: M, the number of chains.
        num_steps: K, the number of temperatures.

    Raises:
        ValueError: an argument is below 1; in `check`, the density is normalized or has latents.

    Example:
        >>> AIS(num_steps=100)
        AIS(num_samples=20, num_steps=100)

    Reference: Neal, arXiv:physics/9803008; Salakhutdinov and Murray, ICML 2008.
    """

    def _log_weight(self, distribution, x, uniform):
        def body(k, v, log_weight):
            before, after = self._beta(k), self._beta(k + 1)
            log_weight += distribution.free_energy(v, before) - distribution.free_energy(v, after)
            return distribution.transition(v, uniform(k + 1), after), log_weight

        start = tf.broadcast_to(distribution.initial(uniform(0)), tf.shape(x))
        return self._along(body, start, tf.zeros(tf.shape(x)[:2]))[1]

    def _log_prob(self, distribution, x, log_mean_weight):
        return -distribution.free_energy(x) - distribution.initial_log_partition() - log_mean_weight


class RAISE(_Annealed):
    """Reverse AIS: a lower bound on log p(x) of the annealed sampler, hence conservative.

        log( 1/M sum{ w_m : m = 1, ..., M } )
        log w = sum{ F_k(v_{k-1}) - F_k(v_k) : k = 1, ..., K } - F_0(v_0) - log Z_0
        v_K = x,   v_{k-1}: a transition at b = k / K from v_k

    The annealed sampler draws v_0 ~ p_0 and moves it by K transitions. It is a normalized model,
    and the mean of w is an unbiased estimate of its density, so that the result is too low on
    average. As K grows it becomes the model itself.

    Args:
        num_samples: M, the number of chains.
        num_steps: K, the number of temperatures.

    Raises:
        ValueError: an argument is below 1; in `check`, the density is normalized or has latents.

    Example:
        >>> RAISE(num_steps=100)
        RAISE(num_samples=20, num_steps=100)

    Reference: Burda, Grosse and Salakhutdinov, arXiv:1412.8566.
    """

    def _log_weight(self, distribution, x, uniform):
        def body(k, v, log_weight):
            beta = self._beta(self.num_steps - k)
            new = distribution.transition(v, uniform(k), beta)
            log_weight += distribution.free_energy(new, beta) - distribution.free_energy(v, beta)
            return new, log_weight

        first, log_weight = self._along(body, x, tf.zeros(tf.shape(x)[:2]))
        known = -distribution.free_energy(first, 0.0) - distribution.initial_log_partition()
        return log_weight + known

    def _log_prob(self, distribution, x, log_mean_weight):
        return log_mean_weight


class Annealed(NamedTuple):
    """Both estimates of log p(x_t | x_<t): the truth is likely between them, up to their errors."""

    ais: Estimate  # optimistic
    raised: Estimate  # conservative

    def per_step(self, mask: Array | None = None) -> dict[str, tuple[float, float]]:
        """The mean over real steps of each estimate, with its standard error over steps, nats.

        The error is that of steps as a sample of all steps. It includes that of the chains, which
        are independent.
        """
        shape = tf.shape(self.ais.log_prob)
        mask = tf.ones(shape, tf.bool) if mask is None else tf.cast(mask, tf.bool)

        def mean(estimate):
            nats = tf.boolean_mask(estimate.log_prob, mask)
            error = tf.math.reduce_std(nats) / tf.sqrt(tf.cast(tf.size(nats), tf.float32))
            return float(tf.reduce_mean(nats)), float(error)

        return {"ais": mean(self.ais), "raise": mean(self.raised)}


def annealed(
    density: Density,
    frames: Array,
    mask: Array | None = None,
    num_samples: int = 20,
    num_steps: int = 500,
    seed: int = 0,
) -> Annealed:
    """Estimate log p(x) of an emission with normalized=False from both sides, with errors.

    Report both: if they differ by less than 0.1 nats per step, either is good.

    Args:
        density: a density that is not normalized, such as `model.density`.
        frames: (B, T, D).
        mask: (B, T) bool, true where a frame is real; right-padded. All real by default.
        num_samples, num_steps: as in `AIS` and `RAISE`.
        seed: the seed of the chains.

    Raises:
        ValueError: an argument is below 1, or the density is normalized or has latents.
    """
    batch = density.batch(tf.convert_to_tensor(frames), mask=mask)
    estimates = []
    for place, cls in enumerate((AIS, RAISE)):
        objective = cls(num_samples, num_steps)
        objective.check(density)
        key = Key(draws.draw_seed(seed, place))
        estimate = tf.function(objective.estimate, autograph=False)
        estimates.append(estimate(density, batch, key))
    return Annealed(*estimates)

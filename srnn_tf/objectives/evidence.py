"""The evidence lower bound, and the exact likelihood of models without latents."""

from __future__ import annotations

import dataclasses
from typing import Any

import tensorflow as tf

from srnn_tf.core import checks, draws
from srnn_tf.core.random import Key, fold
from srnn_tf.core.registry import check_arguments
from srnn_tf.objectives import functions, score_function
from srnn_tf.objectives.base import Loss, Objective, noise_of
from srnn_tf.objectives.moments import moments
from srnn_tf.objectives.schedule import KLSchedule

REWARDS = ("to_go", "local")


class Exact(Objective):
    """The exact log likelihood of a density without latents, in nats.

        log p(x) = sum{ log p(x_t | x_<t) : t = 1, ..., T }

    Raises:
        ValueError: in `check`, the density has latents.

    Example:
        >>> Exact()
        Exact()
    """

    trains_unnormalized = True

    def check(self, density):
        if density.latent_size:
            raise ValueError(
                "Exact needs a model without latents; a model with latents has lower bounds only: "
                "use ELBO(), IWAE() or FIVO()"
            )

    def loss(self, density, batch, key, step):
        terms = density.terms(batch, key=fold(key, "terms"))
        nats = terms.log_likelihood
        value = -tf.reduce_sum(nats + terms.auxiliary)
        return Loss(value, nats, nats, terms.kl)

    def bound(self, density, batch, key):
        density.check_normalized("a score")
        return tf.reduce_sum(density.terms(batch).log_likelihood, axis=1)

    def score(self, job):
        # The bound draws nothing: any seed will do, and that of the table is at hand.
        return job.elbo(draws.draw_seed())


class ELBO(Objective):
    """The evidence lower bound (ELBO), in nats, with an annealed KL weight in training.

        L = sum{ E_q log p(x_t | z_<=t, x_<t) - w max(KL(q_t || p_t), f) : t = 1, ..., T }

    Training maximizes L. The reported bound has w = 1 and f = 0.

    Args:
        kl_schedule: w as a function of the number of updates: a `KLSchedule` or its arguments.
        free_nats: f, the KL per frame that is not penalized.
        num_samples: the number of draws that `log_prob` averages over. Training uses one.
        reward: what a draw is rewarded by in training, where no gradient passes through draws:
            "to_go", log p(x_t | ...) and all terms of later steps, whose expectation is the
            gradient; or "local", log p(x_t | ...) alone, which is not, as the code of the TSBN has
            it: for replication only.

    Raises:
        ValueError: an argument is negative, `num_samples` is below 1, or `reward` is unknown.

    Example:
        >>> ELBO(free_nats=0.5).kl_schedule
        KLSchedule(initial=0.2, increment=5e-05, final=1.0)

    Reference: Kingma and Welling, arXiv:1312.6114; free nats: Kingma et al., arXiv:1606.04934.
    """

    arguments = ("kl_schedule", "free_nats", "num_samples", "reward")
    trains_score_function = trains_unnormalized = True

    def __init__(
        self,
        kl_schedule: KLSchedule | dict[str, float] | None = None,
        free_nats: float = 0.0,
        num_samples: int = 1,
        reward: str = "to_go",
    ):
        if not isinstance(kl_schedule, KLSchedule):
            check_arguments("`kl_schedule`", KLSchedule, kl_schedule or {})
            kl_schedule = KLSchedule(**(kl_schedule or {}))
        checks.weight(free_nats=free_nats)
        checks.sizes(num_samples=num_samples)
        checks.choice("reward", reward, REWARDS)
        self.kl_schedule, self.free_nats, self.num_samples = kl_schedule, free_nats, num_samples
        self.reward = reward
        self._signal: score_function.RunningSignal | None = None

    def build(self, density):
        if density.score_function and self._signal is None:
            self._signal = score_function.RunningSignal()
            self.variables = self._signal.variables

    def observe(self, sums):
        if self._signal is not None:
            self._signal.observe(sums)

    def check_training(self):
        if self.num_samples > 1:
            raise ValueError(
                f"`num_samples` of an ELBO must be 1 in training; received {self.num_samples}"
            )

    def loss(self, density, batch, key, step):
        terms = density.terms(batch, noise_of(density, batch, key), key=fold(key, "terms"))
        log_likelihood, kl, auxiliary = (
            density.sum_frames(x) for x in (terms.log_likelihood, terms.kl, terms.auxiliary)
        )
        weight = self.kl_weight(step)
        values = functions.elbo(log_likelihood, kl, auxiliary, weight, self.free_nats)
        if self.free_nats and batch.mask is not None:  # no free nats for padding
            real = batch.mask[:, :: density.steps_per_frame]
            values = tf.where(real, values, 0.0)
        value, observed = -tf.reduce_sum(values), None
        if terms.score is not None:
            rewards = self._rewards(density, terms, kl, weight)
            known = (0.0, 1.0) if self._signal is None else self._signal.moments()
            surrogate, observed = score_function.with_score(terms, rewards, batch.mask, *known)
            value += surrogate
        of_means = moments(terms.posterior_mean, batch.mask)
        bound = functions.elbo(log_likelihood, kl)
        return Loss(value, bound, log_likelihood, kl, of_means, observed)

    def _rewards(self, density, terms, kl_of_frames, weight):
        gains, costs = terms.log_likelihood + terms.auxiliary, weight * terms.kl
        if self.reward == "local":
            return gains
        if self.free_nats:  # the cost of a frame is known at its last step
            costs = weight * tf.maximum(kl_of_frames, self.free_nats)[..., None]
            costs = tf.pad(costs, [[0, 0], [0, 0], [density.steps_per_frame - 1, 0]])
            costs = tf.reshape(costs, tf.shape(gains))
        return score_function.rewards_to_go(gains, costs)

    def bound(self, density, batch, key):
        density.check_normalized("a bound")

        def one_draw(sample):
            seed = Key(draws.draw_seed(None, sample)) if key is None else key.fold(sample)
            rows, steps = tf.unstack(tf.shape(batch.steps)[:2])
            noise = density.noise(1 if key is None else rows, steps, seed)
            terms = density.terms(batch, noise)
            return tf.reduce_sum(functions.elbo(terms.log_likelihood, terms.kl), axis=1)

        return sum(map(one_draw, range(self.num_samples))) / self.num_samples

    def score(self, job):
        if not self._bound_is_of(ELBO):
            return job.bound(self)
        seeds = (draws.draw_seed(job.seed, s) for s in range(self.num_samples))
        return sum(job.elbo(seed) for seed in seeds) / self.num_samples

    def kl_weight(self, step):
        return self.kl_schedule(step)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        if "kl_schedule" in config:  # a subclass may have other arguments
            config["kl_schedule"] = dataclasses.asdict(self.kl_schedule)
        return config

"""The filtering variational objective (FIVO), a bound from a particle filter."""

from __future__ import annotations

import tensorflow as tf

from srnn_tf.core import checks, draws
from srnn_tf.core.random import Key, fold
from srnn_tf.density import Batch, Density
from srnn_tf.objectives.base import Loss, Objective
from srnn_tf.objectives.moments import moments
from srnn_tf.objectives.particles import PROPOSALS, Filtered, ParticleFilter, filtering


class FIVO(Objective):
    """The filtering variational objective: the log likelihood that K particles estimate, in nats.

        L = sum{ log p_hat(x_t | x_<t) : t = 1, ..., T }

    Args:
        num_particles: K.
        ess_threshold: particles are resampled where their effective sample size is below this share
            of K; 0 for never.
        proposal: the distribution that particles are drawn from, "posterior" or "prior".

    Raises:
        ValueError: `num_particles` is below 1, the proposal is unknown, or the threshold is
            negative.

    Example:
        >>> FIVO(16, proposal="prior")
        FIVO(num_particles=16, ess_threshold=0.5, proposal='prior')

    Reference: Maddison et al., arXiv:1705.09279.
    """

    arguments = ("num_particles", "ess_threshold", "proposal")

    def __init__(
        self, num_particles: int = 16, ess_threshold: float = 0.5, proposal: str = "posterior"
    ):
        checks.sizes(num_particles=num_particles)
        checks.weight(ess_threshold=ess_threshold)
        checks.choice("proposal", proposal, PROPOSALS)
        self.num_particles, self.ess_threshold = num_particles, ess_threshold
        self.proposal = proposal

    def filter(self, density: Density, key: Key | None = None) -> ParticleFilter:
        """The particle filter of a density. The key holds the rows of a replica, for dropout."""
        rows = None if key is None else key.rows
        return ParticleFilter(density, self.num_particles, self.ess_threshold, self.proposal, rows)

    def loss(self, density, batch, key, step):
        filtered = self._filtered(density, batch, key)
        value = -tf.reduce_sum(filtered.bound) - tf.reduce_sum(filtered.auxiliary)
        parts = (filtered.bound, filtered.log_likelihood, filtered.kl)
        per_frame = (density.sum_frames(x) for x in parts)
        return Loss(value, *per_frame, moments(filtered.posterior_mean, batch.mask))

    def bound(self, density, batch, key):
        return tf.reduce_sum(self._filtered(density, batch, key).bound, axis=1)

    def _filtered(self, density: Density, batch: Batch, key: Key | None) -> Filtered:
        rows, steps = tf.unstack(tf.shape(batch.steps)[:2])
        # Without a key the draws of `log_prob`, up to its block of steps.
        source = Key(draws.filter_seed()) if key is None else key.fold("noise")
        drawn = draws.filter_noise(
            source, density.latent_size, steps, 1 if key is None else rows, self.num_particles
        )
        cell, dropped = self.filter(density, key), fold(key, "dropout")
        return filtering(cell, batch, *drawn, key=dropped)[0]

    def score(self, job):
        if not self._bound_is_of(FIVO):
            return job.bound(self)
        return job.filtered(self)

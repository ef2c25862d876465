"""A particle filter over the latents of a density: one step, and all steps of a batch."""

from __future__ import annotations

import math
from typing import NamedTuple

import tensorflow as tf

from srnn_tf.core import nn, scan
from srnn_tf.core.random import Key, Rows, fold
from srnn_tf.core.types import Evidence, Size, State
from srnn_tf.density import Batch, Density
from srnn_tf.objectives import functions

PROPOSALS = ("posterior", "prior")


class Filtered(NamedTuple):
    """The outputs of a particle filter at each step, in nats, zero under the mask.

    All but `bound` are means over the particles, weighted by the weights before the step.
    """

    bound: tf.Tensor  # (B,), log p_hat(x_t | x_<t)
    log_likelihood: tf.Tensor  # (B,)
    kl: tf.Tensor  # (B,)
    auxiliary: tf.Tensor  # (B,)
    posterior_mean: tf.Tensor  # (B, Z)


class ParticleFilter:
    """One step of a particle filter with K particles per sequence and adaptive resampling.

        w_t^k = W_{t-1}^k p(x_t | h_t^k) p(z_t^k) / q(z_t^k)        z_t^k ~ q(z_t | particle k)
        p_hat(x_t | x_<t) = sum{ w_t^k : k }                        W_t^k = w_t^k / p_hat

    The product of the p_hat is an unbiased estimate of p(x). The sum of their logarithms is the
    filtering variational objective (FIVO). A step resamples before it draws, not after it, so that
    the weights after the last step belong to its particles.

    It is a cell for `scan.unroll`, with B rows and B * K states.

    Args:
        density: a density with latents.
        num_particles: K.
        ess_threshold: a step resamples where the effective sample size is below this share of K.
        proposal: "posterior", or "prior" (a bootstrap filter).
        rows: the rows of a replica, for dropout.

    Shapes: inputs `x`, `previous` (B, D); `real` (B,) bool; `noise` (G, K, Z), where row b takes
    group b mod G; `uniform` (G,); `evidence`, a nest of (B, ...), or () without; `seed` (2,), or ()
    for no dropout. States: `structure`, a nest of (B * K, ...), and `log_weights` (B, K). Outputs:
    `Filtered`, each of B rows.

    Reference: Maddison et al., arXiv:1705.09279.
    """

    def __init__(
        self,
        density: Density,
        num_particles: int,
        ess_threshold: float = 0.5,
        proposal: str = "posterior",
        rows: Rows | None = None,
    ):
        self.density, self.num_particles, self.rows = density, num_particles, rows
        self.ess_threshold, self.proposal = ess_threshold, proposal
        self.variables = density.variables

    def initial_states(self, rows: Size) -> dict[str, State]:
        """Equal weights, and all particles in the structure's initial state."""
        equal = tf.fill([rows, self.num_particles], -math.log(self.num_particles))
        states = self.density.initial_states(rows * self.num_particles)
        return {"structure": states, "log_weights": equal}

    def __call__(self, inputs, states, training=False):
        rows, real = tf.shape(inputs["x"])[0], inputs["real"]
        uniform = spread(inputs["uniform"], rows)
        ancestors, log_weights = functions.resample(
            states["log_weights"], uniform, self.ess_threshold
        )
        index = tf.reshape(ancestors + tf.range(rows)[:, None] * self.num_particles, [-1])
        chosen = tf.nest.map_structure(lambda s: tf.gather(s, index), states["structure"])
        trace, log_likelihood = self._propose(inputs, chosen, rows)

        def per_particle(x):
            return tf.reshape(x, [rows, self.num_particles, *x.shape[2:]])

        log_likelihood = per_particle(log_likelihood)
        joint = log_weights + log_likelihood - per_particle(trace.log_ratio)
        total = tf.reduce_logsumexp(joint, axis=1)
        weights = tf.stop_gradient(tf.exp(log_weights))  # of means, not of the bound

        def mean(x):
            return tf.einsum("bk,bk...->b...", weights, x)

        outputs = Filtered(
            total,
            mean(log_likelihood),
            mean(per_particle(trace.kl)),
            mean(per_particle(trace.auxiliary)),
            mean(per_particle(trace.posterior_mean)),
        )
        # Rows past their end keep what they had.
        each = tf.repeat(real, self.num_particles)
        new = {
            "structure": tf.nest.map_structure(
                lambda n, s: _where(each, n, s), trace.states, states["structure"]
            ),
            "log_weights": _where(real, joint - total[:, None], states["log_weights"]),
        }
        return tf.nest.map_structure(lambda o: _where(real, o, 0.0), outputs), new

    def _propose(self, inputs, states, rows):
        """The structure's trace of one step for all particles, and log p(x_t | h_t) of each."""

        def particles(x):
            return tf.repeat(x, self.num_particles, axis=0)

        x, source = particles(inputs["x"]), {}
        if self.proposal == "posterior" and self.density.filtering:
            source = {"target": x}
        elif self.proposal == "posterior":
            source = {"evidence": tf.nest.map_structure(particles, inputs["evidence"])}
        noise, seed = spread(inputs["noise"], rows), inputs["seed"]
        trace, distribution = self.density.step(
            particles(inputs["previous"]),
            states,
            tf.reshape(noise, [-1, noise.shape[-1]]),
            key=None if isinstance(seed, tuple) else Key(seed, self.rows),
            **source,
        )
        return trace, distribution.log_prob(x[:, None])


def filtering(
    cell: ParticleFilter,
    batch: Batch,
    noise: tf.Tensor,
    uniform: tf.Tensor,
    evidence: Evidence = None,
    states: dict[str, State] | None = None,
    key: Key | None = None,
) -> tuple[Filtered, dict[str, State]]:
    """Run a particle filter over a batch.

    Args:
        cell: the filter.
        batch: the steps.
        noise: (S, G, K, Z), standard normal draws for G groups of rows.
        uniform: (S, G) in [0, 1).
        evidence: a nest of (B, S, ...), the features of the data that the posterior reads; computed
            from the batch by default.
        states: the states to start from; by default equal weights and the structure's initial
            state.
        key: the key for dropout; None for no dropout.

    Returns:
        `Filtered`, each (B, S, ...), and the states after the last real step of each row.
    """
    rows, length = tf.unstack(tf.shape(batch.steps)[:2])
    if cell.proposal == "prior":
        evidence = None
    elif evidence is None:
        evidence = cell.density.evidence(batch, fold(key, "evidence"))
    real = tf.ones([rows, length], tf.bool) if batch.mask is None else batch.mask
    inputs = {
        "x": nn.time_major(batch.steps),
        "previous": nn.time_major(batch.previous),
        "real": nn.time_major(real),
        "noise": noise,
        "uniform": uniform,
        "evidence": () if evidence is None else tf.nest.map_structure(nn.time_major, evidence),
        "seed": () if key is None else key.fold("steps").split(length),
    }
    states = cell.initial_states(rows) if states is None else states
    outputs, states = scan.unroll(cell, inputs, states, time_major=True)
    return tf.nest.map_structure(nn.time_major, outputs), states


def spread(groups: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """Repeat groups over rows, (G, ...) to (rows, ...): row b is group b mod G."""
    count = groups.shape[0] if groups.shape[0] is not None else tf.shape(groups)[0]
    return tf.tile(groups, [rows // count, *[1] * (groups.shape.rank - 1)])


def _where(rows, new, old):
    return tf.where(tf.reshape(rows, [-1, *[1] * (new.shape.rank - 1)]), new, old)

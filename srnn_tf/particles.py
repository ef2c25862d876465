"""A particle filter over the latents of a model: one step of it, a cell for `scan.unroll`."""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf

from srnn_tf import objectives

PROPOSALS = ("posterior", "prior")


class ParticleFilter:
    """K particles per sequence, resampled when their weights have become too unequal.

        w_t^k = W_{t-1}^k p(x_t | h_t^k) p(z_t^k) / q(z_t^k)        z_t^k ~ q(z_t | particle k)
        p_hat(x_t | x_<t) = sum{ w_t^k : k }                        W_t^k = w_t^k / p_hat

    The product of the p_hat is an unbiased estimate of p(x); the sum of their logarithms is the
    filtering variational objective (FIVO). Particles that have lost their weight are replaced
    before a step, not after it, so that the last step's weights stay those of its particles.

    A cell for `scan.unroll`, of B rows and B * K states: inputs
    `x`, `previous` (B, D); `real` (B,) bool; `noise` (G, K, Z), where row b takes group b mod G;
    `uniform` (G,); `evidence`, a nest of (B, ...), () without; `seed` (2,), () for no dropout.
    States: `structure`, a nest of (B * K, ...), and `log_weights` (B, K).

    Args:
        model: a `SequenceModel` with latents.
        num_particles: K.
        ess_threshold: the share of K that the effective sample size may fall to.
        proposal: "posterior", or "prior" (a bootstrap filter).

    Outputs, each of B rows: `bound`, log p_hat, zero where not `real`; and the means over the
    weights before the step of `log_likelihood`, `kl`, `auxiliary` and `posterior_mean`.

    Reference: Maddison et al., arXiv:1705.09279.
    """

    def __init__(
        self,
        model: Any,
        num_particles: int,
        ess_threshold: float = 0.5,
        proposal: str = "posterior",
    ):
        self.model, self.num_particles = model, num_particles
        self.ess_threshold, self.proposal = ess_threshold, proposal
        self.variables = [*model.structure.variables, *model.emission.variables]

    def initial_states(self, rows: Any) -> dict[str, Any]:
        """Equal weights, all particles at the structure's initial state."""
        equal = tf.fill([rows, self.num_particles], -math.log(self.num_particles))
        states = self.model.structure.initial_states(rows * self.num_particles)
        return {"structure": states, "log_weights": equal}

    def __call__(self, inputs, states, training=False):
        rows, real = tf.shape(inputs["x"])[0], inputs["real"]
        uniform = spread(inputs["uniform"], rows)
        ancestors, log_weights = objectives.resample(
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

        outputs = {
            "bound": total,
            "log_likelihood": mean(log_likelihood),
            "kl": mean(per_particle(trace.kl)),
            "auxiliary": mean(per_particle(trace.auxiliary)),
            "posterior_mean": mean(per_particle(trace.posterior_mean)),
        }
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
        """The structure's trace of one step of all particles, and log p(x_t | h_t) of each."""

        def particles(x):
            return tf.repeat(x, self.num_particles, axis=0)[:, None]

        x, structure = particles(inputs["x"]), self.model.structure
        source = {}
        if self.proposal == "posterior" and structure.filtering:
            source = {"targets": x}
        elif self.proposal == "posterior":
            source = {"evidence": tf.nest.map_structure(particles, inputs["evidence"])}
        noise = spread(inputs["noise"], rows)
        seed = None if isinstance(inputs["seed"], tuple) else inputs["seed"]
        trace = structure(
            particles(inputs["previous"]),
            states=states,
            noise=tf.reshape(noise, [-1, 1, noise.shape[-1]]),
            seed=seed,
            **source,
        )
        return trace, self.model.emitted(trace.context, seed).log_prob(x)


def spread(groups: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """(G, ...) to (rows, ...): row b is group b mod G."""
    count = groups.shape[0] if groups.shape[0] is not None else tf.shape(groups)[0]
    return tf.tile(groups, [rows // count, *[1] * (groups.shape.rank - 1)])


def _where(rows, new, old):
    return tf.where(tf.reshape(rows, [-1, *[1] * (new.shape.rank - 1)]), new, old)

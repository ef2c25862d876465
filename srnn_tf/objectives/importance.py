"""Importance weights of draws of all latents of a sequence, computed in chunks of draws."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from srnn_tf.core import draws, scan
from srnn_tf.core.random import Key, fold
from srnn_tf.core.types import Nest
from srnn_tf.density import Batch, Density
from srnn_tf.objectives.base import Loss
from srnn_tf.objectives.moments import moments


def chunk_size(num_samples: int, most: int) -> int:
    """The largest divisor of `num_samples` that is at most `most`.

    Example:
        >>> chunk_size(48, 20)
        16
    """
    return max(n for n in range(1, max(1, min(most, num_samples)) + 1) if num_samples % n == 0)


class Weights(NamedTuple):
    """The log weights of K draws of all latents of a batch, with means over the draws, in nats."""

    log_weights: tf.Tensor  # (K, B), log p(x, z_k) - log q(z_k | x)
    log_likelihood: tf.Tensor  # (B, S)
    kl: tf.Tensor  # (B, S)
    auxiliary: tf.Tensor  # (B, S)
    posterior_moments: tuple[tf.Tensor, ...]
    score: Nest = ()  # (K, B), log q(z_k | x) at the draws where those are not differentiable

    def loss(self, bound: tf.Tensor, density: Density, signal: tf.Tensor | None = None) -> Loss:
        """The `Loss` of a bound (B,) that was computed from the weights.

        Args:
            bound: (B,).
            density: the density.
            signal: (K, B), what each draw adds to the bound, for a density with a
                `score_function`: a gradient through the log probability of the draw.

        Raises:
            ValueError: the density has a `score_function`, and there is no `signal`.
        """
        value = -tf.reduce_sum(bound) - tf.reduce_sum(self.auxiliary)
        if density.score_function:
            if signal is None:
                raise ValueError(
                    "this objective needs latents whose draws are differentiable: without a "
                    "`signal` its gradient would leave out the posterior"
                )
            surrogate = tf.reduce_sum(tf.stop_gradient(signal) * self.score)
            value -= surrogate - tf.stop_gradient(surrogate)
        log_likelihood, kl = (density.sum_frames(x) for x in (self.log_likelihood, self.kl))
        return Loss(value, bound, log_likelihood, kl, self.posterior_moments)


class ImportanceSamples:
    """Importance weights of a chunk of draws: a cell for `scan.unroll` over chunks.

    Memory holds one chunk at a time, also in the backward pass, which recomputes it.

    Args:
        density: a density with latents.
        batch: the steps.
        noise: a function from the seed of a draw to standard normal draws (B, S, Z), or (1, S, Z)
            for all rows.
        key: the key for dropout; None for no dropout.

    Inputs: `seeds` (k, 2), one per draw. Outputs: the `Weights` of the draws.
    """

    def __init__(self, density: Density, batch: Batch, noise: Callable, key: Key | None = None):
        self.density, self.batch, self.noise, self.key = density, batch, noise, key
        self.variables = density.variables

    def __call__(self, inputs, states, training=False):
        seeds, batch, density = inputs["seeds"], self.batch, self.density
        number, rows, length = seeds.shape[0], *tf.unstack(tf.shape(batch.steps)[:2])
        noise = tf.map_fn(self.noise, seeds, fn_output_signature=tf.float32)
        noise = tf.broadcast_to(noise, [number, rows, length, density.latent_size])
        key = fold(self.key, seeds[0, 0])
        evidence = density.evidence(batch, fold(key, "evidence"))  # the same for all draws

        def repeat(x):
            return tf.tile(x, [number, *[1] * (x.shape.rank - 1)])

        mask = None if batch.mask is None else repeat(batch.mask)
        terms = density.terms(
            Batch(repeat(batch.steps), repeat(batch.previous), mask),
            tf.reshape(noise, [-1, length, density.latent_size]),
            key=None if key is None else key.fold("terms").repeated(number),
            evidence=None if evidence is None else tf.nest.map_structure(repeat, evidence),
        )

        def per_draw(x):
            return tf.reshape(x, [number, rows, *tf.unstack(tf.shape(x))[1:]])

        log_weights = per_draw(terms.log_likelihood - terms.log_ratio)
        score: Nest = ()
        if terms.score is not None and terms.baseline is not None:
            # The baseline is not used. It has a gradient of 0, for replicas to sum.
            score = tf.reduce_sum(per_draw(terms.score + 0.0 * terms.baseline), axis=2)
        means = (
            tf.reduce_mean(per_draw(x), axis=0)
            for x in (terms.log_likelihood, terms.kl, terms.auxiliary)
        )
        of_means = moments(terms.posterior_mean, mask)
        return Weights(tf.reduce_sum(log_weights, axis=2), *means, of_means, score), states


def importance(
    density: Density, batch: Batch, key: Key | None, num_samples: int, max_samples: int = 16
) -> Weights:
    """Importance weights of K draws of the latents of a batch.

        w_k = p(x, z_k) / q(z_k | x)        z_k ~ q(z | x)

    Args:
        density: a density with latents.
        batch: the steps.
        key: the key for noise and dropout; None for the fixed table of noise and no dropout.
        num_samples: K.
        max_samples: the most draws to evaluate at once, rounded down to a divisor of K. Further
            draws add only a few numbers per step to memory.
    """
    rows, steps = tf.shape(batch.steps)[0], tf.shape(batch.steps)[1]
    if key is None:
        seeds, rows = draws.draw_seeds(None, 0, num_samples), 1
    else:
        seeds = key.fold("noise").split(num_samples)

    def noise(seed):
        return density.noise(rows, steps, Key(seed) if key is None else key.at(seed))

    return weights_of(density, batch, seeds, noise, chunk_size(num_samples, max_samples), key)


def weights_of(
    density: Density,
    batch: Batch,
    seeds: tf.Tensor,
    noise: Callable,
    chunk: int,
    key: Key | None = None,
) -> Weights:
    """The `Weights` of one draw per seed, computed in chunks.

    Args:
        density, batch: as in `importance`.
        seeds: (K, 2).
        noise: as in `ImportanceSamples`.
        chunk: the number of draws in a chunk; it must divide K.
        key: the key for dropout; None for no dropout.
    """
    samples = ImportanceSamples(density, batch, noise, fold(key, "dropout"))
    chunks = tf.reshape(seeds, [-1, chunk, 2])
    weights, _ = scan.unroll(samples, {"seeds": chunks}, (), time_major=True)
    log_weights, score = (
        tf.nest.map_structure(lambda w: tf.reshape(w, [-1, tf.shape(w)[2]]), w)
        for w in (weights.log_weights, weights.score)
    )
    per_chunk = (weights.log_likelihood, weights.kl, weights.auxiliary)
    means = (tf.reduce_mean(x, axis=0) for x in per_chunk)
    totals = tuple(tf.reduce_sum(x, axis=0) for x in weights.posterior_moments)
    return Weights(log_weights, *means, totals, score)

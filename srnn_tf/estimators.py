"""Bounds from K draws of the latents of a batch: importance weighted, and by a particle filter.

Both are what training maximizes with `compile(objective=...)`, and what `log_prob(bound=...)` is
made of. They work on steps of the structure, and know a model by its `structure`, `emission`,
`terms` and `draw_noise`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from srnn_tf import metrics, nn, objectives, replicas, scan
from srnn_tf.particles import ParticleFilter

# The most steps (rows times draws times steps) that are worked on at once, which bounds memory.
MAX_STEPS = 2**16


def chunk_size(num_samples: int, most: int) -> int:
    """The largest number of draws, at most `most`, that divides all of them into equal chunks.

    Example:
        >>> chunk_size(48, 20)
        16
    """
    return max(n for n in range(1, max(1, min(most, num_samples)) + 1) if num_samples % n == 0)


class ImportanceSamples:
    """Some draws of all latents of a batch: a cell for `scan.unroll` over chunks of draws.

    One chunk is alive at a time, in the backward pass too, where it is worked out again.

    Args:
        model: a `SequenceModel` with latents.
        steps, previous: (B, S, D).
        mask: (B, S) bool, or None.
        noise: from the seed of a draw to standard normal (B, S, Z), or (1, S, Z) for all rows.
        dropout: the seed of dropout, (2,), or None.

    Inputs `seeds` (k, 2), one per draw. Outputs `log_weights` (k, B), the means over the draws of
    `log_likelihood`, `kl`, `auxiliary` (B, S), and `posterior_moments`, `metrics.moments` of the
    posterior's means.
    """

    def __init__(self, model, steps, previous, mask, noise, dropout=None):
        self.model, self.data, self.mask = model, (steps, previous), mask
        self.noise, self.dropout = noise, dropout
        layers = [model.structure, model.emission, model.reconstruction]
        self.variables = [v for layer in layers if layer is not None for v in layer.variables]

    def __call__(self, inputs, states, training=False):
        seeds, (steps, previous), model = inputs["seeds"], self.data, self.model
        draws, rows, length = seeds.shape[0], tf.shape(steps)[0], tf.shape(steps)[1]
        noise = tf.map_fn(self.noise, seeds, fn_output_signature=tf.float32)
        noise = tf.broadcast_to(noise, [draws, rows, length, model.latent_size])
        dropout = None if self.dropout is None else nn.fold_in(self.dropout, seeds[0, 0])
        # The same for all draws.
        evidence = model.structure.evidence(previous, steps, self.mask, nn.site(dropout, 0))

        def repeat(x):
            return tf.tile(x, [draws, *[1] * (x.shape.rank - 1)])

        with replicas.copies(draws):
            terms = model.terms(
                repeat(steps),
                repeat(previous),
                None if self.mask is None else repeat(self.mask),
                tf.reshape(noise, [-1, length, model.latent_size]),
                seed=nn.site(dropout, 1),
                evidence=None if evidence is None else tf.nest.map_structure(repeat, evidence),
            )

        def per_draw(x):
            return tf.reshape(x, [draws, rows, *tf.unstack(tf.shape(x))[1:]])

        log_weights = per_draw(terms["log_likelihood"] - terms["log_ratio"])
        means = {
            name: tf.reduce_mean(per_draw(terms[name]), axis=0)
            for name in ("log_likelihood", "kl", "auxiliary")
        }
        repeated = None if self.mask is None else repeat(self.mask)
        moments = metrics.moments(tf.stop_gradient(terms["posterior_mean"]), repeated)
        log_weights = tf.reduce_sum(log_weights, axis=2)
        return {"log_weights": log_weights, "posterior_moments": moments, **means}, states


def importance(
    model: Any,
    steps: tf.Tensor,
    previous: tf.Tensor,
    mask: tf.Tensor | None,
    seeds: tf.Tensor,
    noise: Callable,
    chunk: int,
    dropout: tf.Tensor | None = None,
) -> dict[str, tf.Tensor]:
    """The importance weighted bound of each row, in chunks of draws.

    Args:
        model: a `SequenceModel` with latents.
        steps, previous, mask: (B, S, D) twice, and (B, S).
        seeds: (K, 2), one per draw.
        noise, dropout: as in `ImportanceSamples`.
        chunk: draws at once; it must divide K.

    Returns:
        `bound` (B,), `log_weights` (K, B), and the means over draws that `ImportanceSamples` gives.
    """
    samples = ImportanceSamples(model, steps, previous, mask, noise, dropout)
    chunks = tf.reshape(seeds, [-1, chunk, 2])
    outputs, _ = scan.unroll(samples, {"seeds": chunks}, (), time_major=True)
    log_weights = outputs.pop("log_weights")
    log_weights = tf.reshape(log_weights, [-1, tf.shape(log_weights)[2]])
    moments = tuple(tf.reduce_sum(x, axis=0) for x in outputs.pop("posterior_moments"))
    means = {name: tf.reduce_mean(x, axis=0) for name, x in outputs.items()}
    bound = objectives.iwae(log_weights)
    return {"bound": bound, "log_weights": log_weights, "posterior_moments": moments, **means}


def filtering(
    cell: ParticleFilter,
    steps: tf.Tensor,
    previous: tf.Tensor,
    mask: tf.Tensor | None,
    noise: tf.Tensor,
    uniform: tf.Tensor,
    evidence: Any = None,
    states: Any = None,
    seed: tf.Tensor | None = None,
) -> tuple[dict[str, tf.Tensor], Any]:
    """The particle filter over a batch: its outputs per step, and its states.

    Args:
        cell: the filter.
        steps, previous, mask: (B, S, D) twice, and (B, S).
        noise: (S, G, K, Z) standard normal draws of G groups of rows.
        uniform: (S, G) in [0, 1).
        evidence: nest of (B, S, ...), what the posterior reads of the data; worked out from the
            steps by default.
        states: where to start; equal weights at the structure's initial state by default.
        seed: of dropout.

    Returns:
        `bound`, log p_hat(x_t | x_<t), `log_likelihood`, `kl`, `auxiliary`, each (B, S), and
        `posterior_mean` (B, S, Z); and the states after each row's last real step.
    """
    model, length = cell.model, tf.shape(steps)[1]
    if cell.proposal == "prior":
        evidence = None
    elif evidence is None:
        evidence = model.structure.evidence(previous, steps, mask, nn.site(seed, 0))
    inputs = {
        "x": nn.time_major(steps),
        "previous": nn.time_major(previous),
        "real": nn.time_major(tf.ones(tf.shape(steps)[:2], tf.bool) if mask is None else mask),
        "noise": noise,
        "uniform": uniform,
        "evidence": () if evidence is None else tf.nest.map_structure(nn.time_major, evidence),
        "seed": () if seed is None else nn.split(nn.fold_in(seed, 1), length),
    }
    states = cell.initial_states(tf.shape(steps)[0]) if states is None else states
    outputs, states = scan.unroll(cell, inputs, states, time_major=True)
    return {name: nn.time_major(x) for name, x in outputs.items()}, states

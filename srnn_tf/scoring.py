"""Scoring whole sequences under the two protocols, compiled."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from srnn_tf import estimators, nn, objectives, replicas
from srnn_tf.data.batching import frames as framing
from srnn_tf.particles import ParticleFilter
from srnn_tf.programs import Programs

PROTOCOLS = ("full", "paper")
# The seed of the fixed noise table: part of the definition of a published score.
TABLE_SEED = (1902, 1388)
# Steps that a particle filter advances in one call of its program, whatever the sequence's length.
BLOCK = 50
# The most particles, of all rows, that it moves at once; at least those of one row.
MAX_PARTICLES = 4096


def draw_seed(seed: Any = None, sample: int | tf.Tensor = 0) -> tf.Tensor:
    """The seed of one draw of the latents: (2,), or (B, 2) from B integers, one per row.

    Without a seed, that of the fixed table.
    """
    if np.ndim(seed):
        start = np.stack([np.asarray(seed) % 2**31, np.ones_like(seed)], axis=1).astype(np.int32)
    else:
        start = TABLE_SEED if seed is None else [seed % 2**31, 1]
    return _fold_in(_fold_in(tf.convert_to_tensor(start), 0), sample)


def _fold_in(seed, data):
    """`nn.fold_in` of a seed (2,), or of each of (B, 2)."""
    if seed.shape.rank == 1:
        return nn.fold_in(seed, data)
    return tf.map_fn(lambda s: nn.fold_in(s, data), seed)


def draw_seeds(seed: Any, start: int, num: int) -> tf.Tensor:
    """`draw_seed` of `num` samples, (num, 2) or (num, B, 2)."""
    samples = tf.range(start, start + num)
    return tf.map_fn(lambda s: draw_seed(seed, s), samples, fn_output_signature=tf.int32)


def filter_seed(
    seed: Any = None, group: int | None = None, start: int = 0, windows: int = 1
) -> tf.Tensor:
    """The seed of `filter_noise` from step `start` on, (2,); `group` is that of the rows.

    From a seed per row, one for each of its `windows`, (B * windows, 2).
    """
    found = _fold_in(draw_seed(seed), 1)
    if found.shape.rank == 2:
        found = tf.stack([_fold_in(found, w) for w in range(windows)], axis=1)
        return _fold_in(tf.reshape(found, [-1, 2]), start)
    found = found if group is None else nn.fold_in(found, group)
    return nn.fold_in(found, start)


def filter_noise(
    model: Any, seed: tf.Tensor, steps: int, groups: Any, num_particles: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """What a particle filter draws: normal (S, G, K, Z) and uniform (S, G).

    Those of a group do not depend on how many groups there are; with a seed for each group,
    (G, 2), on that alone.
    """
    if seed.shape.rank == 2:

        def one(seed):
            return tuple(x[:, 0] for x in filter_noise(model, seed, steps, 1, num_particles))

        drawn = tf.map_fn(one, seed, fn_output_signature=(tf.float32, tf.float32))
        return tuple(nn.time_major(x) for x in drawn)
    shape = [groups, steps, num_particles, model.latent_size]
    normal, uniform = (
        replicas.draw(lambda whole, d=d, i=i: d(whole, nn.fold_in(seed, i)), sizes, axis=0)
        for i, (d, sizes) in enumerate([(nn.normal, shape), (nn.uniform, shape[:2])])
    )
    return nn.time_major(normal), nn.time_major(uniform)


@dataclasses.dataclass(frozen=True)
class Request:
    """The arguments of `SequenceModel.log_prob` besides the data."""

    bound: str = "elbo"
    num_samples: int = 1
    seed: Any = None  # None, an integer, or an array of one for each row
    protocol: str = "full"
    proposal: str = "posterior"
    ess_threshold: float = 0.5


class Scorer:
    """`SequenceModel.log_prob` behind its checks; compiled once per shape.

    Without a seed, draws are a function of the step and the sample alone: a row's score depends
    neither on its batch nor on padding.

    Args:
        model: a `SequenceModel`.
    """

    def __init__(self, model: Any):
        self.model = model
        self.program = Programs(model)

    def __call__(self, frames, mask, request: Request) -> tf.Tensor:
        frames, mask = _padded(frames, mask)
        return getattr(self, f"_{request.bound}")(frames, mask, request)

    def latents(self, frames, mask, seed) -> tuple:
        """`SequenceModel.posterior` behind its checks."""
        steps = frames.shape[1] * self.model.steps_per_frame
        frames, mask = _padded(frames, mask)
        found = self.program(self.posterior)(frames, mask, draw_seed(seed), seed is None)
        return tuple(x[:, :steps] for x in found)

    def _elbo(self, frames, mask, request):
        program, draws = self.program(self.elbo), request.num_samples
        if not self.model.latent_size:  # nothing is drawn; folding a seed takes 10 ms
            return program(frames, mask, tf.zeros([2], tf.int32), True, request.protocol)
        total = tf.zeros([len(frames)])
        for s in range(draws):
            seed = draw_seed(request.seed, s)
            total += program(frames, mask, seed, request.seed is None, request.protocol)
        return total / draws

    def _iwae(self, frames, mask, request):
        steps = frames.shape[0] * frames.shape[1] * self.model.steps_per_frame
        most = max(1, estimators.MAX_STEPS // steps)
        chunks = -(-request.num_samples // most)
        size = -(-request.num_samples // chunks)
        program = self.program(self.log_weights)
        found = []
        for start in range(0, request.num_samples, size):
            seeds = draw_seeds(request.seed, start, size)
            found.append(program(frames, mask, seeds, request.seed is None, request.protocol))
        # The last chunk may hold more than was asked for.
        log_weights = tf.concat(found, axis=0)[: request.num_samples]
        bound = objectives.iwae(log_weights)
        return tf.reduce_sum(tf.reshape(bound, [len(frames), -1]), axis=1)

    def _fivo(self, frames, mask, request):
        rows, k = len(frames), request.num_samples
        size = min(rows, max(1, MAX_PARTICLES // (self._num_windows(frames, request) * k)))
        totals = []
        for start in range(0, rows, size):
            index = np.minimum(np.arange(start, start + size), rows - 1)  # always `size` rows
            own = request
            if np.ndim(request.seed):
                own = dataclasses.replace(request, seed=request.seed[index])
            group = self._filter(frames[index], mask[index], own, start)
            totals.append(tf.reduce_sum(tf.reshape(group, [size, -1]), axis=1))
        return tf.concat(totals, axis=0)[:rows]

    def _filter(self, frames, mask, request, group):
        """The filter over some rows, block by block: memory does not grow with their length."""
        rows, k, shared = len(frames), request.num_samples, request.seed is None
        steps, previous, mask, evidence = self.program(self.windows)(
            frames, mask, request.protocol, request.proposal
        )
        options = (k, request.ess_threshold, request.proposal)
        states = ParticleFilter(self.model, *options).initial_states(steps.shape[0])
        windows, group = steps.shape[0] // rows, None if shared else group
        groups = windows if shared else steps.shape[0]
        length = min(BLOCK, rounded(steps.shape[1]))
        total = tf.zeros([steps.shape[0]])
        for start in range(0, steps.shape[1], length):
            block = tf.nest.map_structure(
                lambda x, start=start: _block(x, start, length), (steps, previous, mask, evidence)
            )
            seed = filter_seed(request.seed, group, start, windows)
            bound, states = self.program(self.advance)(*block, states, seed, groups, *options)
            total += bound
        return total

    def _num_windows(self, frames, request):
        if request.protocol == "full" or self.model.window is None:
            return 1
        spf = self.model.steps_per_frame
        return -(-(frames.shape[1] * spf - 1) // (self.model.window * spf))

    def elbo(self, frames, mask, seed, shared, protocol) -> tf.Tensor:
        """The bound (B,) from one draw of the latents."""
        bound, _ = self.per_step(frames, mask, seed, shared, protocol)
        return tf.reduce_sum(tf.reshape(bound, [tf.shape(frames)[0], -1]), axis=1)

    def per_step(self, frames, mask, seed, shared, protocol) -> tuple[tf.Tensor, tf.Tensor]:
        """The bound of each step from one draw of the latents, and its KL, (windows, S) each."""
        steps, previous, mask, cut = self._inputs(frames, mask, protocol)
        noise = self._noise(seed, frames, shared, protocol, cut)
        terms = self.model.terms(steps, previous, mask, noise)
        return objectives.elbo(terms["log_likelihood"], terms["kl"]), terms["kl"]

    def log_weights(self, frames, mask, seeds, shared, protocol) -> tf.Tensor:
        """log p(x, z) / q(z | x) of each window, (K, windows), one draw per seed."""
        steps, previous, mask, cut = self._inputs(frames, mask, protocol)

        def noise(seed):
            return self._noise(seed, frames, shared, protocol, cut)

        samples = estimators.ImportanceSamples(self.model, steps, previous, mask, noise)
        return samples({"seeds": seeds}, ())[0]["log_weights"]

    def windows(self, frames, mask, protocol, proposal="prior") -> tuple:
        """Steps, the step before each, mask, and what the posterior reads, () for nothing."""
        steps, previous, mask, _ = self._inputs(frames, mask, protocol)
        structure = self.model.structure
        if proposal == "prior" or structure.filtering:
            return steps, previous, mask, ()
        return steps, previous, mask, structure.evidence(previous, steps, mask)

    def advance(
        self, steps, previous, mask, evidence, states, seed, groups, num_particles, *options
    ) -> tuple:
        """The sum of log p_hat over a block of steps, (B,), and the filter's states after it."""
        cell = ParticleFilter(self.model, num_particles, *options)
        noise, uniform = filter_noise(self.model, seed, steps.shape[1], groups, num_particles)
        outputs, states = estimators.filtering(
            cell, steps, previous, mask, noise, uniform, evidence, states
        )
        return tf.reduce_sum(outputs["bound"], axis=1), states

    def posterior(self, frames, mask, seed, shared) -> tuple:
        """Mean, log variance and KL of each latent, zero under the mask, (B, S, Z) each."""
        steps, previous, mask, cut = self._inputs(frames, mask, "full")
        noise = self._noise(seed, frames, shared, "full", cut)
        trace = self.model.structure(previous, targets=steps, noise=noise, mask=mask)
        parts = trace.posterior_mean, trace.posterior_log_variance, trace.kl_per_unit
        return tuple(tf.where(mask[..., None], x, 0.0) for x in parts)

    def _inputs(self, frames, mask, protocol):
        """Steps of the structure, the step before each, and the mask; and what cuts windows."""
        model = self.model
        frames = tf.where(mask[..., None], tf.cast(frames, tf.float32), 0.0)
        steps = framing.reframe(frames, model.frame_size)
        mask = tf.repeat(mask, model.steps_per_frame, axis=1)
        previous = framing.shift(steps)
        if protocol == "paper":  # the first step is context only
            steps, previous, mask = steps[:, 1:], steps[:, :-1], mask[:, 1:]

        def cut(x):
            if protocol == "full" or model.window is None:
                return x
            return framing.windows(x, model.window * model.steps_per_frame)

        return cut(steps), cut(previous), cut(mask), cut

    def _noise(self, seed, frames, shared, protocol, cut):
        """One draw of the latents of all windows."""
        model, rows = self.model, framing.size(frames, 0)
        if not model.latent_size:
            return None
        length = framing.size(frames, 1) * model.steps_per_frame - (protocol == "paper")
        if seed.shape.rank == 2:
            noise = tf.map_fn(
                lambda s: model.draw_noise(1, length, s)[0], seed, fn_output_signature=tf.float32
            )
        else:
            noise = model.draw_noise(1 if shared else rows, length, seed)
        return cut(tf.broadcast_to(noise, [rows, length, model.latent_size]))


def rounded(steps: int) -> int:
    """`steps` rounded up to 3 significant bits, so that few lengths are ever compiled."""
    unit = max(1, 2 ** (steps.bit_length() - 3))
    return -(-steps // unit) * unit


def _padded(frames, mask):
    rows, steps = frames.shape[:2]
    mask = np.ones([rows, steps], bool) if mask is None else mask
    padding = rounded(steps) - steps
    return np.pad(frames, [(0, 0), (0, padding), (0, 0)]), np.pad(mask, [(0, 0), (0, padding)])


def _block(x, start, length):
    """(B, T, ...) to the `length` steps from `start` on, padded with zeros."""
    part = x[:, start : start + length]
    padding = length - part.shape[1]
    return tf.pad(part, [(0, 0), (0, padding)] + [(0, 0)] * (part.shape.rank - 2))

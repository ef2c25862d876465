"""Compiled scoring of whole sequences under the two protocols."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from srnn_tf.core import draws
from srnn_tf.core import frames as framing
from srnn_tf.core.random import Key
from srnn_tf.core.snapshot import snapshot
from srnn_tf.core.types import Array, Seeds
from srnn_tf.density import Batch, Density
from srnn_tf.inference.programs import Programs
from srnn_tf.objectives import FIVO, Objective, functions
from srnn_tf.objectives.importance import ImportanceSamples
from srnn_tf.objectives.particles import filtering

PROTOCOLS = ("full", "paper")
# Steps that a particle filter advances in one call of its program, whatever the sequence's length.
BLOCK = 50
# The most values, of all rows, of a call without XLA: 30 sequences of 100 frames of 88 keys.
MOST_VALUES = 2**18
# The most particles, of all rows, that it moves at once; at least those of one row.
MAX_PARTICLES = 4096


class Protocol(NamedTuple):
    """A protocol, "full" or "paper", and the number of frames in a window of "paper"."""

    name: str = "full"
    window: int | None = None


class Scorer:
    """Bounds on log p(x) of whole sequences, in nats; compiled once per common shape.

    Without a seed, draws are a function of the step and the sample alone. A row's score then
    depends neither on its batch nor on padding.

    Args:
        density: the density.
        programs: the cache of compiled functions.
    """

    def __init__(self, density: Density, programs: Programs):
        self.density, self.programs = density, programs

    def __call__(
        self,
        frames: Array,
        mask: Array | None,
        objective: Objective,
        protocol: Protocol,
        seed: Seeds,
    ) -> tf.Tensor:
        """The bound of each row, (B,)."""
        least = 1
        if protocol.name == "paper" and self.density.steps_per_frame == 1:
            least = 2  # of which the first is context only, so that none is scored
        return objective.score(Job(self, *_padded(frames, mask, least), protocol, seed))

    def latents(self, frames: Array, mask: Array | None, seed: int | None) -> tuple:
        """Mean, log variance and KL of each latent at each step, (B, S, Z) each."""
        steps = framing.size(frames, 1) * self.density.steps_per_frame
        frames, mask = _padded(frames, mask)
        latents = self.programs(self.posterior)(frames, mask, draws.draw_seed(seed), seed is None)
        return tuple(x[:, :steps] for x in latents)

    # What follows is compiled.

    def elbo(self, frames, mask, seed, shared, protocol) -> tf.Tensor:
        """The bound (B,) from one draw of the latents."""
        bound, _ = self.per_step(frames, mask, seed, shared, protocol)
        return tf.reduce_sum(tf.reshape(bound, [tf.shape(frames)[0], -1]), axis=1)

    def per_step(self, frames, mask, seed, shared, protocol) -> tuple[tf.Tensor, tf.Tensor]:
        """The bound of each step from one draw of the latents, and its KL, (windows, S) each."""
        batch, cut = self._batch(frames, mask, protocol)
        noise = self._noise(seed, frames, shared, protocol, cut)
        terms = self.density.terms(batch, noise)
        return functions.elbo(terms.log_likelihood, terms.kl), terms.kl

    def log_weights(self, frames, mask, seeds, shared, protocol) -> tf.Tensor:
        """log p(x, z) / q(z | x) of each window, (K, windows), one draw per seed."""
        batch, cut = self._batch(frames, mask, protocol)

        def noise(seed):
            return self._noise(seed, frames, shared, protocol, cut)

        return ImportanceSamples(self.density, batch, noise)({"seeds": seeds}, ())[0].log_weights

    def windows(self, frames, mask, protocol, proposal="prior") -> tuple:
        """The steps of all windows, and the evidence of the posterior, () for none."""
        batch, _ = self._batch(frames, mask, protocol)
        if proposal == "prior" or self.density.filtering:
            return batch, ()
        return batch, self.density.evidence(batch)

    def advance(self, objective, batch, evidence, states, seed, groups) -> tuple:
        """The sum of log p_hat over a block of steps, (B,) nats, and the states after it."""
        steps, size = framing.size(batch.steps, 1), self.density.latent_size
        k = objective.num_particles
        if seed.shape.rank == 2:
            drawn = draws.filter_noise_of_each(seed, size, steps, k)
        else:
            drawn = draws.filter_noise(Key(seed), size, steps, groups, k)
        cell = objective.filter(self.density)
        outputs, states = filtering(cell, batch, *drawn, evidence, states)
        return tf.reduce_sum(outputs.bound, axis=1), states

    def posterior(self, frames, mask, seed, shared) -> tuple:
        """Mean, log variance and KL of each latent, zero under the mask, (B, S, Z) each."""
        batch, cut = self._batch(frames, mask, Protocol())
        noise = self._noise(seed, frames, shared, Protocol(), cut)
        return tuple(
            tf.where(batch.mask[..., None], x, 0.0) for x in self.density.latents(batch, noise)
        )

    def _batch(self, frames, mask, protocol):
        """The steps of all windows, and the function that cuts windows."""
        batch: Any = self.density.batch(frames, mask=mask)  # with a mask
        if protocol.name == "paper":  # the first step is context only
            batch = Batch(batch.steps[:, 1:], batch.steps[:, :-1], batch.mask[:, 1:])

        def cut(x):
            if protocol.name == "full" or protocol.window is None:
                return x
            return framing.windows(x, protocol.window * self.density.steps_per_frame)

        return Batch(*map(cut, batch)), cut

    def _noise(self, seed, frames, shared, protocol, cut):
        """One draw of the latents of all windows."""
        density, rows = self.density, framing.size(frames, 0)
        if not density.latent_size:
            return None
        length = framing.size(frames, 1) * density.steps_per_frame - (protocol.name == "paper")

        def draw(rows, seed):
            return density.noise(rows, length, Key(seed))

        if seed.shape.rank == 2:
            noise = tf.map_fn(lambda s: draw(1, s)[0], seed, fn_output_signature=tf.float32)
        else:
            noise = draw(1 if shared else rows, seed)
        return cut(tf.broadcast_to(noise, [rows, length, density.latent_size]))


@dataclasses.dataclass(frozen=True)
class Job:
    """A request to score sequences, with the compiled functions that objectives combine.

    Args:
        scorer: the scorer that compiles.
        frames: (B, T, D), padded to one of the compiled lengths.
        mask: (B, T) bool.
        protocol: the protocol.
        seed: None for the fixed table, an integer, or an array with one integer per row.
    """

    scorer: Scorer
    frames: Any
    mask: Any
    protocol: Protocol
    seed: Seeds

    @property
    def num_steps(self) -> int:
        """The steps of the structure in all rows; a size that is not static counts as 1."""
        rows, frames = self.mask.shape
        return (rows or 1) * (frames or 1) * self.scorer.density.steps_per_frame

    @property
    def _free(self):
        """The arguments of shape (B, T, ...), where a program without XLA may come first.

        Not where rounding would change more than rounding, since bits of latents are drawn, nor
        where one call takes long beside a compilation.
        """
        density = self.scorer.density
        large = self.num_steps * density.frame_size > MOST_VALUES
        return None if density.score_function or large else 2

    def bound(self, objective: Objective) -> tf.Tensor:
        """The sum of `objective.bound` over the windows of each sequence, (B,) nats.

        Raises:
            ValueError: the request has a seed for each row.
        """
        if isinstance(self.seed, np.ndarray):
            raise ValueError("`seed` must be one integer, or None, for this bound")
        scorer, protocol = self.scorer, self.protocol  # a program must not keep the request
        objective = copy.copy(objective)  # nor change with the caller's object

        def score(frames, mask, seed):
            batch, _ = scorer._batch(frames, mask, protocol)
            return objective.bound(scorer.density, batch, None if seed is None else Key(seed))

        program = scorer.programs(score, snapshot(objective), protocol, self.seed is None)
        seed = None if self.seed is None else draws.draw_seed(self.seed)
        return self.sum_windows(program(self.frames, self.mask, seed))

    def elbo(self, seed: tf.Tensor) -> tf.Tensor:
        """The ELBO from the one draw of a seed, (B,) nats."""
        program = self.scorer.programs(self.scorer.elbo, free=self._free)
        return program(self.frames, self.mask, seed, self.seed is None, self.protocol)

    def log_weights(self, seeds: tf.Tensor) -> tf.Tensor:
        """Importance weights of each window, (K, windows), one draw per seed."""
        # The number of draws is a static size of a chunk.
        program = self.scorer.programs(self.scorer.log_weights, seeds.shape[0], free=self._free)
        return program(self.frames, self.mask, seeds, self.seed is None, self.protocol)

    def sum_windows(self, values: tf.Tensor) -> tf.Tensor:
        """Sum over the windows of each sequence: (windows,) to (B,)."""
        return tf.reduce_sum(tf.reshape(values, [framing.size(self.frames, 0), -1]), axis=1)

    def filtered(self, objective: FIVO) -> tf.Tensor:
        """The bound of a particle filter, (B,) nats, in blocks of rows, which limits memory."""
        (rows, steps), k = self.frames.shape[:2], objective.num_particles
        if rows is None or steps is None:
            raise ValueError(
                "`frames` must have static B and T inside a `tf.function` for FIVO; received shape "
                f"{self.frames.shape}"
            )
        size = min(rows, max(1, MAX_PARTICLES // (self._num_windows() * k)))
        totals = []
        for start in range(0, rows, size):
            index = np.minimum(np.arange(start, start + size), rows - 1)  # always `size` rows
            seed = self.seed[index] if isinstance(self.seed, np.ndarray) else self.seed
            part = dataclasses.replace(
                self, frames=_rows(self.frames, index), mask=_rows(self.mask, index), seed=seed
            )
            totals.append(part.sum_windows(part._advanced(objective, start)))
        return tf.concat(totals, axis=0)[:rows]

    def _advanced(self, objective, group):
        """Run the filter over all rows in blocks of steps: memory does not grow with length."""
        programs, scorer, shared = self.scorer.programs, self.scorer, self.seed is None
        batch, evidence = programs(scorer.windows)(
            self.frames, self.mask, self.protocol, objective.proposal
        )
        count, steps = batch.steps.shape[:2]
        states = objective.filter(scorer.density).initial_states(count)
        windows, group = count // self.frames.shape[0], None if shared else group
        groups = windows if shared else count
        length = min(BLOCK, rounded(steps))

        objective = copy.copy(objective)  # a program must not change with the caller's object

        def advance(*request):
            return scorer.advance(objective, *request)

        program = programs(advance, snapshot(objective))
        total = tf.zeros([count])
        for start in range(0, steps, length):
            block = tf.nest.map_structure(
                lambda x, start=start: _block(x, start, length), (batch, evidence)
            )
            seed = draws.filter_seed(self.seed, group, start, windows)
            bound, states = program(*block, states, seed, groups)
            total += bound
        return total

    def _num_windows(self):
        window, spf = self.protocol.window, self.scorer.density.steps_per_frame
        if self.protocol.name == "full" or window is None:
            return 1
        return -(-(self.frames.shape[1] * spf - 1) // (window * spf))


def rounded(steps: int) -> int:
    """`steps` rounded up to 3 significant bits, so that few lengths are ever compiled."""
    unit = max(1, 2 ** (steps.bit_length() - 3))
    return -(-steps // unit) * unit


def _padded(frames, mask, least=1):
    """Frames and their mask, padded to a length of few; as they are where that is not static."""
    rows, steps = framing.size(frames, 0), frames.shape[1]
    if mask is None:
        shape = [rows, framing.size(frames, 1)]
        mask = tf.ones(shape, tf.bool) if tf.is_tensor(frames) else np.ones(shape, bool)
    if steps is None:
        steps = tf.shape(frames)[1]
        padding = tf.maximum(least - steps, 0)
    else:
        padding = max(rounded(steps), least) - steps
    return _pad(frames, padding), _pad(mask, padding)


def _pad(x, padding):
    """(B, T, ...) with `padding` steps of zeros more."""
    if tf.is_tensor(x):  # also by nothing: the gradient to x is then dense, whatever is gathered
        return tf.pad(x, [[0, 0], [0, padding]] + [[0, 0]] * (x.shape.rank - 2))
    if padding == 0:
        return x
    # `np.pad` takes ten times as long.
    padded = np.zeros([len(x), x.shape[1] + padding, *x.shape[2:]], x.dtype)
    padded[:, : x.shape[1]] = x
    return padded


def _rows(x, index):
    return tf.gather(x, index) if tf.is_tensor(x) else x[index]


def _block(x, start, length):
    """The `length` steps of (B, T, ...) from `start` on, padded with zeros."""
    part = x[:, start : start + length]
    padding = length - part.shape[1]
    return tf.pad(part, [(0, 0), (0, padding)] + [(0, 0)] * (part.shape.rank - 2))

"""A latent structure joined to an emission: `SequenceModel`."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import tensorflow as tf

from srnn_tf import (
    checks,
    emissions,
    estimators,
    nn,
    objectives,
    replicas,
    scoring,
    structures,
)
from srnn_tf.data.batching import frames as framing
from srnn_tf.inference import InferenceModel
from srnn_tf.particles import ParticleFilter
from srnn_tf.registry import describe

# What a call says per frame; flat models sum it over the values of a frame.
PER_FRAME = ("log_likelihood", "kl", "auxiliary", "log_ratio")


@keras.saving.register_keras_serializable(package="srnn_tf")
class SequenceModel(InferenceModel):
    """A density of sequences: a latent structure, an emission, and a way to train them.

        log p(x) = sum{ log p(x_t | h_t) : t = 1, ..., T }
        h_t = structure(x_<t [, z_<=t])        p(x_t | h_t) = emission(h_t)

    With latents the model is trained on, and reports, the evidence lower bound (ELBO)
    sum_t E_q[log p(x_t | h_t)] - KL(q(z_t) || p(z_t)); without, its likelihoods are exact.

    Args:
        structure: a `Structure`, or its config.
        emission: an `Emission`, or its config.
        event_size: D, the width of the user's frames; the emission's by default. A multiple k of it
            makes each frame k consecutive steps: flat models have an emission of one value.
        kl_schedule: a `KLSchedule`, or its arguments; the weight of the KL in the training loss.
        window: frames per window of `protocol="paper"`; None for the whole sequence.
        seed: of everything random in training.

    Raises:
        ValueError: unknown names, or sizes that do not fit.

    Example:
        >>> model = SequenceModel(
        ...     {"class": "parallel_srnn", "units": 8, "latent_size": 3, "embedding_size": 4},
        ...     {"class": "factorized", "event_size": 88, "likelihood": "bernoulli"})
        >>> model.compile()
        >>> history = model.fit(np.zeros([4, 10, 88]), batch_size=2, verbose=0)
        >>> model.log_prob(np.zeros([4, 10, 88])).shape
        TensorShape([4])

    Reference: Lai et al., arXiv:1902.01388.
    """

    def __init__(
        self,
        structure: structures.Structure | dict[str, Any],
        emission: emissions.Emission | dict[str, Any],
        event_size: int | None = None,
        kl_schedule: objectives.KLSchedule | dict[str, float] | None = None,
        window: int | None = None,
        seed: int = 0,
        **kwargs,
    ):
        structure, emission = structures.get(structure), emissions.get(emission)
        frame_size = emission.event_size
        event_size = frame_size if event_size is None else event_size
        checks.sizes(event_size=event_size)
        checks.sizes(minimum=0, seed=seed)
        if event_size % frame_size:
            raise ValueError(
                f"`event_size` must be a multiple of the emission's, {frame_size}; "
                f"received {event_size}"
            )
        if window is not None:
            checks.sizes(window=window)
        if not isinstance(kl_schedule, objectives.KLSchedule):
            kl_schedule = objectives.KLSchedule(**(kl_schedule or {}))
        latent_size, steps_per_frame = structure.latent_size, event_size // frame_size
        super().__init__(latent_size, event_size, steps_per_frame, kl_schedule, **kwargs)
        self.autocast = False  # the data are scored in float32, whatever the policy
        self.supports_masking = True
        self.structure, self.emission = structure, emission
        self.frame_size, self.window, self.seed = frame_size, window, seed
        self.reconstruction = None  # of x_{t-1} from the backward recurrence, a cost in training
        if structure.reconstruction_weight:
            self.reconstruction = emissions.Factorized(
                frame_size, emission.likelihood, dtype=emission.dtype_policy, name="reconstruction"
            )
        self.build()

    @property
    def binary(self) -> tuple[bool, ...]:
        """Which values of a frame must be 0 or 1."""
        values = self.emission.likelihood.values(self.frame_size)
        return tuple(value.binary for value in values) * self.steps_per_frame

    def build(self, input_shape=None):
        nn.build(self.structure, "structure", self.frame_size)
        nn.build(self.emission, "emission", self.structure.context_size)
        if self.reconstruction is not None:
            self.reconstruction.build((None, None, self.structure.evidence_size))
        self.built = True

    def call(
        self,
        frames: tf.Tensor,
        previous: tf.Tensor | None = None,
        mask: tf.Tensor | None = None,
        noise: tf.Tensor | None = None,
        states: Any = None,
        training: bool = False,
    ) -> dict[str, Any]:
        """Score every step of a batch.

        Args:
            frames: (B, T, D), the steps to be scored.
            previous: (B, T, D), the step before each; `frames` shifted by one by default, zeros
                first.
            mask: (B, T) bool, right-padded; all real by default.
            noise: (B, T, Z), the standard normal draws of the posterior, T counted in steps of the
                structure; by default drawn from the step counter in training, else a fixed table.
            states: the `states` of an earlier call, to go on from there.
            training: apply dropout.

        Returns:
            `log_likelihood`, log p(x_t | z_<=t, x_<t) at the draw, KL not subtracted; `kl`;
            `log_ratio`, log q(z_t) - log p(z_t) at the draw; `auxiliary`, what training adds: each
            (B, T), nats, zero under the mask. `states` after each row's last
            real step. With latents also `posterior_mean`.
        """
        steps, before, mask = self._prepare(frames, previous, mask)
        seed = self._training_seed() if training else None
        if self.latent_size and noise is None:
            noise = self.draw_noise(tf.shape(steps)[0], tf.shape(steps)[1], nn.site(seed, 0))
        terms = self.terms(steps, before, mask, noise, states, nn.site(seed, 1))
        return terms | {name: self.sum_frames(terms[name]) for name in PER_FRAME}

    def _training_seed(self):
        return nn.fold_in([self.seed, 0], tf.cast(self.step.value, tf.int32))

    def _prepare(self, frames, previous, mask):
        """The checked data as steps of the structure, the step before each, and their mask."""
        self._check_call(frames, previous, mask)
        frames = tf.cast(frames, tf.float32)
        if mask is not None:
            mask = tf.cast(mask, tf.bool)
            frames = tf.where(mask[..., None], frames, 0.0)
            mask = tf.repeat(mask, self.steps_per_frame, axis=1)
        return (*self._steps(frames, previous), mask)

    def _check_call(self, frames, previous, mask):
        """Shapes always, values where they are known: not inside a `tf.function`."""
        given = {"frames": frames} | ({} if previous is None else {"previous": previous})
        for name, x in given.items():
            if tf.executing_eagerly():
                checks.frames(x, self.event_size, self.binary, name)
            else:
                checks.frame_shape(x.shape, self.event_size, name)
        if mask is not None and tf.executing_eagerly():
            checks.mask(mask, tuple(frames.shape[:2]))

    def terms(self, steps, previous, mask=None, noise=None, states=None, seed=None, evidence=None):
        """The terms of `call` per step of the structure: `steps` are (B, S, frame_size).

        `evidence` is that of the structure, worked out here by default.
        """
        if evidence is None and self.reconstruction is not None:
            evidence = self.structure.evidence(previous, steps, mask, seed)
        trace = self.structure(
            previous,
            targets=steps if evidence is None else None,
            states=states,
            noise=noise,
            mask=mask,
            seed=seed,
            evidence=evidence,
        )

        def real(x):
            return x if mask is None else tf.where(mask, x, 0.0)

        terms = {
            "log_likelihood": real(self.emitted(trace.context, seed).log_prob(steps)),
            "kl": real(trace.kl),
            "log_ratio": real(trace.log_ratio),
            "auxiliary": real(trace.auxiliary + self.reconstruction_cost(evidence, previous)),
            "states": trace.states,
        }
        if self.latent_size:
            terms["posterior_mean"] = trace.posterior_mean
        return terms

    def emitted(self, context: tf.Tensor, seed: tf.Tensor | None = None) -> Any:
        """The emission's distribution in `terms`, whose `seed` it has a place in."""
        return self.emission(context, seed=nn.site(seed, emissions.SITE))

    def reconstruction_cost(self, evidence: Any, previous: tf.Tensor) -> tf.Tensor | float:
        """The weighted log p(x_{t-1} | evidence_t), (B, S), that some structures are trained with.

        The first step has none: what precedes it need not be data.
        """
        if self.reconstruction is None:
            return 0.0
        log_prob = self.reconstruction(evidence).log_prob(previous)
        first = tf.range(tf.shape(log_prob)[1]) == 0
        return tf.where(first, 0.0, self.structure.reconstruction_weight * log_prob)

    def draw_noise(self, rows: Any, steps: Any, seed: tf.Tensor | None = None) -> tf.Tensor:
        """Standard normal draws (B, S, Z), or without a seed a fixed table (1, S, Z).

        The table is a function of the step alone, so that a row's score depends neither on its
        batch nor on padding.
        """
        shape = [steps, rows, self.latent_size]
        if seed is None:
            return nn.time_major(nn.normal([steps, 1, self.latent_size], scoring.draw_seed()))
        return nn.time_major(replicas.draw(lambda whole: nn.normal(whole, seed), shape, axis=1))

    def sum_frames(self, values: tf.Tensor) -> tf.Tensor:
        """(B, T * steps_per_frame) to (B, T)."""
        if self.steps_per_frame == 1:
            return values
        rows = tf.shape(values)[0]
        return tf.reduce_sum(tf.reshape(values, [rows, -1, self.steps_per_frame]), axis=-1)

    def _steps(self, frames, previous):
        steps = framing.reframe(frames, self.frame_size)
        if previous is None:
            return steps, framing.shift(steps)
        previous = tf.cast(previous, tf.float32)
        if self.steps_per_frame == 1:
            return steps, previous
        # The value before the first one is the last value of the frame before.
        return steps, framing.shift(steps, previous[:, 0, -self.frame_size :])

    def _estimate(
        self, frames: tf.Tensor, previous: Any = None, mask: Any = None, training: bool = False
    ) -> dict[str, tf.Tensor]:
        """What `call` returns of a batch, from `num_samples` draws, and the `bound` they give.

        Means over the draws, (B, T); `bound` is (B,) for "iwae", (B, T) for "fivo".
        """
        steps, before, mask = self._prepare(frames, previous, mask)
        seed = self._training_seed() if training else None
        rows = tf.shape(steps)[0] if training else 1
        find = self._weighted if self.objective == "iwae" else self._filtered
        terms = find(steps, before, mask, rows, seed)
        per_frame = PER_FRAME[:3] + ("bound",) * (self.objective == "fivo")
        return terms | {name: self.sum_frames(terms[name]) for name in per_frame}

    def _weighted(self, steps, before, mask, rows, seed):
        seeds = scoring.draw_seeds(None, 0, self.num_samples)
        if seed is not None:
            seeds = nn.split(nn.site(seed, 0), self.num_samples)

        def noise(seed):
            return self.draw_noise(rows, tf.shape(steps)[1], seed)

        chunk = estimators.chunk_size(self.num_samples, self.max_samples)
        return estimators.importance(
            self, steps, before, mask, seeds, noise, chunk, nn.site(seed, 1)
        )

    def _filtered(self, steps, before, mask, rows, seed):
        # Without training the draws of `log_prob`, up to its `BLOCK` steps.
        drawn = scoring.filter_seed() if seed is None else nn.site(seed, 0)
        drawn = scoring.filter_noise(self, drawn, tf.shape(steps)[1], rows, self.num_samples)
        cell, evidence, seed = ParticleFilter(self, self.num_samples), None, nn.site(seed, 1)
        if self.reconstruction is not None:
            evidence = self.structure.evidence(before, steps, mask, nn.site(seed, 0))
        terms, _ = estimators.filtering(cell, steps, before, mask, *drawn, evidence, seed=seed)
        cost = self.reconstruction_cost(evidence, before)
        terms["auxiliary"] += cost if mask is None else tf.where(mask, cost, 0.0)
        return terms

    def get_config(self):
        return {
            "structure": describe(structures.STRUCTURES, self.structure),
            "emission": describe(emissions.EMISSIONS, self.emission),
            "event_size": self.event_size,
            "kl_schedule": dataclasses.asdict(self.kl_schedule),
            "window": self.window,
            "seed": self.seed,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        return cls(**config)

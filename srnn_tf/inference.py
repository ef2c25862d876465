"""What a trained model is asked: scores, samples, streams, posteriors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from srnn_tf import checks, particles, sampling, scoring, streaming
from srnn_tf.training import TrainedModel


class Posterior(NamedTuple):
    """q(z_t | x) of every step of the structure, each (B, S, Z), zero under the mask."""

    mean: tf.Tensor
    log_variance: tf.Tensor
    kl: tf.Tensor  # KL(q || p) of each latent, nats


class InferenceModel(TrainedModel):
    """The answering half of `SequenceModel`, its only subclass."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._scorer, self._sampler = scoring.Scorer(self), sampling.Sampler(self)
        self._streamer = streaming.Streamer(self)

    def log_prob(
        self,
        frames: Any,
        mask: Any = None,
        num_samples: int = 1,
        seed: int | Sequence[int] | None = None,
        protocol: str = "full",
        bound: str = "elbo",
        proposal: str = "posterior",
        ess_threshold: float = 0.5,
    ) -> tf.Tensor:
        """log p(x) of each sequence, nats: exact without latents, else a bound from below.

        Args:
            frames: (B, T, D).
            mask: (B, T) bool, right-padded.
            num_samples: K: draws that the ELBO is averaged over or that "iwae" takes, particles of
                "fivo".
            seed: None uses a fixed table of draws, the same for every row and call. An integer for
                each row, (B,), makes a row's draws depend on its own alone, whatever its batch.
            protocol: "full" scores all steps, state carried throughout, x_0 = zeros. "paper" cuts
                the sequence into windows of `window` frames, restarts the state in each, and does
                not score the first step (flat models: the first value), which is context only.
                Each window is a sequence of its own, and so is its bound.
            bound: "elbo"; "iwae", importance weighted; or "fivo", a particle filter. The last two
                come close to log p(x) as samples grow in number ("iwae" never further from it, in
                expectation), and over seeds exp of them is an unbiased estimate of p(x).
            proposal: what the particles of "fivo" are drawn from, "posterior" or "prior".
            ess_threshold: the share of K under which the effective sample size of the particles
                leads to resampling; 0 for never.

        Returns:
            (B,) float32.

        Raises:
            ValueError: bad frames or mask, an unknown protocol, bound or proposal, `num_samples`
                below 1, a bound other than "elbo" of a model without latents.

        Reference: Burda et al., arXiv:1509.00519; Maddison et al., arXiv:1705.09279.
        """
        frames, mask = self._checked(frames, mask, seed)
        seed = np.asarray(seed) if np.ndim(seed) else seed
        checks.choice("protocol", protocol, scoring.PROTOCOLS)
        checks.bound("bound", bound, num_samples, self.latent_size)
        checks.choice("proposal", proposal, particles.PROPOSALS)
        checks.weight(ess_threshold=ess_threshold)
        request = scoring.Request(bound, num_samples, seed, protocol, proposal, ess_threshold)
        return self._scorer(frames, mask, request)

    def posterior(self, frames: Any, mask: Any = None, seed: int | None = None) -> Posterior:
        """What the model believes about the latents of sequences.

        Where a step's posterior depends on the latents before it, these are one draw.

        Args:
            frames: (B, T, D).
            mask: (B, T) bool, right-padded.
            seed: of that draw; None uses the fixed table of `log_prob`.

        Returns:
            Means, log variances and KL, nats, of every latent at every step of the structure.

        Raises:
            ValueError: bad frames or mask, a model without latents.
        """
        if not self.latent_size:
            raise ValueError("`posterior` needs a model with latents; this structure has none")
        frames, mask = self._checked(frames, mask, seed)
        return Posterior(*self._scorer.latents(frames, mask, seed))

    def initial_states(
        self, batch_size: int, num_particles: int | None = None, seed: int = 0
    ) -> dict[str, Any]:
        """The states before the first frame of B streams, for `score_step`.

        They are plain tensors, rows of which may be stored, moved, and joined with those of other
        streams along the first axis. Those under `structure` have K rows per stream, one after
        another.

        Args:
            batch_size: B.
            num_particles: K, of models with latents; 16 by default.
            seed: of the particles; every row draws its own. Streams that begin in calls of their
                own need seeds of their own.

        Raises:
            ValueError: a size below 1, or particles of a model without latents.
        """
        checks.sizes(batch_size=batch_size)
        checks.sizes(minimum=0, seed=seed)
        if not self.latent_size:
            if num_particles is not None:
                raise ValueError(
                    "`num_particles` must be None for a model without latents, whose likelihood "
                    f"is exact; received {num_particles!r}"
                )
            return self._streamer.initial_states(batch_size, None, seed)
        num_particles = 16 if num_particles is None else num_particles
        checks.sizes(num_particles=num_particles)
        return self._streamer.initial_states(batch_size, num_particles, seed)

    def score_step(self, frame: Any, states: dict[str, Any]) -> tuple[tf.Tensor, dict[str, Any]]:
        """log p(x_t | x_<t) of the next frame of each stream, nats, as it comes in.

        Exact without latents: over a sequence it adds up to `log_prob`. With latents, one step of a
        particle filter, whose particles come from the posterior where that reads no future (STORN,
        VRNN) and from the prior otherwise; the sum over a sequence has the distribution of
        `log_prob(bound="fivo")` with that proposal.

        Args:
            frame: (B, D).
            states: of `initial_states`, or of the step before.

        Returns:
            (B,) float32, and the states after the frame.

        Raises:
            ValueError: a bad frame; states of another model or batch size.

        Example:
            >>> from srnn_tf import zoo
            >>> model = zoo.build("f_rnn_bach")
            >>> nats, states = model.score_step(tf.zeros([1, 88]), model.initial_states(1))
            >>> nats.shape
            TensorShape([1])
        """
        frame = checks.frame(frame, self.event_size, self.binary)
        return self._streamer(frame, states)

    def sample(
        self,
        batch_size: int,
        num_steps: int,
        seed: int,
        prefix: Any = None,
        temperature: float = 1.0,
    ) -> tf.Tensor:
        """Draw sequences from the model.

        Args:
            batch_size: B.
            num_steps: T, the frames to draw.
            seed: the same seed gives the same sequences.
            prefix: (B, P, D) frames to continue, their latents drawn from the posterior; the
                result holds what follows them.
            temperature: t divides logits by t and multiplies scales and latent noise by sqrt(t).

        Returns:
            (B, T, D) float32.

        Raises:
            ValueError: `batch_size` or `num_steps` below 1, a bad prefix, `temperature` <= 0.
        """
        checks.sizes(batch_size=batch_size, num_steps=num_steps)
        checks.sizes(minimum=0, seed=seed)
        checks.temperature(temperature)
        if prefix is not None:
            prefix = checks.frames(prefix, self.event_size, self.binary, "prefix")
            if len(prefix) != batch_size:
                raise ValueError(
                    f"`prefix` must have `batch_size` = {batch_size} rows; received {len(prefix)}"
                )
        return self._sampler(batch_size, num_steps, seed, prefix, temperature)

    def _checked(self, frames, mask, seed):
        frames = checks.frames(frames, self.event_size, self.binary)
        if seed is not None:
            checks.seeds(seed, len(frames))
        return frames, None if mask is None else checks.mask(mask, frames.shape[:2])

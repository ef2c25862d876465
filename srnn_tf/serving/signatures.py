"""The serving signatures of an exported model.

They are the functions of `SequenceModel` without XLA, so that a server needs TensorFlow's own
operations only. B and T are free.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from srnn_tf.core import checks, draws
from srnn_tf.inference.programs import Programs
from srnn_tf.inference.sampling import Sampler
from srnn_tf.inference.scoring import Protocol, Scorer


class Signatures:
    """The signatures of a model, by name: functions from named tensors to named tensors.

    - `score` takes `frames` (B, T, D), right-padded, and `length` (B,), from 1 to T. It returns
      `log_likelihood` (B,) and `log_likelihood_per_step` (B, T), in nats, zero beyond the length,
      and `kl` (B,) for models with latents. The score is `model.log_prob(frames, mask)`: exact
      without latents, the ELBO from one draw of a fixed table with latents. A row's score depends
      neither on its batch nor on padding.
    - `score_raw`, for speech, takes `waveform` (B, S) in [-1, 1] and `length` in samples, and
      standardizes it. The score is the density of the samples in [-1, 1]. Samples after the last
      whole frame of a row are not scored.
    - `sample` takes `num_steps`, `batch_size` and `seed` (2,), and returns `frames` (B, T, D). The
      seed (n, 2) draws what `model.sample(..., seed=n)` draws.

    A request with values out of range, NaN, or lengths beyond T fails.

    Args:
        model: a `SequenceModel`.
        standardization: `mean`, `std` and `permutation` of the data, or None.
        sample_rate: the sample rate of speech in Hz; None for other data.
    """

    def __init__(
        self, model: Any, standardization: Mapping[str, Any] | None, sample_rate: int | None
    ):
        self.model, self.standardization = model, standardization
        self.sample_rate = sample_rate
        programs = Programs(model.density, lambda: False)
        self.scorer, self.sampler = (
            Scorer(model.density, programs),
            Sampler(model.density, programs),
        )

    def all(self) -> dict[str, tuple[Callable, dict[str, tf.TensorSpec]]]:
        """Each function, with the specs of its arguments."""
        size = self.model.event_size
        length = tf.TensorSpec([None], tf.int32, "length")
        number = tf.TensorSpec([], tf.int32)
        functions = {
            "score": (
                self.score,
                {"frames": tf.TensorSpec([None, None, size], tf.float32), "length": length},
            ),
            "sample": (
                self.sample,
                {
                    "num_steps": number,
                    "seed": tf.TensorSpec([2], tf.int32),
                    "batch_size": number,
                },
            ),
        }
        if self.sample_rate is not None:
            wave = tf.TensorSpec([None, None], tf.float32)
            functions["score_raw"] = (self.score_raw, {"waveform": wave, "length": length})
        return functions

    def examples(self) -> dict[str, dict[str, np.ndarray]]:
        """Small arguments of each function whose inputs have rows, for warm-up requests.

        `sample` has none: a server with batching refuses it, and would not start.
        """
        size, length = self.model.event_size, np.array([4], np.int32)
        arguments = {"score": {"frames": np.zeros([1, 4, size], np.float32), "length": length}}
        if self.sample_rate is not None:
            wave = np.zeros([1, 4 * size], np.float32)
            arguments["score_raw"] = {"waveform": wave, "length": length * size}
        return arguments

    def score(self, frames, length) -> dict[str, tf.Tensor]:
        steps = tf.shape(frames)[1]
        fits = tf.reduce_all((length >= 1) & (length <= steps))
        ok = _holds(fits, "`length` must be from 1 to T for each row")
        with tf.control_dependencies([*ok, *_rows_fit(frames, length)]):
            mask = tf.sequence_mask(length, steps)
        batch = {"frames": frames, "mask": mask}
        batch = checks.check_batch(batch, self.model.event_size, self.model.binary)
        table = draws.draw_seed()
        bound, kl = self.scorer.per_step(batch["frames"], batch["mask"], table, True, Protocol())
        per_step = self.model.density.sum_frames(bound)
        result = {
            "log_likelihood": tf.reduce_sum(per_step, axis=1),
            "log_likelihood_per_step": per_step,
        }
        return result | ({"kl": tf.reduce_sum(kl, axis=1)} if self.model.latent_size else {})

    def score_raw(self, waveform, length) -> dict[str, tf.Tensor]:
        size, standardization = self.model.event_size, self.standardization
        assert standardization is not None  # speech has it
        loud = tf.reduce_all(tf.abs(waveform) <= 1.0)  # false for NaN too
        fits = tf.reduce_all((length >= size) & (length <= tf.shape(waveform)[1]))
        ok = _holds(loud, "`waveform` must be in [-1, 1]")
        ok += _holds(fits, f"`length` must be from {size} to S for each row")
        with tf.control_dependencies([*ok, *_rows_fit(waveform, length)]):
            frames = tf.shape(waveform)[1] // size
        waves = tf.reshape(waveform[:, : frames * size], [tf.shape(waveform)[0], frames, size])
        waves = (waves - tf.constant(standardization["mean"], tf.float32)) / tf.constant(
            standardization["std"], tf.float32
        )
        if standardization["permutation"]:
            waves = tf.gather(waves, standardization["permutation"], axis=2)
        result = self.score(waves, length // size)
        # d standardized / d raw = 1 / std, for each value of a frame.
        scale = np.broadcast_to(np.asarray(standardization["std"], np.float64), [size])
        change = tf.constant(-np.log(scale).sum(), tf.float32)
        real = tf.cast(tf.sequence_mask(length // size, frames), tf.float32)
        result["log_likelihood_per_step"] += change * real
        result["log_likelihood"] += change * tf.reduce_sum(real, axis=1)
        return result

    def sample(self, num_steps, seed, batch_size) -> dict[str, tf.Tensor]:
        some = (num_steps >= 1) & (batch_size >= 1)
        most = checks.MOST_VALUES // max(
            self.model.event_size, self.model.latent_size * self.model.steps_per_frame
        )
        few = tf.cast(num_steps, tf.int64) * tf.cast(batch_size, tf.int64) <= most
        ok = _holds(some, "`num_steps`, `batch_size` must be above 0")
        ok += _holds(few, f"`num_steps` x `batch_size` must be at most {most}")
        with tf.control_dependencies(ok):
            rows, steps = tf.identity(batch_size), num_steps * self.model.steps_per_frame
        return {"frames": self.sampler.draw(rows, steps, None, seed, tf.constant(1.0))}


def _holds(condition, message):
    return [tf.debugging.Assert(condition, [f"{checks.MARK} {message}"])]


def _rows_fit(frames, length):
    same = tf.shape(frames)[0] == tf.shape(length)[0]
    return _holds(same, "`length` must have one number for each row")

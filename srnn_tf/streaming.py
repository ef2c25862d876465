"""Scoring frame by frame, states in and out."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from srnn_tf import estimators, nn, scoring
from srnn_tf.data import frames as framing
from srnn_tf.particles import ParticleFilter
from srnn_tf.programs import Programs


class Streamer:
    """`SequenceModel.score_step` behind its checks; compiled once per shape.

    States are a dict of `structure`, a nest of (B * K, ...), and `previous`, the last step read;
    with latents also `log_weights` (B, K), and per row the `seed` (2,) and the `step` that its
    particles are drawn by. K is 1 without latents.

    Args:
        model: a `SequenceModel`.
    """

    def __init__(self, model: Any):
        self.model = model
        self.program = Programs(model)

    def initial_states(self, rows: int, num_particles: int | None, seed: int) -> dict[str, Any]:
        previous = {"previous": tf.zeros([rows, self.model.frame_size])}
        if num_particles is None:
            return {"structure": self.model.structure.initial_states(rows), **previous}
        seed = nn.fold_in(tf.constant([seed % 2**31, 3]), 0)
        return {
            **ParticleFilter(self.model, num_particles).initial_states(rows),
            **previous,
            "seed": nn.split(seed, rows),
            "step": tf.zeros([rows], tf.int32),
        }

    def __call__(self, frame, states) -> tuple[tf.Tensor, dict[str, Any]]:
        states = self._checked(states, len(frame))
        return self.program(self.step)(frame, states)

    def step(self, frame, states) -> tuple[tf.Tensor, dict[str, Any]]:
        """log p(x_t | x_<t) of a frame, (B,), and the states after it."""
        model = self.model
        steps = framing.reframe(frame[:, None], model.frame_size)
        before = framing.shift(steps, states["previous"])
        new = {"previous": steps[:, -1]}
        if not model.latent_size:
            terms = model.terms(steps, before, states=states["structure"])
            return tf.reduce_sum(terms["log_likelihood"], axis=1), {
                "structure": terms["states"],
                **new,
            }
        particles = {name: states[name] for name in ("structure", "log_weights")}
        noise, uniform = self._noise(states, steps.shape[1])
        proposal = "posterior" if model.structure.filtering else "prior"
        cell = ParticleFilter(model, states["log_weights"].shape[1], proposal=proposal)
        outputs, particles = estimators.filtering(
            cell, steps, before, None, noise, uniform, states=particles
        )
        new |= {"seed": states["seed"], "step": states["step"] + 1, **particles}
        return tf.reduce_sum(outputs["bound"], axis=1), new

    def _noise(self, states, steps):
        """Every row draws by its own seed and step, whatever rows it is batched with."""

        def draw(row):
            seed, step = row
            return scoring.filter_noise(
                self.model, nn.fold_in(seed, step), steps, 1, states["log_weights"].shape[1]
            )

        noise, uniform = tf.map_fn(
            draw,
            (states["seed"], states["step"]),
            fn_output_signature=(tf.float32, tf.float32),
        )
        return nn.time_major(noise[:, :, 0]), nn.time_major(uniform[:, :, 0])

    def _checked(self, states, rows):
        """The states as tensors, of this model and of this many rows."""
        accepted = "a dict as `initial_states` of this model gives"
        if not isinstance(states, dict):
            raise ValueError(f"`states` must be {accepted}; received {type(states).__name__}")
        count = None
        if self.model.latent_size:
            weights = states.get("log_weights")
            if weights is None or len(tf.shape(weights)) != 2:
                raise ValueError(f"`states` must be {accepted}, with `log_weights` (B, K)")
            count = int(tf.shape(weights)[1])
        wanted = self.initial_states(rows, count, 0)
        try:
            tf.nest.assert_same_structure(wanted, states)
            states = tf.nest.map_structure(
                lambda s, w: tf.convert_to_tensor(s, w.dtype), states, wanted
            )
        except (TypeError, ValueError) as error:
            raise ValueError(f"`states` must be {accepted}: {error}") from None
        pairs = zip(tf.nest.flatten(states), tf.nest.flatten(wanted), strict=True)
        for given, like in pairs:
            if given.shape != like.shape:
                raise ValueError(
                    f"`states` must be those of {rows} rows of this model; received a tensor of "
                    f"shape {given.shape} in place of {like.shape}"
                )
        return states

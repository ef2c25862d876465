"""Scoring of streams, frame by frame, with explicit states."""

from __future__ import annotations

import reprlib
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

from srnn_tf.core import draws, nn, random
from srnn_tf.core import frames as framing
from srnn_tf.core.snapshot import snapshot
from srnn_tf.core.types import State
from srnn_tf.density import Batch, Density
from srnn_tf.inference.programs import Programs
from srnn_tf.objectives.particles import ParticleFilter, filtering

# The most numbers of rows and particles whose shapes of states are remembered.
MOST_WANTED = 256


class Streamer:
    """Computes log p(x_t | x_<t) frame by frame, in nats; compiled once per shape.

    The states are a dict of `structure`, a nest of (B * K, ...), and `previous`, the last step.
    With latents there are also `log_weights` (B, K) and, for the draws of the particles, `seed`
    (B, 2) and `step` (B,). K is 1 without latents.

    Args:
        density: the density.
        programs: the cache of compiled functions.
    """

    def __init__(self, density: Density, programs: Programs):
        self.density, self.programs = density, programs
        self.wanted: dict[tuple, Any] = {}

    def initial_states(self, rows: int, num_particles: int | None, seed: int) -> dict[str, State]:
        previous = {"previous": tf.zeros([rows, self.density.frame_size])}
        if num_particles is None:
            return {"structure": self.density.initial_states(rows), **previous}
        seed = random.fold_in(draws.request_seed(seed, draws.STREAMS), 0)
        return {
            **ParticleFilter(self.density, num_particles).initial_states(rows),
            **previous,
            "seed": random.split(seed, rows),
            "step": tf.zeros([rows], tf.int32),
        }

    def __call__(self, frame, states) -> tuple[tf.Tensor, dict[str, State]]:
        states = self._checked(states, frame.shape[0])
        # The number of particles is a static size of the filter.
        particles = states["log_weights"].shape[1] if "log_weights" in states else None
        return self.programs(self.step, particles)(frame, states)

    def step(self, frame, states) -> tuple[tf.Tensor, dict[str, State]]:
        """log p(x_t | x_<t) of a frame, (B,) nats, and the states after it."""
        density = self.density
        steps = framing.reframe(frame[:, None], density.frame_size)
        batch = Batch(steps, framing.shift(steps, states["previous"]))
        new = {"previous": steps[:, -1]}
        if not density.latent_size:
            terms = density.terms(batch, states=states["structure"])
            nats = tf.reduce_sum(terms.log_likelihood, axis=1)
            return nats, {"structure": terms.states, **new}
        particles = {name: states[name] for name in ("structure", "log_weights")}
        noise, uniform = self._noise(states, steps.shape[1])
        proposal = "posterior" if density.filtering else "prior"
        cell = ParticleFilter(density, states["log_weights"].shape[1], proposal=proposal)
        outputs, particles = filtering(cell, batch, noise, uniform, states=particles)
        new |= {"seed": states["seed"], "step": states["step"] + 1, **particles}
        return tf.reduce_sum(outputs.bound, axis=1), new

    def _noise(self, states, steps):
        """The draws of each row, a function of its own seed and step alone."""

        def draw(row):
            seed, step = row
            key = random.Key(random.fold_in(seed, step))
            particles = states["log_weights"].shape[1]
            return draws.filter_noise(key, self.density.latent_size, steps, 1, particles)

        noise, uniform = tf.map_fn(
            draw,
            (states["seed"], states["step"]),
            fn_output_signature=(tf.float32, tf.float32),
        )
        return nn.time_major(noise[:, :, 0]), nn.time_major(uniform[:, :, 0])

    def _checked(self, states, rows):
        """The states as tensors, checked against this model and the number of rows."""
        names, count = ["previous", "structure"], None
        names += ["log_weights", "seed", "step"] if self.density.latent_size else []
        if not isinstance(states, dict) or set(states) != set(names):
            received = list(states) if isinstance(states, dict) else type(states).__name__
            raise ValueError(
                "`states` must be a dict as this model's `initial_states` or `score_step` gives, "
                f"of {', '.join(names)}; received {received}"
            )
        if self.density.latent_size:
            shape = getattr(states["log_weights"], "shape", ())
            if len(shape) != 2 or 0 in shape:
                raise ValueError(
                    f"`states['log_weights']` must have shape (B, K); received {list(shape)}"
                )
            count = shape[1]
        wanted = self._wanted(rows, count)
        for name in names:  # `previous` first: it tells when the rows are not as many
            _check_shapes(name, states[name], wanted[name], rows, count)
        return {
            name: tf.nest.map_structure(partial(_tensor, name), states[name], wanted[name])
            for name in names
        }

    def _wanted(self, rows, count):
        """The expected shapes and dtypes of the states, cached since every step reads them."""
        key = (rows, count, snapshot(self.density))
        if key not in self.wanted:
            if len(self.wanted) >= MOST_WANTED:
                self.wanted.clear()
            with tf.init_scope():  # also where the caller traces a graph
                self.wanted[key] = tf.nest.map_structure(
                    lambda x: tf.TensorSpec(x.shape, x.dtype), self.initial_states(rows, count, 0)
                )
        return self.wanted[key]


def _check_shapes(name, states, wanted, rows, count):
    states, wanted = (tf.nest.map_structure(_shape, nest) for nest in (states, wanted))
    if states != wanted:
        particles = "" if count is None else f" and {count} particles"
        raise ValueError(
            f"`states[{name!r}]` must have shape {wanted} in this model for a `frame` of {rows} "
            f"rows{particles}; received {reprlib.repr(states)}"
        )


def _shape(state):
    return list(np.shape(state))


def _tensor(name, state, like):
    try:
        tensor = tf.convert_to_tensor(state)
    except (TypeError, ValueError):
        tensor = None
    kind = "is_floating" if like.dtype.is_floating else "is_integer"
    if tensor is None or not getattr(tensor.dtype, kind):
        received = type(state).__name__ if tensor is None else tensor.dtype.name
        raise ValueError(
            f"`states[{name!r}]` must be of dtype {like.dtype.name}; received {received}"
        )
    return tf.cast(tensor, like.dtype)

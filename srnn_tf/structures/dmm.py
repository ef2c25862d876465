"""The deep Markov model: a nonlinear state space model with a learned posterior."""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf

from srnn_tf.core import checks, nn, scan
from srnn_tf.structures.base import (
    Draws,
    Gaussian,
    Structure,
    checked,
    fresh_rows,
    fresh_steps,
    latent_trace,
    sequence_lengths,
    where_fresh,
)
from srnn_tf.structures.dmm_inference import InferenceNetwork
from srnn_tf.structures.transitions import TRANSITIONS

INITIAL = ("standard", "learned")


class DMM(Structure):
    """A deep Markov model: latents that form a Markov chain, and nothing else between the steps.

        z_{t-1} --> z_t --> z_{t+1}        z_1 ~ N(0, I)
                     |                     z_t ~ N(mean(z_{t-1}), variance(z_{t-1}))
                     v
                    x_t                    h_t = relu(relu(z_t A + a) B + b)

        p(x, z) = prod{ p(x_t | h_t) p(z_t | z_{t-1}) : t = 1, ..., T }
        q(z | x) = prod{ q(z_t | z_{t-1}, r_t) : t = 1, ..., T },  r_t = RNN(x_t, r_{t+1})

    The posterior above is `inference="st_r"`, the deep Kalman smoother. `InferenceNetwork` has the
    equations of the others; "st_l" and "mf_l" read nothing after x_t. With `autoregressive=True`
    the transition and h_t also read x_{t-1} (DMM-Aug): p(z_t | z_{t-1}, x_{t-1}), p(x_t | z_t,
    x_{t-1}). At t = 1 there is no x_0, and p(z_1) is a distribution of its own; so the first step
    of a window does not read the frame before it.

    The deep Kalman filter of 2015 (arXiv:1511.05121) is `transition="mlp"` with `inference="mf_l"`
    (q-RNN) or "mf_lr" (q-BRNN), without actions.

    Args:
        units: H, the width of the recurrences of the posterior.
        latent_size: Z.
        transition: "gated", "mlp" or "linear"; `structures.transitions` has their equations.
        inference: "st_r", "st_l", "st_lr", "mf_r", "mf_l" or "mf_lr".
        combiner: how a structured posterior joins z_{t-1} and the data: "average" of features, or
            "product" of the transition and a message from the data.
        autoregressive: transition and emission read x_{t-1}.
        initial: "standard" for z_1 ~ N(0, I), or "learned" for a diagonal Gaussian.
        embedding_size: the width of the ReLU layer before the recurrences.
        transition_units: the width of the hidden layers of the transition.
        emission_units: the width of the two layers of h_t.
        cell: "lstm" or "gru".
        dropout: the dropout rate of the posterior: before and after its recurrences.

    Shapes: call(inputs (B, T, D), targets (B, T, D), noise (B, T, Z)) -> Trace, context
    (B, T, `emission_units`).

    Raises:
        ValueError: a size is below 1, the rate is outside [0, 1), a name is unknown, or a
            mean-field posterior is combined by "product".

    Example:
        >>> structure = DMM(units=8, latent_size=3, embedding_size=4, emission_units=6)
        >>> structure.build((None, None, 88))
        >>> x = tf.zeros([2, 5, 88])
        >>> structure(x, targets=x, noise=tf.zeros([2, 5, 3])).context.shape
        TensorShape([2, 5, 6])

    Reference: Krishnan et al., arXiv:1609.09869.
    """

    def __init__(
        self,
        units: int,
        latent_size: int,
        transition: str = "gated",
        inference: str = "st_r",
        combiner: str = "average",
        autoregressive: bool = False,
        initial: str = "standard",
        embedding_size: int = 256,
        transition_units: int = 256,
        emission_units: int = 256,
        cell: str = "lstm",
        dropout: float = 0.0,
        **kwargs,
    ):
        options = checked(locals())
        checks.sizes(transition_units=transition_units, emission_units=emission_units)
        checks.choice("transition", transition, TRANSITIONS)
        checks.choice("initial", initial, INITIAL)
        if not isinstance(autoregressive, bool):
            raise ValueError(f"`autoregressive` must be True or False; received {autoregressive!r}")
        super().__init__(**kwargs)
        self.options, policy = options, dict(dtype=self.dtype_policy)
        self.latent_size, self.context_size = latent_size, emission_units
        self.autoregressive, self.learned = autoregressive, initial == "learned"
        self.transition = TRANSITIONS[transition](
            latent_size, transition_units, name="transition", **policy
        )
        self.posterior = InferenceNetwork(
            inference,
            combiner,
            latent_size,
            units,
            embedding_size,
            cell,
            dropout,
            name="posterior",
            **policy,
        )
        self.emit = [
            keras.layers.Dense(emission_units, name=f"emit_{i}", **policy) for i in range(2)
        ]

    def build(self, input_shape):
        width = self.latent_size + input_shape[-1] * self.autoregressive
        self.transition.build((None, None, width))
        self.posterior.build(input_shape)
        for layer in self.emit:
            layer.build((None, None, width))
            width = layer.units
        if self.learned:
            size, unit = (self.latent_size,), keras.initializers.Constant(math.log(math.e - 1.0))
            self.initial_mean = self.add_weight(
                name="initial_mean", shape=size, initializer="zeros"
            )
            self.initial_variance = self.add_weight(
                name="initial_variance", shape=size, initializer=unit
            )

    @property
    def filtering(self):
        return self.posterior.filtering

    def initial_states(self, batch_size):
        states = {"fresh": fresh_rows(batch_size), "z": tf.zeros([batch_size, self.latent_size])}
        return states | ({"left": self.posterior.zero_states(batch_size)} if self.filtering else {})

    def evidence(self, inputs, targets, mask=None, key=None):
        if self.filtering:
            return None
        evidence, _ = self.posterior(targets, lengths=sequence_lengths(mask), key=key)
        return tf.nest.map_structure(nn.time_major, evidence)

    def call(
        self, inputs, targets=None, states=None, noise=None, mask=None, key=None, evidence=None
    ):
        states = self.initial_states(tf.shape(inputs)[0]) if states is None else states
        lengths = sequence_lengths(mask)
        if targets is not None:
            evidence, left = self.posterior(targets, states.get("left"), lengths=lengths, key=key)
            states = {**states, "left": left} if self.filtering else states
        elif evidence is not None:
            evidence = tf.nest.map_structure(nn.time_major, evidence)
        draws, last = self._chain(inputs, nn.time_major(noise), evidence, states, lengths)
        return latent_trace(draws, draws.context, {**states, **last})

    def _chain(self, inputs, noise, evidence, states, lengths):
        """The latents of all steps, drawn in order: (`Draws`, the states `fresh` and `z`)."""
        steps = tf.shape(noise)[0]
        fresh = fresh_steps(states["fresh"], steps)
        # What a loop reads must be among its inputs: p(z_1) too, the same at all steps.
        first = tuple(tf.tile(a[None, None], [steps, 1, 1]) for a in self._first())
        read = {"noise": noise, "first": first}
        x = None
        if self.autoregressive:
            x = nn.time_major(tf.cast(inputs, self.compute_dtype))
            x = read["x"] = where_fresh(fresh, 0.0, x)
        posterior, weights = None, {}
        if evidence is not None:
            posterior = self.posterior.part(evidence)
            read["posterior"], weights = posterior.inputs, posterior.weights
        needs_prior = posterior is None or self.posterior.multiplies
        if needs_prior:
            weights = {**weights, **self.transition.products()}

        def step(inputs, states, dense):
            z = states["z"]
            p: Any = ()
            if needs_prior:
                s = self._joined(z, inputs.get("x"))
                p = self._prior(states["fresh"], inputs["first"], self.transition.step(s, dense))
            q = p if posterior is None else posterior.step(inputs["posterior"], z, p, dense)
            z = nn.gaussian_draw(q, inputs["noise"])
            return (z, q, p), {"fresh": tf.zeros_like(states["fresh"]), "z": z}

        begin = {name: states[name] for name in ("fresh", "z")}
        (z, q, p), last = scan.unroll(
            step, read, begin, weights=weights, lengths=lengths, time_major=True
        )
        if not needs_prior:  # the loop did not read it
            before = tf.concat([states["z"][None], z[:-1]], axis=0)
            p = self._prior(fresh, first, self.transition(self._joined(before, x)))
        return Draws(self._emitted(self._joined(z, x)), z, q, p), last

    def _prior(self, fresh, first, transition) -> Gaussian:
        """p(z_1) in fresh rows, p(z_t | z_{t-1}) in the others."""
        mean, log_variance = where_fresh(fresh, first, transition)
        return mean, log_variance

    def _joined(self, z, x):
        """[z, x] in the compute dtype, or z alone."""
        z = tf.cast(z, self.compute_dtype)
        return z if x is None else tf.concat([z, x], axis=-1)

    def _emitted(self, s):
        """h_t, (T, B, emission_units)."""
        for layer in self.emit:
            s = tf.nn.relu(nn.project(s, layer.kernel, layer.bias, self.compute_dtype))
        return s

    def _first(self):
        """Mean and log variance of z_1, each (Z,)."""
        if not self.learned:
            return tf.zeros([self.latent_size]), tf.zeros([self.latent_size])
        return nn.softplus_gaussian(tf.concat([self.initial_mean, self.initial_variance], axis=0))

"""What every latent structure is: `Structure`, and what it returns: `Trace`."""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import NamedTuple

import keras
import tensorflow as tf

from srnn_tf.core import checks, nn, recurrent
from srnn_tf.core.random import Key, fold
from srnn_tf.core.types import Config, Evidence, Size, State

Gaussian = tuple[tf.Tensor, tf.Tensor]  # mean and log variance


class Trace(NamedTuple):
    """What a structure says about a batch of sequences; B rows, T steps, nats, float32.

    The last three are None without latents.
    """

    context: tf.Tensor  # (B, T, H), what the emission reads
    kl: tf.Tensor  # (B, T), KL(q_t || p_t); zero when the latents come from the prior
    log_ratio: tf.Tensor  # (B, T), log q(z_t) - log p(z_t) at the draw
    auxiliary: tf.Tensor  # (B, T), costs that enter the training loss but no bound
    states: State  # nest of (B, ...), to continue after the last step
    posterior_mean: tf.Tensor | None = None  # (B, T, Z)
    posterior_log_variance: tf.Tensor | None = None  # (B, T, Z)
    kl_per_unit: tf.Tensor | None = None  # (B, T, Z)


class Draws(NamedTuple):
    """What a cell with latents puts out, per step or with leading axes (T, B)."""

    context: tf.Tensor  # (..., H), in the compute dtype
    z: tf.Tensor  # (..., Z), the draws
    q: Gaussian  # what z was drawn from, each (..., Z)
    p: Gaussian  # the prior, each (..., Z); that of `q` where z was drawn from the prior


class Structure(keras.layers.Layer):
    """A latent structure: contexts h_t from the past of the data, and KL(q || p) of the latents.

    One call serves training, scoring and sampling. With `targets` the latents come from the
    posterior and `kl` is KL(q || p); without, they come from the prior and `kl` is zero.

    Subclasses set `latent_size` (Z, 0 without latents), `context_size` (H) and `options`, their
    constructor's arguments, and define `build` (from the shape (B, T, D) of the inputs),
    `initial_states` and `call`. One whose posterior reads the future defines `evidence` too.
    """

    latent_size: int
    context_size: int
    options: Config

    def __init__(self, **kwargs):
        # Autocast would round the data to the compute dtype before they are scored.
        super().__init__(autocast=False, **kwargs)
        self.supports_masking = True

    @abc.abstractmethod
    def initial_states(self, batch_size: Size) -> State:
        """The states before the first step, a nest of (batch_size, ...)."""

    @abc.abstractmethod
    def call(
        self,
        inputs: tf.Tensor,
        targets: tf.Tensor | None = None,
        states: State | None = None,
        noise: tf.Tensor | None = None,
        mask: tf.Tensor | None = None,
        key: Key | None = None,
        evidence: Evidence = None,
    ) -> Trace:
        """Contexts of every step.

        Args:
            inputs: x_{t-1}, (B, T, D).
            targets: x_t, (B, T, D), read by the posterior alone.
            states: where to start; `initial_states` by default.
            noise: (B, T, Z), the standard normal draws of the latents.
            mask: (B, T) bool, right-padded.
            key: of dropout; None for no dropout.
            evidence: in place of `targets`, what `evidence` says of them; unless `filtering`.
        """

    def evidence(
        self,
        inputs: tf.Tensor,
        targets: tf.Tensor,
        mask: tf.Tensor | None = None,
        key: Key | None = None,
    ) -> Evidence:
        """What a posterior that reads the future reads of the whole sequence.

        With it in place of `targets`, such a structure can be stepped through.

        Returns:
            A nest of (B, T, ...), or None where the posterior of z_t reads nothing after x_t.
        """
        return None

    def connect(
        self, make: Callable[[str], keras.layers.Layer]
    ) -> dict[str, tuple[keras.layers.Layer, int]]:
        """Take heads of the model's likelihood, for costs that are in no bound; by default none.

        Args:
            make: from a name to a head, not built: (B, T, width) to a distribution of frames.

        Returns:
            The heads by name, each with the width that it reads. A model builds, trains and saves
            them beside the structure, under these names.
        """
        return {}

    @property
    def filtering(self) -> bool:
        """Whether the posterior of z_t reads nothing after x_t."""
        return type(self).evidence is Structure.evidence

    def get_config(self):
        return {**super().get_config(), **self.options}


def checked(given: Config) -> Config:
    """The config of a structure or cell, from `locals()` where its constructor begins.

    So each argument is written once, in the signature, and none can be left out of a config.
    Arguments that all have in common are checked by name; those of Keras, `kwargs`, are its own.
    """
    options = {k: v for k, v in given.items() if k not in ("self", "kwargs", "__class__")}
    for name, value in options.items():
        if name in ("units", "latent_size", "embedding_size", "num_layers"):
            checks.sizes(**{name: value})
        elif name == "evidence_size" and value is not None:
            checks.sizes(evidence_size=value)
        elif name == "hidden_size":
            checks.sizes(minimum=0, hidden_size=value)
        elif name == "dropout":
            checks.rate(dropout=value)
        elif name == "cell":
            checks.choice("cell", value, recurrent.RECURRENT)
    return options


class Cell(keras.layers.Layer):
    """One step of a structure with latents: `call(inputs, states) -> (Draws, states)`.

    Subclasses define `build`, `get_initial_state` and `over_time`, all steps at once.

    Args:
        options: the arguments of the subclass's constructor.
    """

    def __init__(self, options: Config, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.options = options
        self.units, self.latent_size = options["units"], options["latent_size"]
        self.embedding_size = options["embedding_size"]

    def head(self, name: str, unread: int = 0) -> nn.GaussianHead:
        """A prior or posterior of these options."""
        sizes = self.latent_size, self.options["hidden_size"], self.options["dropout"]
        return nn.GaussianHead(*sizes, unread, name=name, dtype=self.dtype_policy)

    @abc.abstractmethod
    def get_initial_state(self, batch_size: Size) -> dict[str, State]:
        """The states before the first step, a nest of (batch_size, ...)."""

    @abc.abstractmethod
    def over_time(self, x, noise, evidence, states, lengths=None, key=None) -> tuple[Draws, State]:
        """All steps at once, time major: (`Draws`, states)."""

    def call(self, inputs, states, training=False):
        for name in inputs:
            checks.choice("inputs", name, ("x", "noise", "evidence", "seed"))

        key = None if inputs.get("seed") is None else Key(inputs["seed"])

        def lift(name):
            return None if inputs.get(name) is None else inputs[name][None]

        draws, states = self.over_time(lift("x"), lift("noise"), lift("evidence"), states, key=key)
        return tf.nest.map_structure(lambda a: a[0], draws), states

    def get_config(self):
        return {**super().get_config(), **self.options}


def cell_trace(
    structure: Structure,
    inputs: tf.Tensor,
    evidence: tf.Tensor | nn.Scalars | None,
    states: State | None,
    noise: tf.Tensor,
    mask: tf.Tensor | None,
    key: Key | None,
) -> tuple[Draws, Trace]:
    """What a structure says that is its `embed`, its `cell` over time, and `dropout`.

    Args:
        structure: with these three.
        inputs, states, noise, mask, key: as in `Structure.call`.
        evidence: of the cell, time major; None to draw from the prior.
    """
    states = structure.initial_states(tf.shape(inputs)[0]) if states is None else states
    draws, states = structure.cell.over_time(
        structure.embed(inputs, key=fold(key, "inputs")),
        nn.time_major(noise),
        evidence,
        states,
        sequence_lengths(mask),
        fold(key, "cell"),
    )
    context = nn.dropout(draws.context, structure.dropout, fold(key, "context"))
    return draws, latent_trace(draws, context, states)


def latent_trace(draws: Draws, context: tf.Tensor, states: State) -> Trace:
    """The trace of Gaussian latents.

    Args:
        draws: time major.
        context: (T, B, H), after dropout.
        states: the states after the last step.
    """
    z, q, p = draws.z, draws.q, draws.p
    kl = nn.time_major(nn.gaussian_kl(q, p))
    log_ratio = nn.time_major(nn.gaussian_log_prob(z, *q) - nn.gaussian_log_prob(z, *p))
    total = tf.reduce_sum(kl, axis=-1)
    return Trace(
        context=nn.time_major(context),
        kl=total,
        log_ratio=tf.reduce_sum(log_ratio, axis=-1),
        auxiliary=tf.zeros_like(total),
        states=states,
        posterior_mean=nn.time_major(q[0]),
        posterior_log_variance=nn.time_major(q[1]),
        kl_per_unit=kl,
    )


def sequence_lengths(mask: tf.Tensor | None) -> tf.Tensor | None:
    """(B, T) bool to (B,) int32."""
    return None if mask is None else tf.reduce_sum(tf.cast(mask, tf.int32), axis=1)


class Embedding(keras.layers.Layer):
    """The linear embedding of a step, shared by all recurrences of a structure, then dropout.

    Shapes: call(x (B, T, D), key) -> (T, B, E); for D = 1 without dropout, `nn.Scalars`.
    """

    def __init__(self, size: int, dropout: float, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.dropout = dropout
        self.dense = keras.layers.Dense(size, dtype=self.dtype_policy, name="dense")

    def build(self, input_shape):
        self.dense.build(input_shape)

    def call(self, x, key=None):
        x = nn.time_major(x)
        if x.shape[-1] == 1 and (key is None or self.dropout == 0.0):
            kernel, bias = self.dense.kernel.value, self.dense.bias.value
            return nn.Scalars(x[..., 0], kernel[0], bias)
        return nn.dropout(self.dense(x), self.dropout, key)


class RecurrentStack(keras.layers.Layer):
    """Recurrent layers with dropout between them, time major.

    Args:
        cell: "lstm" or "gru".
        units: H of every layer.
        num_layers: how many.
        dropout: rate between layers.
    """

    def __init__(self, cell: str, units: int, num_layers: int, dropout: float, **kwargs):
        super().__init__(autocast=False, **kwargs)
        layer = recurrent.RECURRENT[cell]
        self.dropout = dropout
        self.layers = [
            layer(units, dtype=self.dtype_policy, name=f"{cell}_{i}") for i in range(num_layers)
        ]

    def build(self, input_shape):
        for layer in self.layers:
            layer.build(input_shape)
            input_shape = (*input_shape[:-1], layer.units)

    def call(self, x, states=None, lengths=None, reverse=False, key=None):
        ends = []
        for i, layer in enumerate(self.layers):
            if i > 0:
                x = nn.dropout(x, self.dropout, fold(key, i))
            state = None if states is None else states[i]
            x, end = layer(x, state, lengths=lengths, reverse=reverse)
            ends.append(end)
        return x, ends

    def zero_states(self, batch_size):
        return [layer.zero_state(batch_size) for layer in self.layers]

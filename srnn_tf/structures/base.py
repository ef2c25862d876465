"""`Structure`, the base class of all latent structures, and the `Trace` that it returns."""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import NamedTuple

import keras
import tensorflow as tf

from srnn_tf.core import checks, layer_state, nn, recurrent
from srnn_tf.core.random import Key, fold
from srnn_tf.core.types import Config, Evidence, Nest, Size, State

Gaussian = tuple[tf.Tensor, tf.Tensor]  # mean and log variance


class Trace(NamedTuple):
    """The result of a structure for a batch: B rows, T steps, nats, float32.

    The last six are None without latents. `score` and `baseline` are None where a draw is a
    differentiable function of the noise, `scale_tril` where the prior is diagonal.
    """

    context: tf.Tensor  # (B, T, H), the input of the emission
    kl: tf.Tensor  # (B, T), KL(q_t || p_t); zero when the latents come from the prior
    log_ratio: tf.Tensor  # (B, T), log q(z_t) - log p(z_t) at the draw
    auxiliary: tf.Tensor  # (B, T), terms of the training objective that no bound includes
    states: State  # nest of (B, ...), to continue after the last step
    posterior_mean: tf.Tensor | None = None  # (B, T, Z)
    posterior_log_variance: tf.Tensor | None = None  # (B, T, Z)
    kl_per_unit: tf.Tensor | None = None  # (B, T, Z)
    score: tf.Tensor | None = None  # (B, T), log q(z_t | z_<t, x) at the draw
    baseline: tf.Tensor | None = None  # (B, T), a prediction of what z_t earns
    # (B, T, Z, Z), for latents from a prior that is not diagonal: L, its covariance being L L^T.
    scale_tril: tf.Tensor | None = None


class Draws(NamedTuple):
    """The output of a cell with latents, for one step or with leading axes (T, B)."""

    context: tf.Tensor  # (..., H), in the compute dtype
    z: tf.Tensor  # (..., Z), the draws
    q: Gaussian  # the distribution of z, each (..., Z)
    p: Gaussian  # the prior, each (..., Z); equal to `q` where z was drawn from the prior


class Structure(keras.layers.Layer):
    """A latent structure: contexts h_t from the past of the data, and KL(q || p) of the latents.

    One call serves training, scoring and sampling. With `targets` the latents come from the
    posterior, and `kl` is KL(q || p). Without, they come from the prior, and `kl` is zero.

    Subclasses set `latent_size` (Z, 0 without latents), `context_size` (H) and `options` (the
    constructor's arguments). They define `build` (from the shape (B, T, R) of the inputs),
    `initial_states` and `call`. A subclass whose posterior reads the future also defines
    `evidence`. R is the emission's `read_size`: D, unless the emission has a `read` of its own.
    """

    latent_size: int
    context_size: int
    options: Config
    # Whether no gradient passes through draws, such as bits. Under the posterior the trace then has
    # `score` and `baseline`, and `kl` is the analytic KL given the draws before.
    score_function: bool = False

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
        """The contexts of all steps, and the KL of the latents.

        Args:
            inputs: `read(x_{t-1})` of the emission, (B, T, R); by default x_{t-1}, (B, T, D).
            targets: x_t, (B, T, D), which only the posterior reads; None to draw from the prior.
            states: the states to start from; `initial_states` by default.
            noise: (B, T, Z), the standard normal draws of the latents.
            mask: (B, T) bool, true where a step is real; right-padded.
            key: the key for dropout; None for no dropout.
            evidence: the result of `evidence`, in place of `targets`; only unless `filtering`.

        Returns:
            A `Trace`.
        """

    def evidence(
        self,
        inputs: tf.Tensor,
        targets: tf.Tensor,
        mask: tf.Tensor | None = None,
        key: Key | None = None,
    ) -> Evidence:
        """The features of the whole sequence that a posterior reads, if it reads the future.

        `call` takes them in place of `targets`, also one step at a time.

        Args:
            inputs, targets, mask, key: as in `call`.

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

    def __reduce__(self):
        return layer_state.reduced(self)


def checked(given: Config) -> Config:
    """Return the config of a structure or cell, from `locals()` at the start of its constructor.

    So each argument is written once, in the signature, and none is missing from the config. The
    arguments that structures and cells have in common are checked; `kwargs` are those of Keras.
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

    Subclasses define `build`, `get_initial_state` and `over_time`, which computes all steps.

    Args:
        options: the arguments of the subclass's constructor.
    """

    def __init__(self, options: Config, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.options = options
        self.units, self.latent_size = options["units"], options["latent_size"]
        self.embedding_size = options["embedding_size"]

    def head(self, name: str, unread: int = 0) -> nn.GaussianHead:
        """A Gaussian head for a prior or posterior, with the cell's sizes."""
        sizes = self.latent_size, self.options["hidden_size"], self.options["dropout"]
        return nn.GaussianHead(*sizes, unread, name=name, dtype=self.dtype_policy)

    @abc.abstractmethod
    def get_initial_state(self, batch_size: Size) -> dict[str, State]:
        """The states before the first step, a nest of (batch_size, ...)."""

    @abc.abstractmethod
    def over_time(self, x, noise, evidence, states, lengths=None, key=None) -> tuple[Draws, State]:
        """All steps, time major: (`Draws`, states)."""

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

    def __reduce__(self):
        return layer_state.reduced(self)


def cell_trace(
    structure: Structure,
    inputs: tf.Tensor,
    evidence: tf.Tensor | nn.Scalars | None,
    states: State | None,
    noise: tf.Tensor,
    mask: tf.Tensor | None,
    key: Key | None,
) -> tuple[Draws, Trace]:
    """The `Draws` and the `Trace` of a structure made of `embed`, `cell` and `dropout`.

    Args:
        structure: a structure with these three attributes.
        inputs, states, noise, mask, key: as in `Structure.call`.
        evidence: the evidence of the cell, time major; None to draw from the prior.
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
    """The `Trace` of Gaussian latents.

    Args:
        draws: the output of the cell, time major.
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


def fresh_rows(batch_size: Size) -> tf.Tensor:
    """The state `fresh` of a structure whose first step has a distribution of its own: ones, (B,).

    A state space model draws its first state from p(z_1), and later ones from p(z_t | z_{t-1}).
    There is no x_0 and no z_0. Such a structure has the state `fresh`, 1 before the first step of a
    row and 0 after it, and chooses by `where_fresh`. So it need not know whether a call is a whole
    sequence, a part of one, or one step of a stream.

        def initial_states(self, batch_size):
            return {"fresh": fresh_rows(batch_size), "z": ...}

        def step(inputs, states, dense):
            mean = where_fresh(states["fresh"], first_mean, dense(states["z"], "transition"))
            ...
            return outputs, {"fresh": tf.zeros_like(states["fresh"]), "z": z}
    """
    return tf.ones([batch_size])


def where_fresh(fresh: tf.Tensor, initial: Nest, transition: Nest) -> Nest:
    """`initial` in the rows at their first step, `transition` in the others.

    Args:
        fresh: the state of `fresh_rows`, (B,), or (T, B) for many steps.
        initial: a nest of the same structure as `transition`, of shapes that broadcast to those.
        transition: a nest of (*fresh.shape, ...). It must be finite in fresh rows too: a gradient
            of zero times infinity would be NaN.
    """

    def choose(first, later):
        rows = fresh[(..., *[None] * (later.shape.rank - fresh.shape.rank))]
        return tf.where(rows > 0.0, tf.cast(first, later.dtype), later)

    return tf.nest.map_structure(choose, initial, transition)


def fresh_steps(fresh: tf.Tensor, steps: Size) -> tf.Tensor:
    """The state of `fresh_rows` before each of several steps: (B,) to (steps, B).

    For `where_fresh` outside of a loop over time.
    """
    return tf.concat([fresh[None], tf.zeros([steps - 1, tf.shape(fresh)[0]])], axis=0)


def sequence_lengths(mask: tf.Tensor | None) -> tf.Tensor | None:
    """The number of real steps in each row, from a mask: (B, T) bool to (B,) int32."""
    return None if mask is None else tf.reduce_sum(tf.cast(mask, tf.int32), axis=1)


class Embedding(keras.layers.Layer):
    """A linear embedding of a step, then dropout. All recurrences of a structure share it.

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

    def deferred(self, x: tf.Tensor, key: Key | None = None) -> nn.Embedded:
        """As a call, for what reads it by `nn.project`, `nn.width` and `nn.embedded` only.

        To score, without dropout, it is `nn.Affine` where the embedding is all that the layer does.
        """
        dense = self.dense
        plain = dense.activation is keras.activations.linear and dense.quantization_mode is None
        if key is not None or x.shape[-1] == 1 or self.compute_dtype != "float32" or not plain:
            return self(x, key=key)
        kernel, bias = map(tf.convert_to_tensor, (dense.kernel, dense.bias))
        return nn.Affine(nn.time_major(x), kernel, bias)


class RecurrentStack(keras.layers.Layer):
    """Recurrent layers with dropout between them, time major.

    Args:
        cell: "lstm", "gru", "simple" or "lru".
        units: H, the width of each layer.
        num_layers: the number of layers.
        dropout: the dropout rate between layers.
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

"""The SRNN of Fraccaro et al.: a Markov chain of latents on a deterministic recurrence."""

from __future__ import annotations

import tensorflow as tf

from srnn_tf.core import nn, scan
from srnn_tf.core.random import fold
from srnn_tf.core.types import Size, State
from srnn_tf.structures.base import (
    Cell,
    Draws,
    Embedding,
    RecurrentStack,
    Structure,
    checked,
    latent_trace,
    sequence_lengths,
)


class SRNNCell(Cell):
    """One step of an SRNN: update the deterministic state, then draw the next latent.

        v_{t-1} = RNN(x_{t-1}, v_{t-2})    p(z_t | v_{t-1}, z_{t-1}), q(z_t | b_t, z_{t-1})

    A cell for `scan.unroll`: `call(inputs, states) -> (Draws, states)`.

    Args:
        units: H.
        latent_size: Z.
        embedding_size: E, the width of x.
        evidence_size: F, the width of b_t; H by default.
        hidden_size, residual_posterior, cell, dropout: as in `SRNN`.

    Shapes: inputs `x` (B, E), the embedded x_{t-1}; `noise` (B, Z); `evidence` (B, F), b_t, omitted
    to draw from the prior; `seed` (2,), omitted for no dropout. States `forward` and `z`.

    Example:
        >>> cell = SRNNCell(units=8, latent_size=3, embedding_size=4)
        >>> draws, states = cell(
        ...     {"x": tf.zeros([2, 4]), "noise": tf.zeros([2, 3])}, cell.get_initial_state(2))
        >>> draws.context.shape
        TensorShape([2, 11])

    Reference: Fraccaro et al., arXiv:1605.07571.
    """

    def __init__(
        self,
        units: int,
        latent_size: int,
        embedding_size: int,
        evidence_size: int | None = None,
        hidden_size: int = 0,
        residual_posterior: bool = False,
        cell: str = "lstm",
        dropout: float = 0.0,
        **kwargs,
    ):
        super().__init__(checked(locals()), **kwargs)
        self.evidence_size = units if evidence_size is None else evidence_size
        policy = dict(dtype=self.dtype_policy)
        self.residual_posterior = residual_posterior
        self.forward = RecurrentStack(cell, units, 1, dropout, name="forward", **policy)
        # A chain of linear heads whose log variances read the latent before grows without bound
        # unless it starts unconnected.
        self.prior, self.posterior = (
            self.head(name, unread=latent_size) for name in ("prior", "posterior")
        )

    def build(self, input_shape=None):
        self.forward.build((None, None, self.embedding_size))
        self.prior.build((None, None, self.units + self.latent_size))
        self.posterior.build((None, None, self.evidence_size + self.latent_size))

    def get_initial_state(self, batch_size: Size) -> dict[str, State]:
        z = tf.zeros([batch_size, self.latent_size])
        return {"forward": self.forward.zero_states(batch_size), "z": z}

    def over_time(self, x, noise, evidence, states, lengths=None, key=None):
        v, forward = self.forward(x, states["forward"], lengths=lengths)
        draws, z = self.chain(v, noise, evidence, states["z"], lengths, key)
        return draws, {"forward": forward, "z": z}

    def chain(self, v, noise, evidence, z0, lengths=None, key=None):
        """The latents of all steps, drawn in order, given v (T, B, H): (`Draws`, last z)."""
        rows, parts = tf.shape(v)[:2], {}
        if evidence is not None:
            parts["q"] = self.posterior.part(evidence, rows, fold(key, "posterior"))
        if evidence is None or self.residual_posterior:
            parts["p"] = self.prior.part(v, rows, fold(key, "prior"))

        def step(inputs, z, dense):
            gaussians = {name: part.step(inputs[name], z, dense) for name, part in parts.items()}
            q = gaussians.get("q", gaussians.get("p"))
            if len(gaussians) == 2:
                q = (gaussians["p"][0] + q[0], q[1])
            draw = nn.gaussian_draw(q, inputs["noise"])
            return (draw, q, gaussians.get("p", ())), draw

        weights = [part.weights for part in parts.values()]
        (z, q, p), last = scan.unroll(
            step,
            {"noise": noise} | {name: part.inputs for name, part in parts.items()},
            z0,
            weights={name: w for group in weights for name, w in group.items()},
            lengths=lengths,
            time_major=True,
        )
        if "p" not in parts:  # the loop did not read it
            before = tf.cast(tf.concat([z0[None], z[:-1]], axis=0), v.dtype)
            p = self.prior(tf.concat([v, before], axis=-1), key=fold(key, "prior"))
        return Draws(tf.concat([v, tf.cast(z, v.dtype)], axis=-1), z, q, p), last


class SRNN(Structure):
    """A stochastic recurrent network: a Markov chain of latents on a deterministic recurrence.

        x_{t-1} --> v_{t-1} --> z_t --> x_t      v_t = RNN(x_t, v_{t-1})
                        |        ^ |     ^       b_t = RNN([x_t, v_{t-1}], b_{t+1})
                        |  z_{t-1} +-----+
                        +----------------+       h_t = [v_{t-1}, z_t]

        p(x, z) = prod{ p(x_t | h_t) p(z_t | v_{t-1}, z_{t-1}) : t = 1, ..., T }
        q(z | x) = prod{ q(z_t | b_t, z_{t-1}) : t = 1, ..., T }

    Indexing: v_{t-1} has read x_{t-1}; b_t has read x_t and all later steps; z_0 = 0. The two
    recurrences are one pass each. Only the latents are computed step by step.

    Args:
        units: H, the width of the two recurrences.
        latent_size: Z.
        hidden_size: the width of the hidden layer of prior and posterior; 0 for no hidden layer.
        embedding_size: E, the width of the linear embedding of x, which both recurrences share.
        residual_posterior: the mean of q is the mean of p plus the output of the posterior's MLP.
        cell: "lstm", "gru", "simple" or "lru".
        dropout: the dropout rate after the embedding, before each layer of prior and posterior, and
            before the emission.

    Shapes: call(inputs (B, T, D), targets (B, T, D), noise (B, T, Z)) -> Trace, context
    (B, T, H + Z).

    Raises:
        ValueError: a size is below 1 (`hidden_size` below 0), the rate is outside [0, 1), or the
            cell is unknown.

    Example:
        >>> structure = SRNN(units=8, latent_size=3, embedding_size=4, residual_posterior=True)
        >>> structure.build((None, None, 88))
        >>> x = tf.zeros([2, 5, 88])
        >>> structure(x, targets=x, noise=tf.zeros([2, 5, 3])).context.shape
        TensorShape([2, 5, 11])

    Reference: Fraccaro et al., arXiv:1605.07571.
    """

    def __init__(
        self,
        units: int,
        latent_size: int,
        hidden_size: int = 0,
        embedding_size: int = 256,
        residual_posterior: bool = False,
        cell: str = "lstm",
        dropout: float = 0.0,
        **kwargs,
    ):
        options = checked(locals())
        super().__init__(**kwargs)
        self.options, policy = options, dict(dtype=self.dtype_policy)
        self.latent_size, self.context_size = latent_size, units + latent_size
        self.dropout = dropout
        self.embed = Embedding(embedding_size, dropout, name="embed", **policy)
        self.cell = SRNNCell(**options, name="cell", **policy)
        self.backward = RecurrentStack(cell, units, 1, dropout, name="backward", **policy)

    def build(self, input_shape):
        self.embed.build(input_shape)
        self.cell.build()
        width = self.options["embedding_size"] + self.options["units"]
        self.backward.build((None, None, width))

    def initial_states(self, batch_size):
        return self.cell.get_initial_state(batch_size)

    def evidence(self, inputs, targets, mask=None, key=None):
        states = self.initial_states(tf.shape(inputs)[0])
        v, _ = self._forward(inputs, states, sequence_lengths(mask), key)
        return nn.time_major(self._backward(v, targets, sequence_lengths(mask), key))

    def call(
        self, inputs, targets=None, states=None, noise=None, mask=None, key=None, evidence=None
    ):
        states = self.initial_states(tf.shape(inputs)[0]) if states is None else states
        lengths = sequence_lengths(mask)
        v, forward = self._forward(inputs, states, lengths, key)
        b = None if evidence is None else nn.time_major(evidence)
        if targets is not None:
            b = self._backward(v, targets, lengths, key)
        draws, z = self.cell.chain(
            v, nn.time_major(noise), b, states["z"], lengths, fold(key, "chain")
        )
        context = nn.dropout(draws.context, self.dropout, fold(key, "context"))
        return latent_trace(draws, context, {"forward": forward, "z": z})

    def _forward(self, inputs, states, lengths, key):
        x = self.embed(inputs, key=fold(key, "inputs"))
        return self.cell.forward(x, states["forward"], lengths=lengths)

    def _backward(self, v, targets, lengths, key):
        y = nn.embedded(self.embed(targets, key=fold(key, "targets")))
        b, _ = self.backward(
            tf.concat([tf.cast(y, v.dtype), v], axis=-1), lengths=lengths, reverse=True
        )
        return b

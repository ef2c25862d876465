"""The variational recurrent network: the state reads the latents, and they depend on the state."""

from __future__ import annotations

import tensorflow as tf

from srnn_tf.core import nn, recurrent, scan
from srnn_tf.core.random import fold
from srnn_tf.core.types import Size, State
from srnn_tf.structures.base import (
    Cell,
    Draws,
    Embedding,
    Structure,
    cell_trace,
    checked,
)


class VRNNCell(Cell):
    """One step of a VRNN: update the state with the previous step, then draw the latent.

        v_{t-1} = RNN([x_{t-1}, z_{t-1}], v_{t-2})    p(z_t | v_{t-1}), q(z_t | e_t, v_{t-1})

    A cell for `scan.unroll`: `call(inputs, states) -> (Draws, states)`.

    Args:
        units: H.
        latent_size: Z.
        embedding_size: E, the width of x.
        evidence_size: F, the width of the evidence e_t; E by default.
        hidden_size, cell, dropout: as in `VRNN`.

    Shapes: inputs `x` (B, E), the embedded x_{t-1}; `noise` (B, Z); `evidence` (B, F), e_t, omitted
    to draw from the prior; `seed` (2,), omitted for no dropout. States `recurrent` and `z`.

    Example:
        >>> cell = VRNNCell(units=8, latent_size=3, embedding_size=4)
        >>> draws, states = cell(
        ...     {"x": tf.zeros([2, 4]), "noise": tf.zeros([2, 3])}, cell.get_initial_state(2))
        >>> draws.context.shape
        TensorShape([2, 11])

    Reference: Chung et al., arXiv:1506.02216.
    """

    def __init__(
        self,
        units: int,
        latent_size: int,
        embedding_size: int,
        evidence_size: int | None = None,
        hidden_size: int = 0,
        cell: str = "lstm",
        dropout: float = 0.0,
        **kwargs,
    ):
        super().__init__(checked(locals()), **kwargs)
        self.evidence_size = embedding_size if evidence_size is None else evidence_size
        policy = dict(dtype=self.dtype_policy)
        self.recurrent = recurrent.RECURRENT[cell](units, name="recurrent", **policy)
        self.prior, self.posterior = self.head("prior"), self.head("posterior")

    def build(self, input_shape=None):
        self.recurrent.build((None, None, self.embedding_size + self.latent_size))
        self.prior.build((None, None, self.units))
        self.posterior.build((None, None, self.evidence_size + self.units))

    def get_initial_state(self, batch_size: Size) -> dict[str, State]:
        state = self.recurrent.zero_state(batch_size)
        return {"recurrent": state, "z": tf.zeros([batch_size, self.latent_size])}

    def over_time(self, x, noise, evidence, states, lengths=None, key=None):
        from_data = evidence is not None
        part = self.recurrent.part(x)
        head = (self.posterior if from_data else self.prior).part(
            evidence, tf.shape(part.inputs)[:2], fold(key, "drawn")
        )

        def step(inputs, states, dense):
            v, state = part.step(inputs["x"], states["z"], states["recurrent"], dense)
            q = head.step(inputs["head"], v, dense)
            z = nn.gaussian_draw(q, inputs["noise"])
            return (v, z, q), {"recurrent": state, "z": z}

        (v, z, q), states = scan.unroll(
            step,
            {"x": part.inputs, "head": head.inputs, "noise": noise},
            states,
            weights=part.weights | head.weights,
            lengths=lengths,
            time_major=True,
        )
        # The loop does not read the prior where the posterior is drawn from.
        p = self.prior(v, key=fold(key, "prior")) if from_data else q
        return Draws(tf.concat([v, tf.cast(z, v.dtype)], axis=-1), z, q, p), states


class VRNN(Structure):
    """The variational recurrent network: the recurrence reads the latents.

        x_{t-1} --> v_{t-1} --> z_t --> x_t      v_t = RNN([x_t, z_t], v_{t-1})
                    ^   |                ^
        z_{t-1} ----+   +----------------+       h_t = [v_{t-1}, z_t]

        p(x, z) = prod{ p(x_t | h_t) p(z_t | v_{t-1}) : t = 1, ..., T }
        q(z | x) = prod{ q(z_t | x_t, v_{t-1}) : t = 1, ..., T }

    Indexing: a step first computes v_{t-1}, from x_{t-1} and z_{t-1} (z_0 = 0), then draws z_t.

    Args:
        units: H, the width of the recurrence.
        latent_size: Z.
        hidden_size: the width of the hidden layer of prior and posterior; 0 for no hidden layer.
        embedding_size: E, the width of the linear embedding of x.
        cell: "lstm", "gru", "simple" or "lru".
        dropout: the dropout rate after the embedding, before each layer of prior and posterior, and
            before the emission.

    Shapes: call(inputs (B, T, D), targets (B, T, D), noise (B, T, Z)) -> Trace, context
    (B, T, H + Z).

    Raises:
        ValueError: a size is below 1 (`hidden_size` below 0), the rate is outside [0, 1), or the
            cell is unknown.

    Example:
        >>> structure = VRNN(units=8, latent_size=3, embedding_size=4)
        >>> structure.build((None, None, 88))
        >>> x = tf.zeros([2, 5, 88])
        >>> structure(x, targets=x, noise=tf.zeros([2, 5, 3])).context.shape
        TensorShape([2, 5, 11])

    Reference: Chung et al., arXiv:1506.02216.
    """

    def __init__(
        self,
        units: int,
        latent_size: int,
        hidden_size: int = 0,
        embedding_size: int = 256,
        cell: str = "lstm",
        dropout: float = 0.0,
        **kwargs,
    ):
        options = checked(locals())
        super().__init__(**kwargs)
        self.options = options
        self.latent_size, self.context_size, self.dropout = (
            latent_size,
            units + latent_size,
            dropout,
        )
        self.embed = Embedding(embedding_size, dropout, dtype=self.dtype_policy, name="embed")
        self.cell = VRNNCell(**options, dtype=self.dtype_policy, name="cell")

    def build(self, input_shape):
        self.embed.build(input_shape)
        self.cell.build()

    def initial_states(self, batch_size):
        return self.cell.get_initial_state(batch_size)

    def call(
        self, inputs, targets=None, states=None, noise=None, mask=None, key=None, evidence=None
    ):
        evidence = None if targets is None else self.embed(targets, key=fold(key, "targets"))
        return cell_trace(self, inputs, evidence, states, noise, mask, key)[1]

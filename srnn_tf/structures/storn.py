"""STORN: independent latents as inputs of a recurrent network."""

from __future__ import annotations

import tensorflow as tf

from srnn_tf.core import nn
from srnn_tf.core.random import fold
from srnn_tf.core.types import Size, State
from srnn_tf.structures.base import (
    Cell,
    Draws,
    Embedding,
    RecurrentStack,
    Structure,
    cell_trace,
    checked,
)


class STORNCell(Cell):
    """One step of STORN: update the recognition state, draw the latent, update the generator.

        r_t = RNN(x_t, r_{t-1})    q(z_t | r_t), p(z_t) = N(0, I)
        h_t = RNN([x_{t-1}, z_t], h_{t-1})

    A cell for `scan.unroll`: `call(inputs, states) -> (Draws, states)`.

    Args:
        units: H.
        latent_size: Z.
        embedding_size: E, the width of x.
        hidden_size, num_layers, cell, dropout: as in `STORN`.

    Shapes: inputs `x` (B, E), the embedded x_{t-1}; `noise` (B, Z); `evidence` (B, E), the embedded
    x_t, omitted to draw from the prior; `seed` (2,), omitted for no dropout. States `recognition`,
    unchanged without evidence, and `generator`.

    Example:
        >>> cell = STORNCell(units=8, latent_size=3, embedding_size=4)
        >>> draws, states = cell(
        ...     {"x": tf.zeros([2, 4]), "noise": tf.zeros([2, 3])}, cell.get_initial_state(2))
        >>> draws.context.shape
        TensorShape([2, 8])

    Reference: Bayer and Osendorfer, arXiv:1411.7610.
    """

    def __init__(
        self,
        units: int,
        latent_size: int,
        embedding_size: int,
        hidden_size: int = 0,
        num_layers: int = 1,
        cell: str = "lstm",
        dropout: float = 0.0,
        **kwargs,
    ):
        super().__init__(checked(locals()), **kwargs)
        policy = dict(dtype=self.dtype_policy)
        self.recognition, self.generator = (
            RecurrentStack(cell, units, num_layers, dropout, name=name, **policy)
            for name in ("recognition", "generator")
        )
        self.posterior = self.head("posterior")

    def build(self, input_shape=None):
        self.recognition.build((None, None, self.embedding_size))
        self.posterior.build((None, None, self.units))
        self.generator.build((None, None, self.embedding_size + self.latent_size))

    def get_initial_state(self, batch_size: Size) -> dict[str, State]:
        return {
            "recognition": self.recognition.zero_states(batch_size),
            "generator": self.generator.zero_states(batch_size),
        }

    def over_time(self, x, noise, evidence, states, lengths=None, key=None):
        x = nn.embedded(x)
        standard = tf.zeros([*tf.unstack(tf.shape(x)[:2]), self.latent_size])
        p = q = (standard, standard)
        recognition = states["recognition"]
        if evidence is not None:
            r, recognition = self.recognition(
                evidence, recognition, lengths=lengths, key=fold(key, "recognition")
            )
            q = self.posterior(r, key=fold(key, "posterior"))
        z = nn.gaussian_draw(q, noise)
        h, generator = self.generator(
            tf.concat([tf.cast(x, self.compute_dtype), tf.cast(z, self.compute_dtype)], axis=-1),
            states["generator"],
            lengths=lengths,
            key=fold(key, "generator"),
        )
        return Draws(h, z, q, p), {"recognition": recognition, "generator": generator}


class STORN(Structure):
    """A stochastic recurrent network whose latents are independent standard normals.

        x_{t-1} --> h_t --> x_t      h_t = RNN([x_{t-1}, z_t], h_{t-1})
                    ^ ^
              z_t --+ +-- h_{t-1}    r_t = RNN(x_t, r_{t-1})

        p(x, z) = prod{ p(x_t | h_t) N(z_t; 0, I) : t = 1, ..., T }
        q(z | x) = prod{ q(z_t | r_t) : t = 1, ..., T }

    Given the data, the z_t are independent, so that each recurrence is one pass over the whole
    sequence. Draws from the prior do not update the state r of the recognition network. So a
    sequence can continue from the posterior to the prior, as sampling after a prefix does, but not
    back.

    Args:
        units: H, the width of the two recurrences.
        latent_size: Z.
        hidden_size: the width of the hidden layer of the posterior; 0 for no hidden layer.
        embedding_size: E, the width of the linear embedding of x, which both recurrences share.
        num_layers: the number of layers of each recurrence.
        cell: "lstm", "gru", "simple" or "lru".
        dropout: the dropout rate after the embedding, between layers, before each layer of the
            posterior, and before the emission.

    Shapes: call(inputs (B, T, D), targets (B, T, D), noise (B, T, Z)) -> Trace, context (B, T, H).

    Raises:
        ValueError: a size is below 1 (`hidden_size` below 0), the rate is outside [0, 1), or the
            cell is unknown.

    Example:
        >>> structure = STORN(units=8, latent_size=3, embedding_size=4)
        >>> structure.build((None, None, 88))
        >>> x = tf.zeros([2, 5, 88])
        >>> structure(x, targets=x, noise=tf.zeros([2, 5, 3])).kl.shape
        TensorShape([2, 5])

    Reference: Bayer and Osendorfer, arXiv:1411.7610.
    """

    def __init__(
        self,
        units: int,
        latent_size: int,
        hidden_size: int = 0,
        embedding_size: int = 256,
        num_layers: int = 1,
        cell: str = "lstm",
        dropout: float = 0.0,
        **kwargs,
    ):
        options = checked(locals())
        super().__init__(**kwargs)
        self.options, policy = options, dict(dtype=self.dtype_policy)
        self.latent_size, self.context_size, self.dropout = latent_size, units, dropout
        self.embed = Embedding(embedding_size, dropout, name="embed", **policy)
        self.cell = STORNCell(**options, name="cell", **policy)

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

"""The paper's own stochastic recurrent network, whose latents are independent given the data."""

from __future__ import annotations

import keras
import tensorflow as tf

from srnn_tf.core import checks, nn
from srnn_tf.core.random import fold
from srnn_tf.structures.base import (
    Draws,
    Embedding,
    RecurrentStack,
    Structure,
    checked,
    latent_trace,
    sequence_lengths,
)

GENERATOR_INPUTS = ("forward", "embedding")


class ParallelSRNN(Structure):
    """The parallel stochastic recurrent network, "SRNN" in the paper's tables.

        x_{t-1} --> v_t --> z_t --> h_t --> x_t      v_t = RNN(x_{t-1}, v_{t-1})
                     |               ^  ^            b_t = RNN(x_t, b_{t+1})
                     +---------------+  |            h_t = RNN([v_t, z_t], h_{t-1})
                               h_{t-1} -+

        p(x, z) = prod{ p(x_t | h_t) p(z_t | v_t) : t = 1, ..., T }    p(z_t | .) = N(prior(v_t))
        q(z | x) = prod{ q(z_t | b_t, v_t) : t = 1, ..., T }    q(z_t | .) = N(posterior(b_t, v_t))

    Given the data, the z_t are independent, so that each recurrence is one pass over the whole
    sequence. Indexing: v_t has read x_{t-1}; b_t has read x_t and all later steps.

    Args:
        units: H, the width of the three recurrences.
        latent_size: Z.
        hidden_size: the width of the hidden layer of prior and posterior; 0 for no hidden layer.
        embedding_size: E, the width of the linear embedding, which the forward and backward
            recurrences share.
        num_layers: the number of layers of the forward and backward recurrences. The recurrence
            over z has one.
        generator_input: the input of h_t besides h_{t-1}. With "forward" it is [v_t, z_t]. With
            "embedding" it is the embedded x_{t-1} and a linear embedding of z_t, of width
            `hidden_size` (`embedding_size` if that is 0), as in the paper's handwriting models.
        cell: "lstm", "gru", "simple" or "lru".
        dropout: the dropout rate after the embedding, between layers, before each layer of prior
            and posterior, and before the emission.

    Shapes: call(inputs (B, T, D), targets (B, T, D), noise (B, T, Z)) -> Trace, context (B, T, H).

    Raises:
        ValueError: a size is below 1 (`hidden_size` below 0), the rate is outside [0, 1), or the
            cell or generator input is unknown.

    Example:
        >>> structure = ParallelSRNN(units=8, latent_size=3, embedding_size=4)
        >>> structure.build((None, None, 88))
        >>> x = tf.zeros([2, 5, 88])
        >>> structure(x, targets=x, noise=tf.zeros([2, 5, 3])).kl.shape
        TensorShape([2, 5])

    Reference: F-SRNN of Lai et al., arXiv:1902.01388.
    """

    def __init__(
        self,
        units: int,
        latent_size: int,
        hidden_size: int = 0,
        embedding_size: int = 256,
        num_layers: int = 1,
        generator_input: str = "forward",
        cell: str = "lstm",
        dropout: float = 0.0,
        **kwargs,
    ):
        options = checked(locals())
        checks.choice("generator_input", generator_input, GENERATOR_INPUTS)
        super().__init__(**kwargs)
        self.options = options
        self.context_size, self.latent_size, self.dropout = units, latent_size, dropout
        policy = dict(dtype=self.dtype_policy)

        def stack(layers, name):
            return RecurrentStack(cell, units, layers, dropout, name=name, **policy)

        def head(name):
            return nn.GaussianHead(latent_size, hidden_size, dropout, name=name, **policy)

        self.embed = Embedding(embedding_size, dropout, name="embed", **policy)
        self.forward, self.backward = stack(num_layers, "forward"), stack(num_layers, "backward")
        self.prior, self.posterior = head("prior"), head("posterior")
        self.generator = stack(1, "generator")
        self.latent_embedding = None
        if generator_input == "embedding":
            self.latent_embedding = keras.layers.Dense(
                hidden_size or embedding_size, name="latent_embedding", **policy
            )

    def build(self, input_shape):
        units, embedding_size = self.context_size, self.options["embedding_size"]
        self.embed.build(input_shape)
        self.forward.build((None, None, embedding_size))
        self.backward.build((None, None, embedding_size))
        self.prior.build((None, None, units))
        self.posterior.build((None, None, 2 * units))
        width = units + self.latent_size
        if self.latent_embedding is not None:
            self.latent_embedding.build((None, None, self.latent_size))
            width = embedding_size + self.latent_embedding.units
        self.generator.build((None, None, width))

    def initial_states(self, batch_size):
        return {
            "forward": self.forward.zero_states(batch_size),
            "generator": self.generator.zero_states(batch_size),
        }

    def evidence(self, inputs, targets, mask=None, key=None):
        b, _ = self.backward(
            self.embed.deferred(targets, key=fold(key, "targets")),
            lengths=sequence_lengths(mask),
            reverse=True,
            key=fold(key, "backward"),
        )
        return nn.time_major(b)

    def call(
        self, inputs, targets=None, states=None, noise=None, mask=None, key=None, evidence=None
    ):
        states = self.initial_states(tf.shape(inputs)[0]) if states is None else states
        lengths = sequence_lengths(mask)
        embedded = self.embed.deferred(inputs, key=fold(key, "inputs"))
        v, v_end = self.forward(
            embedded, states["forward"], lengths=lengths, key=fold(key, "forward")
        )
        p = q = self.prior(v, key=fold(key, "prior"))
        if targets is not None:
            evidence = self.evidence(inputs, targets, mask, key)
        if evidence is not None:
            b = tf.cast(nn.time_major(evidence), v.dtype)
            q = self.posterior(tf.concat([b, v], axis=-1), key=fold(key, "posterior"))
        z = nn.gaussian_draw(q, nn.time_major(noise))
        h, h_end = self.generator(
            self._generator_input(v, embedded, z), states["generator"], lengths=lengths
        )
        context = nn.dropout(h, self.dropout, fold(key, "context"))
        ends = {"forward": v_end, "generator": h_end}
        return latent_trace(Draws(h, z, q, p), context, ends)

    def _generator_input(self, v, embedded, z):
        if self.latent_embedding is None:
            return tf.concat([v, tf.cast(z, v.dtype)], axis=-1)
        x = tf.cast(nn.embedded(embedded), v.dtype)
        return tf.concat([x, self.latent_embedding(z)], axis=-1)

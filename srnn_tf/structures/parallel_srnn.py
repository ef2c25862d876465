"""The paper's own stochastic recurrent network, whose latents do not feed one another."""

from __future__ import annotations

import tensorflow as tf

from srnn_tf import checks, nn
from srnn_tf.structures.base import (
    Embedding,
    RecurrentStack,
    Structure,
    latent_trace,
    sequence_lengths,
)


class ParallelSRNN(Structure):
    """The parallel stochastic recurrent network, "SRNN" in the paper's tables.

        x_{t-1} --> v_t --> z_t --> h_t --> x_t      v_t = RNN(x_{t-1}, v_{t-1})
                     |               ^  ^            b_t = RNN(x_t, b_{t+1})
                     +---------------+  |            h_t = RNN([v_t, z_t], h_{t-1})
                               h_{t-1} -+

        p(x, z) = prod{ p(x_t | h_t) p(z_t | v_t) : t = 1, ..., T }    p(z_t | .) = N(prior(v_t))
        q(z | x) = prod{ q(z_t | b_t, v_t) : t = 1, ..., T }    q(z_t | .) = N(posterior(b_t, v_t))

    Given the data, the z_t do not depend on one another, so each recurrence is one pass over the
    whole sequence. Indexing: v_t has read x_{t-1}, b_t has read x_t and all after it.

    Args:
        units: H, the width of the three recurrences.
        latent_size: Z.
        hidden_size: the hidden layer of prior and posterior; 0 for none.
        embedding_size: E, the linear embedding shared by the forward and backward recurrences.
        num_layers: layers of the forward and backward recurrences; the one over z has one.
        cell: "lstm" or "gru".
        dropout: rate after the embedding, between layers, before each layer of prior and posterior,
            and before the emission.

    Shapes: call(inputs (B, T, D), targets (B, T, D), noise (B, T, Z)) -> Trace, context (B, T, H).

    Raises:
        ValueError: a size below 1 (`hidden_size` below 0), a rate outside [0, 1), an unknown cell.

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
        cell: str = "lstm",
        dropout: float = 0.0,
        **kwargs,
    ):
        checks.sizes(
            units=units,
            latent_size=latent_size,
            num_layers=num_layers,
            embedding_size=embedding_size,
        )
        checks.sizes(minimum=0, hidden_size=hidden_size)
        checks.rate(dropout=dropout)
        checks.choice("cell", cell, nn.RECURRENT)
        super().__init__(**kwargs)
        self.config = dict(
            units=units,
            latent_size=latent_size,
            hidden_size=hidden_size,
            embedding_size=embedding_size,
            num_layers=num_layers,
            cell=cell,
            dropout=dropout,
        )
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

    def build(self, input_shape):
        units, embedded = self.context_size, (None, None, self.config["embedding_size"])
        self.embed.build(input_shape)
        self.forward.build(embedded)
        self.backward.build(embedded)
        self.prior.build((None, None, units))
        self.posterior.build((None, None, 2 * units))
        self.generator.build((None, None, units + self.latent_size))

    def initial_states(self, batch_size):
        return {
            "forward": self.forward.zero_states(batch_size),
            "generator": self.generator.zero_states(batch_size),
        }

    def call(self, inputs, targets=None, states=None, noise=None, mask=None, seed=None):
        states = self.initial_states(tf.shape(inputs)[0]) if states is None else states
        seeds = [nn.site(seed, i) for i in range(8)]
        lengths = sequence_lengths(mask)
        v, v_end = self.forward(
            self.embed(inputs, seeds[0]), states["forward"], lengths=lengths, seed=seeds[1]
        )
        prior = self.prior(v, seeds[2])
        posterior = prior
        if targets is not None:
            b, _ = self.backward(
                self.embed(targets, seeds[3]), lengths=lengths, reverse=True, seed=seeds[4]
            )
            posterior = self.posterior(tf.concat([b, v], axis=-1), seeds[5])
        mean, log_variance = posterior
        z = mean + nn.time_major(noise) * tf.exp(0.5 * log_variance)
        h, h_end = self.generator(
            tf.concat([v, tf.cast(z, v.dtype)], axis=-1), states["generator"], lengths=lengths
        )
        context = nn.time_major(nn.dropout(h, self.dropout, seeds[6]))
        ends = {"forward": v_end, "generator": h_end}
        return latent_trace(context, z, posterior, prior, ends)

    def get_config(self):
        return {**super().get_config(), **self.config}

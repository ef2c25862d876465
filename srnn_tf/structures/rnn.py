"""The recurrent network without latents."""

from __future__ import annotations

import tensorflow as tf

from srnn_tf.core import nn
from srnn_tf.core.random import fold
from srnn_tf.structures.base import (
    Embedding,
    RecurrentStack,
    Structure,
    Trace,
    checked,
    sequence_lengths,
)


class RNN(Structure):
    """A deterministic recurrent network, without latents.

        x_{t-1} --> v_t --> x_t        v_t = RNN(x_{t-1}, v_{t-1})
                     ^
        v_{t-1} -----+                 h_t = v_t

        log p(x) = sum{ log p(x_t | h_t) : t = 1, ..., T }

    Indexing: v_t is the state after the step that reads x_{t-1}.

    Args:
        units: H, the width of each recurrent layer.
        num_layers: the number of recurrent layers.
        embedding_size: E, the width of the linear embedding of x.
        cell: "lstm", "gru", "simple" or "lru".
        dropout: the dropout rate after the embedding, between layers and before the emission.

    Shapes: call(inputs (B, T, D)) -> Trace with context (B, T, H), kl and log_ratio zero.

    Raises:
        ValueError: a size is below 1, the rate is outside [0, 1), or the cell is unknown.

    Example:
        >>> structure = RNN(units=8, embedding_size=4)
        >>> structure.build((None, None, 88))
        >>> structure(tf.zeros([2, 5, 88])).context.shape
        TensorShape([2, 5, 8])

    Reference: F-RNN of Lai et al., arXiv:1902.01388.
    """

    latent_size = 0

    def __init__(
        self,
        units: int,
        num_layers: int = 1,
        embedding_size: int = 256,
        cell: str = "lstm",
        dropout: float = 0.0,
        **kwargs,
    ):
        options = checked(locals())
        super().__init__(**kwargs)
        self.options = options
        self.context_size, self.dropout = units, dropout
        self.embed = Embedding(embedding_size, dropout, dtype=self.dtype_policy, name="embed")
        self.forward = RecurrentStack(
            cell, units, num_layers, dropout, dtype=self.dtype_policy, name="forward"
        )

    def build(self, input_shape):
        self.embed.build(input_shape)
        self.forward.build((None, None, self.options["embedding_size"]))

    def initial_states(self, batch_size):
        return {"forward": self.forward.zero_states(batch_size)}

    def call(
        self, inputs, targets=None, states=None, noise=None, mask=None, key=None, evidence=None
    ):
        states = self.initial_states(tf.shape(inputs)[0]) if states is None else states
        x = self.embed.deferred(inputs, key=fold(key, "inputs"))
        v, ends = self.forward(
            x, states["forward"], lengths=sequence_lengths(mask), key=fold(key, "forward")
        )
        context = nn.time_major(nn.dropout(v, self.dropout, fold(key, "context")))
        zero = tf.zeros(tf.shape(inputs)[:2])
        return Trace(context, zero, zero, zero, {"forward": ends})

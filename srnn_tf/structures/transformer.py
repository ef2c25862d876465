"""A causal transformer with a window of attention, without latents."""

from __future__ import annotations

import keras
import tensorflow as tf

from srnn_tf.core import attention, checks, nn
from srnn_tf.core.random import fold
from srnn_tf.structures.base import Structure, Trace, checked, sequence_lengths


class Transformer(Structure):
    """A causal transformer whose steps attend to the last W steps, without latents.

        x_{t-1} --> r^0_t --> r^1_t --> ... --> r^L_t --> h_t --> x_t
                                ^
        r^0_{t-1} ... r^0_{t-W+1}

        u_t = r^l_t + attention(LayerNorm(r^l_{t-W+1}), ..., LayerNorm(r^l_t))
        r^{l+1}_t = u_t + MLP(LayerNorm(u_t))      h_t = LayerNorm(r^L_t)

        log p(x) = sum{ log p(x_t | h_t) : t = 1, ..., T }

    Indexing: r_t has read x_{t-1}. h_t has read the last 1 + L (W - 1) steps, and nothing before.
    Queries and keys are rotated by their positions, so that attention depends on distances only,
    and streams have no end. The states are the keys and values of the last W - 1 steps, and how
    many of these are real. A whole sequence is its steps one by one.

    Args:
        units: H, the width of each layer.
        num_layers: L.
        num_heads: the number of heads of attention; H is a multiple of twice this.
        window: W, the number of steps that a step attends to, itself included.
        mlp_size: the width of the hidden layer of the MLPs; 4 H by default.
        dropout: the dropout rate of the embedding, of the output of each attention and MLP, and
            before the emission.

    Shapes: call(inputs (B, T, D)) -> Trace with context (B, T, H), kl and log_ratio zero.

    Raises:
        ValueError: a size is below 1, the rate is outside [0, 1), or `units` is no multiple of
            2 `num_heads`.

    Example:
        >>> structure = Transformer(units=8, num_layers=1, num_heads=2, window=3)
        >>> structure.build((None, None, 88))
        >>> structure(tf.zeros([2, 5, 88])).context.shape
        TensorShape([2, 5, 8])

    Reference: Vaswani et al., arXiv:1706.03762; norms before the layers, Xiong et al.,
    arXiv:2002.04745; rotary positions, Su et al., arXiv:2104.09864.
    """

    latent_size = 0

    def __init__(
        self,
        units: int,
        num_layers: int = 4,
        num_heads: int = 4,
        window: int = 128,
        mlp_size: int | None = None,
        dropout: float = 0.0,
        **kwargs,
    ):
        options = checked(locals())
        checks.sizes(num_heads=num_heads, window=window)
        if mlp_size is not None:
            checks.sizes(mlp_size=mlp_size)
        if units % (2 * num_heads):
            raise ValueError(
                "`units` must be a multiple of twice `num_heads`, since positions rotate pairs of "
                f"numbers; received {units} and {num_heads}"
            )
        super().__init__(**kwargs)
        self.options = options
        self.context_size, self.window, self.dropout = units, window, dropout
        self.mlp_size = 4 * units if mlp_size is None else mlp_size
        policy = dict(dtype=self.dtype_policy)

        def dense(width, name, activation=None):
            return keras.layers.Dense(width, activation, name=name, **policy)

        self.embed = dense(units, "embed")
        self.attentions = [
            attention.WindowAttention(units, num_heads, window, name=f"attention_{i}", **policy)
            for i in range(num_layers)
        ]
        self.hidden = [dense(self.mlp_size, f"hidden_{i}", "gelu") for i in range(num_layers)]
        self.out = [dense(units, f"out_{i}") for i in range(num_layers)]
        self.norms = [
            keras.layers.LayerNormalization(name=f"norm_{i}", **policy)
            for i in range(2 * num_layers + 1)
        ]

    def build(self, input_shape):
        shape = (None, None, self.context_size)
        self.embed.build(input_shape)
        for layer in (*self.attentions, *self.hidden, *self.norms):
            layer.build(shape)
        for layer in self.out:
            layer.build((None, None, self.mlp_size))

    def initial_states(self, batch_size):
        states = [layer.zero_state(batch_size) for layer in self.attentions]
        return {"attention": states, "real": tf.zeros([batch_size], tf.int32)}

    def call(
        self, inputs, targets=None, states=None, noise=None, mask=None, key=None, evidence=None
    ):
        states = self.initial_states(tf.shape(inputs)[0]) if states is None else states
        lengths = sequence_lengths(mask)

        def dropped(x, place):
            return nn.dropout(x, self.dropout, fold(key, place), axis=0)

        x, ends = dropped(self.embed(inputs), "inputs"), []
        for i, attend in enumerate(self.attentions):
            before, norms = states["attention"][i], self.norms[2 * i : 2 * i + 2]
            y, end = attend(norms[0](x), before, states["real"], lengths=lengths)
            x += dropped(y, f"attention {i}")
            x += dropped(self.out[i](self.hidden[i](norms[1](x))), f"mlp {i}")
            ends.append(end)
        added = tf.shape(inputs)[1] if lengths is None else lengths
        real = tf.minimum(states["real"] + added, self.window - 1)
        zero = tf.zeros(tf.shape(inputs)[:2])
        context = dropped(self.norms[-1](x), "context")
        return Trace(context, zero, zero, zero, {"attention": ends, "real": real})

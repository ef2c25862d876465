"""Dilated causal convolutions, without latents."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import tensorflow as tf

from srnn_tf.core import checks, nn, recent
from srnn_tf.core.random import fold
from srnn_tf.structures.base import Structure, Trace, checked, sequence_lengths


class TCN(Structure):
    """A temporal convolutional network: a stack of dilated causal convolutions, without latents.

        x_{t-1} --> r^0_t --> r^1_t --> ... --> r^L_t --> h_t --> x_t
                                ^
        r^0_{t-d}, r^0_{t-2d}, -+   with a dilation d of its own in each layer

        a_t, g_t = conv(r^l_t, r^l_{t-d}, ..., r^l_{t-(k-1)d})
        r^{l+1}_t = r^l_t + dense(tanh(a_t) sigmoid(g_t))      h_t = LayerNorm(r^L_t)

        log p(x) = sum{ log p(x_t | h_t) : t = 1, ..., T }

    Indexing: r_t has read x_{t-1}. h_t has read the last 1 + (k - 1) sum{ d } steps, and nothing
    before. The states are the last (k - 1) d inputs of each layer, zeros before the first step.

    Args:
        units: H, the width of each layer.
        num_layers: L.
        kernel_size: k, the number of steps that a convolution reads.
        dilations: d of each layer; 1, 2, 4, ... by default.
        dropout: the dropout rate of the embedding, of the output of each layer and before the
            emission.

    Shapes: call(inputs (B, T, D)) -> Trace with context (B, T, H), kl and log_ratio zero.

    Raises:
        ValueError: a size or dilation is below 1, the rate is outside [0, 1), or there is not one
            dilation per layer.

    Example:
        >>> structure = TCN(units=8, num_layers=3)
        >>> structure.build((None, None, 88))
        >>> structure(tf.zeros([2, 5, 88])).context.shape, structure.receptive_field
        (TensorShape([2, 5, 8]), 8)

    Reference: Bai et al., arXiv:1803.01271; the gates, van den Oord et al., arXiv:1609.03499.
    """

    latent_size = 0

    def __init__(
        self,
        units: int,
        num_layers: int = 8,
        kernel_size: int = 2,
        dilations: Sequence[int] | None = None,
        dropout: float = 0.0,
        **kwargs,
    ):
        options = checked(locals())
        checks.sizes(kernel_size=kernel_size)
        if dilations is not None:
            options["dilations"] = list(dilations)
            for dilation in dilations:
                checks.sizes(dilations=dilation)
            if len(dilations) != num_layers:
                raise ValueError(
                    f"`dilations` must be one per layer, {num_layers}; received {dilations!r}"
                )
        super().__init__(**kwargs)
        self.options = options
        self.context_size, self.kernel_size, self.dropout = units, kernel_size, dropout
        self.dilations = options["dilations"] or [2**i for i in range(num_layers)]

        def dense(width, name):
            return keras.layers.Dense(width, dtype=self.dtype_policy, name=name)

        self.embed = dense(units, "embed")
        self.convolutions = [dense(2 * units, f"convolution_{i}") for i in range(num_layers)]
        self.residuals = [dense(units, f"residual_{i}") for i in range(num_layers)]
        self.norm = keras.layers.LayerNormalization(dtype=self.dtype_policy, name="norm")

    @property
    def receptive_field(self) -> int:
        """The number of steps that a context has read."""
        return 1 + (self.kernel_size - 1) * sum(self.dilations)

    def build(self, input_shape):
        units = self.context_size
        self.embed.build(input_shape)
        for convolution, residual in zip(self.convolutions, self.residuals, strict=True):
            convolution.build((None, None, self.kernel_size * units))
            residual.build((None, None, units))
        self.norm.build((None, None, units))

    def initial_states(self, batch_size):
        sizes = ((self.kernel_size - 1) * dilation for dilation in self.dilations)
        shapes = ([batch_size, size, self.context_size] for size in sizes)
        return {"inputs": [tf.zeros(shape, self.compute_dtype) for shape in shapes]}

    def call(
        self, inputs, targets=None, states=None, noise=None, mask=None, key=None, evidence=None
    ):
        states = self.initial_states(tf.shape(inputs)[0]) if states is None else states
        lengths, steps = sequence_lengths(mask), tf.shape(inputs)[1]

        def dropped(x, place):
            return nn.dropout(x, self.dropout, fold(key, place), axis=0)

        x, ends = dropped(self.embed(inputs), "inputs"), []
        for i, (before, dilation) in enumerate(zip(states["inputs"], self.dilations, strict=True)):
            read = recent.joined(before, x)
            ends.append(recent.last(read, (self.kernel_size - 1) * dilation, lengths))
            # One product of the shifted inputs: XLA has no fast dilated convolution on a CPU, and
            # TensorFlow no gradient of one.
            taps = [read[:, j * dilation :][:, :steps] for j in range(self.kernel_size)]
            a, gate = tf.split(self.convolutions[i](tf.concat(taps, axis=-1)), 2, axis=-1)
            x += dropped(self.residuals[i](tf.tanh(a) * tf.sigmoid(gate)), f"layer {i}")
        zero = tf.zeros(tf.shape(inputs)[:2])
        return Trace(dropped(self.norm(x), "context"), zero, zero, zero, {"inputs": ends})

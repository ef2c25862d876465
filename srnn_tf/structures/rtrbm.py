"""The recurrent temporal restricted Boltzmann machine: biases from the hidden units before."""

from __future__ import annotations

import tensorflow as tf

from srnn_tf.core import checks, nn, scan
from srnn_tf.structures.base import Structure, Trace, fresh_rows, sequence_lengths, where_fresh


class RTRBM(Structure):
    """The chain of hidden biases of a recurrent temporal RBM, without latents of its own.

        s_{t-1} --> b_t --> x_t      b_1 = b_init,   b_t = b + s_{t-1} W'
           ^
        x_{t-1}, b_{t-1}             s_t = sigmoid(x_t W + b_t)

        log p(x) = sum{ log p(x_t | h_t) : t = 1, ..., T },   h_t = b_t

    s_t is the mean of the hidden units, not a draw. The emission `RBM` with
    `hidden_context="direct"` and as many units has W. Its `read` gives x_{t-1} W, and its contexts
    are the biases of the hidden units. The likelihood is exact if that of the emission is.

    Args:
        num_hidden: H.

    Shapes: call(inputs (B, T, H)) -> Trace with context (B, T, H) float32, kl and log_ratio zero.

    Raises:
        ValueError: `num_hidden` is below 1; in `build`, the emission does not read H values.

    Example:
        >>> structure = RTRBM(num_hidden=4)
        >>> structure.build((None, None, 4))
        >>> structure(tf.zeros([2, 5, 4])).context.shape
        TensorShape([2, 5, 4])

    Reference: Sutskever, Hinton and Taylor, NIPS 2008.
    """

    latent_size = 0

    def __init__(self, num_hidden: int = 16, **kwargs):
        checks.sizes(num_hidden=num_hidden)
        super().__init__(**kwargs)
        self.options = {"num_hidden": num_hidden}
        self.num_hidden = self.context_size = num_hidden

    def build(self, input_shape):
        if input_shape[-1] != self.num_hidden:
            raise ValueError(
                f"`structure` rtrbm with num_hidden={self.num_hidden} needs an emission whose "
                f"`read` gives x W of {self.num_hidden} hidden units, such as rbm with this "
                f"`num_hidden` and hidden_context='direct'; received one that reads "
                f"{input_shape[-1]} values"
            )
        size = (self.num_hidden,)
        self.initial_bias = self.add_weight(name="initial_bias", shape=size, initializer="zeros")
        self.bias = self.add_weight(name="bias", shape=size, initializer="zeros")
        self.transition = self.add_weight(name="transition", shape=size * 2)

    def initial_states(self, batch_size):
        return {"fresh": fresh_rows(batch_size), "bias": tf.zeros([batch_size, self.num_hidden])}

    def call(
        self, inputs, targets=None, states=None, noise=None, mask=None, key=None, evidence=None
    ):
        states = self.initial_states(tf.shape(inputs)[0]) if states is None else states
        initial, bias, transition = (
            tf.cast(tf.convert_to_tensor(w), self.compute_dtype)
            for w in (self.initial_bias, self.bias, self.transition)
        )

        def step(fields, states, dense):
            fresh = states["fresh"]
            mean = tf.sigmoid(fields + states["bias"])  # s_{t-1}
            first = dense(fresh[:, None], "initial")
            b = tf.cast(where_fresh(fresh, first, dense(mean, "transition")), tf.float32)
            return b, {"fresh": tf.zeros_like(fresh), "bias": b}

        context, states = scan.unroll(
            step,
            nn.time_major(tf.cast(inputs, tf.float32)),
            states,
            weights={"initial": (initial[None], None), "transition": (transition, bias)},
            lengths=sequence_lengths(mask),
            time_major=True,
        )
        zero = tf.zeros(tf.shape(inputs)[:2])
        return Trace(nn.time_major(context), zero, zero, zero, states)

"""The inference networks of a deep Markov model: q(z_t | z_{t-1}, x)."""

from __future__ import annotations

import functools

import keras
import tensorflow as tf

from srnn_tf.core import checks, nn
from srnn_tf.core.random import fold
from srnn_tf.core.types import State
from srnn_tf.structures.base import RecurrentStack

# name: the recurrences over the data that it reads.
NETWORKS = {
    "st_r": ("right",),
    "st_l": ("left",),
    "st_lr": ("left", "right"),
    "mf_r": ("right",),
    "mf_l": ("left",),
    "mf_lr": ("left", "right"),
}
COMBINERS = ("average", "product")


class InferenceNetwork(keras.layers.Layer):
    """The posterior of a latent, from recurrences over the past and the future of the data.

        l_t = RNN(relu(x_t W + b), l_{t-1}),  r_t = RNN(relu(x_t W + b), r_{t+1})

    Structured networks, `st_`, also read the latent before. With the combiner "average",

        st_r:   q(z_t | .) = N(head(m_t)),  m_t = (tanh(z_{t-1} U + u) + r_t) / 2
        st_l:   the same with l_t
        st_lr:  m_t = (tanh(z_{t-1} U + u) + l_t + r_t) / 3

    With "product" they multiply the prior p(z_t | z_{t-1}) by a message from each recurrence,

        st_r:   q(z_t | .) = p(z_t | z_{t-1}) N(head(r_t)) / constant

    Mean-field networks, `mf_`, do not read it: q(z_t | .) = N(head(r_t)) in mf_r, N(head(l_t)) in
    mf_l, and the product of the two, normalized, in mf_lr.

    Args:
        network: one of `NETWORKS`.
        combiner: "average" or "product", for structured networks.
        latent_size: Z.
        units: H, the width of each recurrence.
        embedding_size: the width of the ReLU layer, which both recurrences share.
        cell: "lstm" or "gru".
        dropout: the dropout rate after the ReLU layer and after the recurrences.

    Raises:
        ValueError: the network or combiner is unknown, or a mean-field one is given a combiner.
    """

    def __init__(
        self,
        network: str,
        combiner: str,
        latent_size: int,
        units: int,
        embedding_size: int,
        cell: str,
        dropout: float,
        **kwargs,
    ):
        checks.choice("inference", network, NETWORKS)
        checks.choice("combiner", combiner, COMBINERS)
        structured, multiplies = network.startswith("st_"), combiner == "product"
        if multiplies and not structured:
            raise ValueError(
                "`combiner` must be 'average' for a mean-field posterior, which does not read "
                f"z_(t-1); received 'product' with inference={network!r}"
            )
        super().__init__(autocast=False, **kwargs)
        self.sides, self.multiplies = NETWORKS[network], multiplies
        self.latent_size, self.units, self.dropout = latent_size, units, dropout
        policy = dict(dtype=self.dtype_policy)
        self.embed = keras.layers.Dense(embedding_size, name="embed", **policy)
        self.recurrences = [
            RecurrentStack(cell, units, 1, dropout, name=side, **policy) for side in self.sides
        ]
        self.combiner, heads = None, [f"{side}_message" for side in self.sides]
        if structured and not multiplies:
            self.combiner, heads = keras.layers.Dense(units, name="combiner", **policy), ["head"]
        self.heads = [keras.layers.Dense(2 * latent_size, name=name, **policy) for name in heads]

    @property
    def filtering(self) -> bool:
        """Whether it reads the past alone."""
        return "right" not in self.sides

    def build(self, input_shape):
        self.embed.build(input_shape)
        for recurrence in self.recurrences:
            recurrence.build((*input_shape[:-1], self.embed.units))
        if self.combiner is not None:
            self.combiner.build((*input_shape[:-1], self.latent_size))
        for head in self.heads:
            head.build((*input_shape[:-1], self.units))

    def call(self, x, state=None, lengths=None, key=None):
        """The recurrences over the data, and the state of the forward one after the last step.

        Args:
            x: x_t, (B, T, D).
            state: the state of the forward recurrence; zeros by default.
            lengths: (B,), the number of real steps of each row.
            key: the key for dropout; None for no dropout.

        Returns:
            A dict of "left" and "right", l_t and r_t, those that the network reads, each (T, B, H);
            and the state, None where there is no forward recurrence.
        """
        x = nn.time_major(x)
        x = nn.project(x, self.embed.kernel, self.embed.bias, self.compute_dtype)
        x = nn.dropout(tf.nn.relu(x), self.dropout, fold(key, "embed"))
        evidence, ends = {}, {}
        for side, recurrence in zip(self.sides, self.recurrences, strict=True):
            forward = side == "left"
            h, ends[side] = recurrence(
                x, state if forward else None, lengths=lengths, reverse=not forward
            )
            evidence[side] = nn.dropout(h, self.dropout, fold(key, side))
        return evidence, ends.get("left")

    def zero_states(self, batch_size) -> State:
        """The state of the forward recurrence before the first step."""
        return self.recurrences[0].zero_states(batch_size)

    def part(self, evidence: dict[str, tf.Tensor]) -> nn.Part:
        """The posterior inside a loop: `step(inputs_t, z_{t-1}, p_t, dense)`, mean, log variance.

        Args:
            evidence: "left" and "right", each (T, B, H).

        The p_t of a step, the prior's mean and log variance, is read if `multiplies`.

        Raises:
            ValueError: the evidence is that of another network.
        """
        if set(evidence) != set(self.sides):
            raise ValueError(
                f"`evidence` must have {', '.join(self.sides)}; received {', '.join(evidence)}"
            )
        hs = [tf.cast(evidence[side], self.compute_dtype) for side in self.sides]
        if self.combiner is not None:
            count = 1 + len(hs)

            def averaged(h, z, p, dense):
                m = tf.tanh(dense(z, "combiner")) / count + h
                return nn.softplus_gaussian(dense(m, "head"))

            layers = (self.combiner, self.heads[0])
            weights = {
                layer.name: tuple(
                    tf.cast(w, self.compute_dtype) for w in (layer.kernel, layer.bias)
                )
                for layer in layers
            }
            return nn.Part(tf.add_n(hs) / count, weights, averaged)
        messages = [
            nn.softplus_gaussian(nn.project(h, head.kernel, head.bias, self.compute_dtype))
            for h, head in zip(hs, self.heads, strict=True)
        ]
        message = functools.reduce(nn.gaussian_product, messages)

        def step(message, z, p, dense):
            return nn.gaussian_product(p, message) if self.multiplies else message

        return nn.Part(message, {}, step)

"""Frames in two parts, the second given the first: the delta-RNN."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral

import keras
import numpy as np
import tensorflow as tf

from srnn_tf.core import checks, nn, random
from srnn_tf.emissions.base import Emission
from srnn_tf.emissions.chain import Chain
from srnn_tf.emissions.factorized import Factorized

KINDS = ("random", "interleave")


class DeltaSplit(Emission):
    """The delta-RNN: one part of a frame given the context, the rest given both.

        p(x | h) = p(x_a | h) p(x_b | x_a, h)        values independent within a and within b

    It is equivalent to a stochastic model whose latent is a part of the data, z = x_a
    (docs/proposition-1.md).

    Args:
        event_size: D.
        likelihood: the likelihood of the values: a `ValueLikelihood`, its name or its config.
        kind: "random" or "interleave". With "random", x_a is a fixed random subset of `split_size`
            values. With "interleave", x_a is every `stride`-th value, from the first on.
        split_size: the number of values in x_a, for "random"; a quarter of D by default.
        stride: the stride of "interleave"; 2 by default.
        indices: the indices of x_a, for "random"; drawn with `seed` by default. They are part of
            the config.
        seed: the seed of `indices`; 0 by default.
        dropout: the dropout rate before the last layer of x_b.

    Shapes: call(context (B, T, H)) -> `tfd.Distribution`, batch (B, T), event (D,). Log densities
    are nats, float32. The context of x_b is an MLP of [h, x_a]: two layers of width H without bias,
    each followed by layer normalization and ReLU.

    Raises:
        ValueError: `event_size` is below 2, `split_size` is outside 1 ... D - 1, `stride` is
            outside 2 ... D, `indices` are invalid, an argument belongs to the other kind, or the
            likelihood is not a `ValueLikelihood`.

    Example:
        >>> emission = DeltaSplit(88, "bernoulli", kind="random", split_size=11)
        >>> emission(tf.zeros([2, 5, 8])).log_prob(tf.ones([2, 5, 88])).shape
        TensorShape([2, 5])

    Reference: Lai et al., arXiv:1902.01388, section 4.4.
    """

    def __init__(
        self,
        event_size: int,
        likelihood="bernoulli",
        kind: str = "random",
        split_size: int | None = None,
        stride: int | None = None,
        indices: Sequence[int] | None = None,
        seed: int | None = None,
        dropout: float = 0.0,
        **kwargs,
    ):
        super().__init__(event_size, likelihood, **kwargs)
        checks.choice("kind", kind, KINDS)
        checks.rate(dropout=dropout)
        checks.sizes(minimum=2, event_size=event_size)
        checks.sizes(minimum=0, seed=seed or 0)
        if kind == "interleave":
            _refuse(kind, split_size=split_size, indices=indices, seed=seed)
            stride = 2 if stride is None else stride
            checks.between("stride", stride, 2, event_size)
            first = np.arange(0, event_size, stride)
            self.options = {"kind": kind, "stride": stride, "dropout": dropout}
        else:
            _refuse(kind, stride=stride)
            first = _random_indices(event_size, split_size, indices, seed)
            self.options = {"kind": kind, "indices": first.tolist(), "dropout": dropout}
        rest = np.setdiff1d(np.arange(event_size), first)
        self.dropout, self.first, self.rest = dropout, first, rest
        likelihood = self.likelihood
        if not hasattr(likelihood, "params_size"):
            raise ValueError(
                "`likelihood` must be one of single values, such as 'bernoulli' or "
                f"'gaussian_mixture'; received {type(likelihood).__name__}"
            )
        policy = dict(dtype=self.dtype_policy)
        self.first_head = Factorized(len(first), likelihood, name="first_head", **policy)
        self.rest_head = Factorized(len(rest), likelihood, name="rest_head", **policy)

    def build(self, input_shape):
        width = input_shape[-1]
        policy = dict(dtype=self.dtype_policy)
        self.hidden = [
            keras.layers.Dense(width, use_bias=False, name=f"hidden_{i}", **policy)
            for i in range(2)
        ]
        self.norms = [
            keras.layers.LayerNormalization(epsilon=1e-5, name=f"norm_{i}", **policy)
            for i in range(2)
        ]
        self.hidden[0].build((None, width + len(self.first)))
        self.hidden[1].build((None, width))
        for layer in self.norms:
            layer.build((None, width))
        for head in (self.first_head, self.rest_head):
            head.build((None, width))

    def call(self, context, temperature=1.0, key=None):
        def score(context, x):
            first, rest = (tf.gather(x, part, axis=-1) for part in (self.first, self.rest))
            log_prob = self.first_head(context, temperature=temperature).log_prob(first)
            return log_prob + self._rest(context, first, temperature, key).log_prob(rest)

        def draw(context, draws):
            def take(part, index):
                if draws is None:
                    return part.greedy()
                return part.sample(seed=random.fold_in(draws, index))

            first = take(self.first_head(context, temperature=temperature), 0)
            rest = take(self._rest(context, first, temperature, key), 1)
            order = np.argsort(np.concatenate([self.first, self.rest]))
            return tf.gather(tf.concat([first, rest], axis=-1), order, axis=-1)

        return Chain(context, self.event_size, score, draw)

    def _rest(self, context, first, temperature, key):
        """The distribution of x_b, from contexts (N, H) and x_a."""
        x = tf.concat([context, tf.cast(first, context.dtype)], axis=-1)
        for dense, norm in zip(self.hidden, self.norms, strict=True):
            x = tf.nn.relu(norm(dense(x)))
        x = nn.dropout(x, self.dropout, key, axis=0)
        return self.rest_head(x, temperature=temperature)

    @property
    def order(self):
        return (*self.first.tolist(), *self.rest.tolist())

    def get_config(self):
        return {**super().get_config(), **self.options}


def _refuse(kind, **others):
    for name, value in others.items():
        if value is not None:
            raise ValueError(f"`{name}` must be None with kind={kind!r}; received {value!r}")


def _random_indices(event_size, split_size, indices, seed):
    """The indices of x_a, as an array."""
    if indices is None:
        size = max(1, event_size // 4) if split_size is None else split_size
        checks.between("split_size", size, 1, event_size - 1)
        # NumPy promises that these draws stay the same in all of its versions.
        return np.random.RandomState(seed or 0).permutation(event_size)[:size]
    received = list(indices) if isinstance(indices, (Sequence, np.ndarray)) else []
    known = [type(i) is not bool and isinstance(i, Integral) for i in received]
    known += [0 <= i < event_size for i in received if all(known)]
    if not known or not all(known) or not len(set(received)) == len(received) < event_size:
        raise ValueError(
            f"`indices` must be 1 to {event_size - 1} different integers from 0 to "
            f"{event_size - 1}; received {indices!r}"
        )
    if split_size not in (None, len(received)):
        raise ValueError(
            f"`split_size` must be the number of `indices`, {len(received)}; "
            f"received {split_size!r}"
        )
    return np.array(received)

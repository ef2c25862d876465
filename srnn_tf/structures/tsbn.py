"""The temporal sigmoid belief network: binary latents that read one another and the data before."""

from __future__ import annotations

import keras
import tensorflow as tf

from srnn_tf.core import checks, nn, recent, scan
from srnn_tf.structures.base import (
    Structure,
    Trace,
    fresh_rows,
    fresh_steps,
    sequence_lengths,
    where_fresh,
)


class TSBN(Structure):
    """A temporal sigmoid belief network: a Markov chain of J bits.

        h_{t-1} --> h_t --> x_t    p(h_t | .) = Bern(sigmoid(h_{t-1} W1 + x_{t-1} W3 + b))
                     ^       ^     q(h_t | .) = Bern(sigmoid(h_{t-1} U1 + x_t U2 + x_{t-1} U3 + d))
        x_{t-1} -----+-------+     context = [h_t, x_{t-1}, 1 in the first step and 0 after it]

        p(x, h) = prod{ p(x_t | context_t) p(h_t | h_{t-1}, x_{t-1}) : t = 1, ..., T }
        q(h | x) = prod{ q(h_t | h_{t-1}, x_t, x_{t-1}) : t = 1, ..., T }

    In the first step there is no h_{t-1} and no x_{t-1}, and the biases are others. Of order n,
    h_{t-1} stands for h_{t-1}, ..., h_{t-n}, and x_{t-1} likewise. A draw is h_t = [Phi(noise) <
    sigmoid(logit)], so that a temperature scales the probit of a bit. No gradient passes through
    it: training uses `Trace.score` and the baseline A1 tanh(A2 x_t).

    Args:
        latent_size: J.
        order: n.
        read_previous: whether x_{t-1} is read; False for the hidden Markov SBN (HMSBN).
        baseline_size: the width of A2.

    Shapes: call(inputs (B, T, D), targets (B, T, D), noise (B, T, J)) -> Trace, context
    (B, T, J + n D + 1), or (B, T, J + 1) without x_{t-1}. `posterior_mean` is the probability of
    each bit.

    Raises:
        ValueError: a size is below 1.

    Example:
        >>> structure = TSBN(latent_size=3)
        >>> structure.build((None, None, 88))
        >>> x = tf.zeros([2, 5, 88])
        >>> structure(x, targets=x, noise=tf.zeros([2, 5, 3])).context.shape
        TensorShape([2, 5, 92])

    Reference: Gan et al., arXiv:1509.07087.
    """

    score_function = True

    def __init__(
        self,
        latent_size: int,
        order: int = 1,
        read_previous: bool = True,
        baseline_size: int = 100,
        **kwargs,
    ):
        checks.sizes(latent_size=latent_size, order=order, baseline_size=baseline_size)
        super().__init__(**kwargs)
        self.options = {
            "latent_size": latent_size,
            "order": order,
            "read_previous": bool(read_previous),
            "baseline_size": baseline_size,
        }
        self.latent_size, self.order, self.read_previous = latent_size, order, bool(read_previous)
        dense = {"dtype": self.dtype_policy}
        self.baseline = [
            keras.layers.Dense(baseline_size, "tanh", name="baseline_hidden", **dense),
            keras.layers.Dense(1, name="baseline", **dense),
        ]

    def build(self, input_shape):
        size, width = self.latent_size, input_shape[-1]
        self.width = width  # D
        self.read_width = self.order * width if self.read_previous else 0  # of x_{t-1}
        self.context_size = size + self.read_width + 1
        self.baseline[0].build((None, None, width))
        self.baseline[1].build((None, None, self.baseline[0].units))

        def weights(name, read):
            """Kernels of h_{t-1} and of what is read besides, the bias, and that of the start."""
            shapes: dict[str, tuple[int, ...]] = {
                "states": (self.order * size, size),
                "inputs": (read, size),
                "bias": (size,),
                "initial_bias": (size,),
            }
            return {
                part: self.add_weight(
                    name=f"{name}_{part}",
                    shape=shape,
                    initializer="glorot_uniform" if len(shape) > 1 else "zeros",
                )
                for part, shape in shapes.items()
                if shape[0]
            }

        self.prior = weights("prior", self.read_width)
        self.posterior = weights("posterior", self.read_width)
        self.evidence_kernel = self.add_weight(name="posterior_targets", shape=(width, size))

    def initial_states(self, batch_size):
        states = {
            "fresh": fresh_rows(batch_size),
            "h": tf.zeros([batch_size, self.order, self.latent_size]),  # the oldest first
        }
        if self.read_width and self.order > 1:
            states["x"] = tf.zeros([batch_size, self.order - 1, self.width])
        return states

    def call(
        self, inputs, targets=None, states=None, noise=None, mask=None, key=None, evidence=None
    ):
        steps = tf.shape(inputs)[1]
        states = self.initial_states(tf.shape(inputs)[0]) if states is None else states
        lengths, fresh = sequence_lengths(mask), fresh_steps(states["fresh"], steps)
        # There is no x_0.
        x, read = where_fresh(fresh, tf.zeros([1]), nn.time_major(tf.cast(inputs, tf.float32))), {}
        if "x" in states:
            joined = recent.joined(states["x"], nn.time_major(x))
            read["x"] = recent.last(joined, self.order - 1, lengths)
            x = nn.time_major(self._lags(joined, steps))
        known_p = self._known(self.prior, fresh, x)
        known = known_p
        if targets is not None:
            product = self._product(nn.time_major(targets), self.evidence_kernel)
            known = self._known(self.posterior, fresh, x) + product
        drawn = self.prior if targets is None else self.posterior
        kernel = tf.cast(tf.convert_to_tensor(drawn["states"]), self.compute_dtype)
        uniform = 0.5 * tf.math.erfc(-nn.time_major(noise) * 0.5**0.5)  # Phi(noise)

        def step(inputs, h, dense):
            before = tf.reverse(h, [1])  # the last one first
            before = tf.reshape(before, [-1, self.order * self.latent_size])
            logits = inputs["known"] + tf.cast(dense(before, "states"), tf.float32)
            bits = tf.cast(inputs["uniform"] < tf.sigmoid(logits), tf.float32)
            return (bits, logits), tf.concat([h[:, 1:], bits[:, None]], axis=1)

        (h, q), last = scan.unroll(
            step,
            {"known": known, "uniform": uniform},
            states["h"],
            weights={"states": (kernel, None)},
            lengths=lengths,
            time_major=True,
        )
        p = q
        if targets is not None:  # the loop does not read the prior
            joined = recent.joined(states["h"], nn.time_major(h))
            before = nn.time_major(self._lags(joined, steps))
            p = known_p + self._product(before, self.prior["states"])
        parts = [h, x, fresh[..., None]] if self.read_width else [h, fresh[..., None]]
        context = tf.cast(tf.concat(parts, axis=-1), self.compute_dtype)
        states = {"fresh": tf.zeros_like(states["fresh"]), "h": last, **read}
        return self._trace(context, h, q, p, states, targets)

    def _trace(self, context, h, q, p, states, targets):
        context, h, q, p = (nn.time_major(a) for a in (context, h, q, p))
        normalizer = tf.math.softplus(p) - tf.math.softplus(q)
        kl = tf.sigmoid(q) * (q - p) + normalizer
        total, drawn = tf.reduce_sum(kl, axis=-1), {}
        if targets is not None:
            drawn["score"] = tf.reduce_sum(h * q - tf.math.softplus(q), axis=-1)
            baseline = self.baseline[1](self.baseline[0](targets))[..., 0]
            drawn["baseline"] = tf.cast(baseline, tf.float32)
        return Trace(
            context=context,
            kl=total,
            log_ratio=tf.reduce_sum(h * (q - p) + normalizer, axis=-1),
            auxiliary=tf.zeros_like(total),
            states=states,
            posterior_mean=tf.sigmoid(q),
            posterior_log_variance=-tf.math.softplus(q) - tf.math.softplus(-q),
            kl_per_unit=kl,
            **drawn,
        )

    def _known(self, weights, fresh, x):
        """The part of the logits that needs no h, (T, B, J)."""
        bias, initial = (tf.convert_to_tensor(weights[n]) for n in ("bias", "initial_bias"))
        later = tf.zeros_like(fresh)[..., None] + bias
        if self.read_width:
            later += self._product(x, weights["inputs"])
        return where_fresh(fresh, initial, later)

    def _product(self, x, kernel):
        zero = tf.zeros([kernel.shape[1]])
        return tf.cast(nn.project(x, kernel, zero, self.compute_dtype), tf.float32)

    def _lags(self, joined, steps):
        """The n values before each step, the last one first, (B, T, n F)."""
        starts = range(self.order - 1, -1, -1)
        return tf.concat([joined[:, s : s + steps] for s in starts], axis=-1)

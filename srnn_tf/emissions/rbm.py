"""A restricted Boltzmann machine whose biases depend on the context."""

from __future__ import annotations

import keras
import tensorflow as tf

from srnn_tf.core import checks, random, scan
from srnn_tf.emissions.base import Emission
from srnn_tf.emissions.chain import Chain, dims
from srnn_tf.emissions.unnormalized import Unnormalized

HIDDEN_CONTEXTS = ("dense", "direct")
# The most hidden units that are summed out: of scores, of training, and with visible biases that
# depend on the context, which need a sum over the values for each state of the hidden units.
MOST_SCORED, MOST_TRAINED, MOST_WITH_CONTEXT = 20, 16, 10
# The most numbers of a block of rows: 16 MB of float32.
BLOCK = 2**22


class RBM(Emission):
    """A restricted Boltzmann machine of H hidden bits s, given the context: bits only.

        p(x | h) = sum{ exp(x.bv + s.bh + x.W s) : s } / Z        bv = bv_0 [+ V h]
                 = exp(-F(x)) / Z                                 bh = bh_0 + U h,  or h itself
        F(x) = -x.bv - sum{ softplus(bh_j + x.W_j) : j = 1, ..., H }

    With `normalized`, Z is a sum over the 2^H states of the hidden bits, given which the values are
    independent. So log densities, their gradients and draws are exact. Without, H may be large,
    training follows contrastive divergence, and log p(x) can only be estimated: see `Unnormalized`.
    With `RNN` it is the RNN-RBM; with `RTRBM`, whose contexts are bh, the recurrent temporal RBM.

    Args:
        event_size: D.
        likelihood: must be "bernoulli".
        num_hidden: H.
        visible_context: whether bv depends on the context.
        hidden_context: "dense", or "direct" where the context is bh. A structure then reads x W.
        normalized: whether Z is computed.
        cd_steps: k, the Gibbs steps of contrastive divergence, if not `normalized`.
        gibbs_steps: the Gibbs steps of a draw, if not `normalized`.

    Shapes: call(context (B, T, C)) -> `tfd.Distribution`, batch (B, T), event (D,), C = H with
    `hidden_context="direct"`. Log densities are nats, float32. A temperature t divides bv, bh and W
    by t. `greedy()` is the frame of the most probable pair of a frame and hidden bits.

    Raises:
        ValueError: a size is below 1, the likelihood is not of bits, or with `normalized` there are
            more than 20 hidden units (10 with `visible_context`); in training, more than 16; in
            `build`, "direct" contexts are not H values.

    Example:
        >>> emission = RBM(88, num_hidden=4)
        >>> emission(tf.zeros([2, 5, 8])).log_prob(tf.ones([2, 5, 88])).shape
        TensorShape([2, 5])

    Reference: Boulanger-Lewandowski et al., arXiv:1206.6392; Sutskever et al., NIPS 2008.
    """

    def __init__(
        self,
        event_size,
        likelihood="bernoulli",
        num_hidden=10,
        visible_context=True,
        hidden_context="dense",
        normalized=True,
        cd_steps=15,
        gibbs_steps=25,
        **kwargs,
    ):
        checks.sizes(num_hidden=num_hidden, cd_steps=cd_steps, gibbs_steps=gibbs_steps)
        checks.choice("hidden_context", hidden_context, HIDDEN_CONTEXTS)
        super().__init__(event_size, likelihood, **kwargs)
        if not all(value.binary for value in self.likelihood.values(event_size)):
            raise ValueError(
                "`likelihood` of the emission rbm must be bernoulli, that of bits; received "
                f"{type(self.likelihood).__name__}"
            )
        most = MOST_WITH_CONTEXT if visible_context else MOST_SCORED
        if normalized and num_hidden > most:
            raise ValueError(
                f"`num_hidden` must be at most {most} with normalized=True and "
                f"visible_context={visible_context}, which sums over 2^num_hidden states; received "
                f"{num_hidden}: use normalized=False for contrastive divergence"
            )
        self.num_hidden, self.normalized = num_hidden, bool(normalized)
        self.cd_steps, self.gibbs_steps = cd_steps, gibbs_steps
        dense = {"dtype": self.dtype_policy}
        self.visible = self.hidden = None
        if visible_context:
            self.visible = keras.layers.Dense(event_size, name="visible", **dense)
        if hidden_context == "dense":
            self.hidden = keras.layers.Dense(num_hidden, name="hidden", **dense)

    def build(self, input_shape):
        if self.hidden is not None:
            self.hidden.build(input_shape)
        elif input_shape[-1] != self.num_hidden:
            raise ValueError(
                f"`emission` rbm with hidden_context='direct' needs contexts of "
                f"num_hidden={self.num_hidden} biases, those of the structure rtrbm with this "
                f"`num_hidden`; received contexts of {input_shape[-1]} values: for other "
                "structures use hidden_context='dense'"
            )
        if self.visible is not None:
            self.visible.build(input_shape)
        else:
            self.visible_bias = self.add_weight(
                name="visible_bias", shape=(self.event_size,), initializer="zeros"
            )
        self.kernel = self.add_weight(
            name="kernel",
            shape=(self.event_size, self.num_hidden),
            initializer=keras.initializers.RandomNormal(stddev=0.01),
        )

    @property
    def read_size(self):
        return self.event_size if self.hidden is not None else self.num_hidden

    def read(self, x):
        if self.hidden is not None:
            return x
        return tf.tensordot(tf.cast(x, tf.float32), tf.convert_to_tensor(self.kernel), 1)

    def call(self, context, temperature=1.0, key=None):
        if not self.normalized:
            params = self._params(context, temperature)
            return _Annealed(*params, dims(context)[:-1], self.cd_steps, self.gibbs_steps)
        if key is not None and self.num_hidden > MOST_TRAINED:
            raise ValueError(
                f"`num_hidden` must be at most {MOST_TRAINED} in training with normalized=True; "
                f"received {self.num_hidden}: use normalized=False to train"
            )

        def score(context, x):
            visible, hidden, kernel = self._params(context, temperature)
            return -_free_energy(x, visible, hidden, kernel) - log_partition(
                visible, hidden, kernel
            )

        def draw(context, seed):
            visible, hidden, kernel = self._params(context, temperature)
            bits = hidden_states(self.num_hidden)
            fields = tf.matmul(bits, kernel, transpose_b=True)
            # A value is summed out, log(1 + e^x), or is the more probable one, max(0, x).
            summed = tf.nn.relu if seed is None else tf.math.softplus
            logits = _log_weights(hidden, _of_values(visible, fields, summed), bits)
            if seed is not None:
                u = random.uniform(tf.shape(logits), random.fold_in(seed, 0))
                logits -= tf.math.log(-tf.math.log(u))
            x = visible + tf.gather(fields, tf.argmax(logits, axis=-1))
            half = tf.fill(tf.shape(x), 0.5)
            u = half if seed is None else random.uniform(tf.shape(x), random.fold_in(seed, 1))
            return tf.cast(u < tf.sigmoid(x), tf.float32)

        return Chain(context, self.event_size, score, draw)

    def _params(self, context, temperature):
        """bv, (..., D) or (D,), bh, (..., H), and W, (D, H), float32."""
        visible = self.visible_bias if self.visible is None else self.visible(context)
        hidden = context if self.hidden is None else self.hidden(context)
        params = (visible, hidden, self.kernel)
        return tuple(tf.cast(tf.convert_to_tensor(p), tf.float32) / temperature for p in params)

    def get_config(self):
        return {
            **super().get_config(),
            "num_hidden": self.num_hidden,
            "visible_context": self.visible is not None,
            "hidden_context": HIDDEN_CONTEXTS[self.hidden is None],
            "normalized": self.normalized,
            "cd_steps": self.cd_steps,
            "gibbs_steps": self.gibbs_steps,
        }


def _free_energy(x, visible, hidden, kernel):
    units = tf.math.softplus(hidden + tf.tensordot(x, kernel, 1))
    return -tf.reduce_sum(x * visible, axis=-1) - tf.reduce_sum(units, axis=-1)


def hidden_states(num_hidden: int) -> tf.Tensor:
    """All states of the hidden bits, (2^H, H) float32."""
    index, place = tf.range(2**num_hidden)[:, None], tf.range(num_hidden)
    return tf.cast(tf.bitwise.bitwise_and(tf.bitwise.right_shift(index, place), 1), tf.float32)


def _of_values(visible, fields, summed=tf.math.softplus):
    """The values summed out given each state s: sum{ softplus(bv_i + W_i.s) : i }, (..., 2^H)."""
    return tf.reduce_sum(summed(visible[..., None, :] + fields), axis=-1)


def _log_weights(hidden, of_values, bits):
    """log p(s) of each state up to log Z: (N, 2^H)."""
    return tf.matmul(hidden, bits, transpose_b=True) + of_values


def log_partition(visible: tf.Tensor, hidden: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """log Z of each row, (N,) nats, by a sum over all states of the hidden bits.

        Z = sum{ exp(s.bh + sum{ softplus(bv_i + W_i.s) : i = 1, ..., D }) : s }

    The inner sum is computed once where bv is the same for all rows. Memory holds a block of rows
    at a time, also in the backward pass, which recomputes it.

    Args:
        visible: bv, (N, D), or (D,) for all rows.
        hidden: bh, (N, H).
        kernel: W, (D, H).
    """
    bits = hidden_states(kernel.shape[1])
    fields = tf.matmul(bits, kernel, transpose_b=True)
    each = visible.shape.rank > 1
    shared = fields if each else _of_values(visible, fields)
    inputs = (hidden, visible) if each else (hidden,)

    def block(inputs, shared, training=False):
        of_values = _of_values(inputs[1], shared) if each else shared
        return tf.reduce_logsumexp(_log_weights(inputs[0], of_values, bits), axis=-1), shared

    rows = dims(hidden)[0]
    numbers = 2 ** kernel.shape[1] * (kernel.shape[0] if each else 1)
    size = max(1, BLOCK // numbers)
    if isinstance(rows, int) and rows <= size:
        return block(inputs, shared)[0]
    count = -(-rows // size)
    if not isinstance(rows, int):
        count = tf.maximum(count, 1)
    size = -(-rows // count)
    blocks = tuple(
        tf.reshape(tf.pad(a, [[0, count * size - rows], [0, 0]]), [count, size, a.shape[-1]])
        for a in inputs
    )
    # The table is a state, since gradients reach states: it is carried unchanged.
    nats, _ = scan.unroll(block, blocks, shared, time_major=True)
    return tf.reshape(nats, [-1])[:rows]


class _Annealed(Unnormalized):
    """The RBM of each context, on the path W -> b W: at b = 0 all bits are independent."""

    def __init__(self, visible, hidden, kernel, batch_shape, cd_steps, num_steps):
        self.visible, self.hidden, self.kernel = visible, hidden, kernel
        values, units = kernel.shape
        params = {"visible": visible, "hidden": hidden, "kernel": kernel}
        super().__init__(batch_shape, values, values + units, cd_steps, num_steps, **params)

    def free_energy(self, x, beta=1.0):
        return _free_energy(x, self.visible, self.hidden, beta * self.kernel)

    def transition(self, x, uniform, beta=1.0):
        of_units, of_values = tf.split(uniform, self.kernel.shape[::-1], axis=-1)
        logits = self.hidden + beta * tf.tensordot(x, self.kernel, 1)
        s = tf.cast(of_units < tf.sigmoid(logits), tf.float32)
        logits = self.visible + beta * tf.tensordot(s, tf.transpose(self.kernel), 1)
        return tf.cast(of_values < tf.sigmoid(logits), tf.float32)

    def initial(self, uniform):
        bits = uniform[..., : self.event_size] < tf.sigmoid(self.visible)
        return tf.cast(bits, tf.float32)

    def initial_log_partition(self):
        parts = (tf.reduce_sum(tf.math.softplus(b), axis=-1) for b in (self.visible, self.hidden))
        return sum(parts)

    def pseudo_log_likelihood(self, x):
        # A flip changes the fields of the hidden units by a row of W: D H numbers per frame, not
        # D^2 H.
        fields = self.hidden + tf.tensordot(x, self.kernel, 1)
        units = tf.reduce_sum(tf.math.softplus(fields), axis=-1)
        flips = 1.0 - 2.0 * x
        columns = tf.transpose(flips, [x.shape.rank - 1, *range(x.shape.rank - 1)])

        def one(given):
            flip, row = given
            flipped = tf.math.softplus(fields + flip[..., None] * row)
            return units - tf.reduce_sum(flipped, axis=-1)

        change = tf.map_fn(one, (columns, self.kernel), fn_output_signature=tf.float32)
        change = tf.transpose(change, [*range(1, x.shape.rank), 0]) - flips * self.visible
        return tf.reduce_sum(tf.math.log_sigmoid(change), axis=-1)

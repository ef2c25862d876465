"""Z-Forcing: a VRNN whose posterior reads the future, with auxiliary training terms."""

from __future__ import annotations

import keras
import tensorflow as tf

from srnn_tf.core import checks, nn, recurrent, scan
from srnn_tf.core.random import fold
from srnn_tf.core.types import Size, State
from srnn_tf.structures.base import (
    Cell,
    Draws,
    Embedding,
    RecurrentStack,
    Structure,
    cell_trace,
    checked,
    sequence_lengths,
)
from srnn_tf.structures.vrnn import VRNNCell

TIMINGS = ("appendix", "goyal")
OWN = ("alpha", "beta", "timing")  # arguments that the cell does not have


class Untracked:
    """A layer that is a model's, which Keras is not to count among those of whoever holds this."""

    def __init__(self, layer: keras.layers.Layer):
        self.layer = layer


class ZForcingCell(Cell):
    """One step of Z-Forcing with `timing="goyal"`: draw the latent, then update the state.

        p(z_t | v_{t-1}), q(z_t | b_t, v_{t-1})      v_t = RNN([x_{t-1}, linear(z_t)], v_{t-1})

    A cell for `scan.unroll`: `call(inputs, states) -> (Draws, states)`; `Draws.context` is v_t.
    With `timing="appendix"` the cell is a `VRNNCell` whose evidence is b_t.

    Args:
        units: H.
        latent_size: Z.
        embedding_size: E, the width of x.
        evidence_size: F, the width of b_t; H by default.
        hidden_size, cell, dropout: as in `ZForcing`.

    Shapes: inputs `x` (B, E), the embedded x_{t-1}; `noise` (B, Z); `evidence` (B, F), b_t, omitted
    to draw from the prior; `seed` (2,), omitted for no dropout. State `recurrent`.

    Example:
        >>> cell = ZForcingCell(units=8, latent_size=3, embedding_size=4)
        >>> draws, states = cell(
        ...     {"x": tf.zeros([2, 4]), "noise": tf.zeros([2, 3])}, cell.get_initial_state(2))
        >>> draws.context.shape
        TensorShape([2, 8])

    Reference: Goyal et al., arXiv:1711.05411.
    """

    def __init__(
        self,
        units: int,
        latent_size: int,
        embedding_size: int,
        evidence_size: int | None = None,
        hidden_size: int = 0,
        cell: str = "lstm",
        dropout: float = 0.0,
        **kwargs,
    ):
        super().__init__(checked(locals()), **kwargs)
        with_output = [n for n, layer in recurrent.RECURRENT.items() if layer.output_is_state]
        if cell not in with_output:
            raise ValueError(
                "`cell` must be one whose state has its last output, which prior and posterior "
                f"read with timing='goyal': {', '.join(with_output)}; received {cell!r}"
            )
        self.evidence_size = units if evidence_size is None else evidence_size
        policy = dict(dtype=self.dtype_policy)
        self.latent_embedding = keras.layers.Dense(
            hidden_size or embedding_size, name="latent_embedding", **policy
        )
        self.recurrent = recurrent.RECURRENT[cell](units, name="recurrent", **policy)
        self.prior, self.posterior = self.head("prior"), self.head("posterior")

    def build(self, input_shape=None):
        self.latent_embedding.build((None, None, self.latent_size))
        self.recurrent.build((None, None, self.embedding_size + self.latent_embedding.units))
        self.prior.build((None, None, self.units))
        self.posterior.build((None, None, self.evidence_size + self.units))

    def get_initial_state(self, batch_size: Size) -> dict[str, State]:
        return {"recurrent": self.recurrent.zero_state(batch_size)}

    def over_time(self, x, noise, evidence, states, lengths=None, key=None):
        from_data = evidence is not None
        part = self.recurrent.part(x)
        head = (self.posterior if from_data else self.prior).part(
            evidence, tf.shape(part.inputs)[:2], fold(key, "drawn")
        )
        linear = (self.latent_embedding.kernel, self.latent_embedding.bias)
        linear = tuple(tf.cast(w, self.compute_dtype) for w in linear)

        def step(inputs, states, dense):
            q = head.step(inputs["head"], states["recurrent"][0], dense)
            z = nn.gaussian_draw(q, inputs["noise"])
            v, state = part.step(inputs["x"], dense(z, "linear"), states["recurrent"], dense)
            return (v, z, q), {"recurrent": state}

        (v, z, q), ends = scan.unroll(
            step,
            {"x": part.inputs, "head": head.inputs, "noise": noise},
            states,
            weights={"linear": linear} | part.weights | head.weights,
            lengths=lengths,
            time_major=True,
        )
        p = q
        if from_data:  # the loop did not read it
            before = tf.concat([states["recurrent"][0][None], v[:-1]], axis=0)
            p = self.prior(before, key=fold(key, "prior"))
        return Draws(v, z, q, p), ends


class ZForcing(Structure):
    """Z-Forcing: the posterior reads a backward recurrence, and the latents learn to predict it.

        x_{t-1} --> v_{t-1} --> z_t --> x_t      v_t = RNN([x_t, z_t], v_{t-1})
                    ^   |        |       ^       b_t = RNN(x_t, b_{t+1})
        z_{t-1} ----+   +--------+-------+       h_t = [v_{t-1}, z_t]

        p(x, z) = prod{ p(x_t | h_t) p(z_t | v_{t-1}) : t = 1, ..., T }
        q(z | x) = prod{ q(z_t | b_t, v_{t-1}) : t = 1, ..., T }

    This is `timing="appendix"`, as in the appendix of the paper. A step first computes v_{t-1},
    from x_{t-1} and z_{t-1} (z_0 = 0). With `timing="goyal"`, as in the code of Goyal et al. and of
    the paper, prior and posterior read the state before it has read x_{t-1}:

        v_t = RNN([x_{t-1}, linear(z_t)], v_{t-1})      h_t = v_t

    Training adds these terms to its objective; no reported bound includes them:

        alpha log p(b_t | z_t) + beta log p(x_{t-1} | b_t)      (the second from t = 2 on)

    p(b_t | z_t) is a diagonal Gaussian, whose gradient does not reach b_t. p(x_{t-1} | b_t) has the
    model's likelihood, with independent values. Its gradient trains the backward recurrence. A
    structure alone, without a model that gives it this head (`connect`), lacks the second cost.

    Args:
        units: H, the width of the two recurrences.
        latent_size: Z.
        hidden_size: the width of the hidden layer of prior, posterior and p(b_t | z_t), and of
            linear(z_t). With 0, prior and posterior have no hidden layer, that of p(b_t | z_t) has
            width H, and linear(z_t) has width `embedding_size`.
        embedding_size: E, the width of the linear embedding of x, which both recurrences share.
        alpha: the weight of log p(b_t | z_t), summed over H; 0, .0025 and .005 in the paper.
        beta: the weight of log p(x_{t-1} | b_t); 0, .0025 and .005 in the paper.
        timing: "appendix" or "goyal".
        cell: "lstm", "gru", "simple" or "lru".
        dropout: the dropout rate after the embedding, before each layer of prior, posterior and
            p(b_t | z_t), and before the emission.

    Shapes: call(inputs (B, T, D), targets (B, T, D), noise (B, T, Z)) -> Trace, context
    (B, T, H + Z), or (B, T, H) with `timing="goyal"`.

    Raises:
        ValueError: a size is below 1 (`hidden_size` below 0), the rate is outside [0, 1), `alpha`
            or `beta` is below 0, the cell or timing is unknown, or the cell is "lru" with
            `timing="goyal"`, which needs a state that has the last output.

    Example:
        >>> structure = ZForcing(units=8, latent_size=3, embedding_size=4, alpha=0.0025)
        >>> structure.build((None, None, 88))
        >>> x = tf.zeros([2, 5, 88])
        >>> structure(x, targets=x, noise=tf.zeros([2, 5, 3])).auxiliary.shape
        TensorShape([2, 5])

    Reference: Goyal et al., arXiv:1711.05411; Lai et al., arXiv:1902.01388, appendix B.
    """

    def __init__(
        self,
        units: int,
        latent_size: int,
        hidden_size: int = 0,
        embedding_size: int = 256,
        alpha: float = 0.0,
        beta: float = 0.0,
        timing: str = "appendix",
        cell: str = "lstm",
        dropout: float = 0.0,
        **kwargs,
    ):
        options = checked(locals())
        checks.weight(alpha=alpha, beta=beta)
        checks.choice("timing", timing, TIMINGS)
        super().__init__(**kwargs)
        self.options = options
        policy = dict(dtype=self.dtype_policy)
        appendix = timing == "appendix"
        self.latent_size, self.context_size = latent_size, units + latent_size * appendix
        self.dropout, self.evidence_size = dropout, units
        self.embed = Embedding(embedding_size, dropout, name="embed", **policy)
        self.backward = RecurrentStack(cell, units, 1, dropout, name="backward", **policy)
        make = VRNNCell if appendix else ZForcingCell
        of_cell = {k: v for k, v in options.items() if k not in OWN}
        self.cell = make(**of_cell, evidence_size=units, name="cell", **policy)
        self.reconstruction: Untracked | None = None  # p(x_{t-1} | b_t), of `connect`
        self.auxiliary = None
        if alpha > 0.0:
            self.auxiliary = nn.GaussianHead(
                units, hidden_size or units, dropout, name="auxiliary", **policy
            )

    def build(self, input_shape):
        self.embed.build(input_shape)
        self.backward.build((None, None, self.options["embedding_size"]))
        self.cell.build()
        if self.auxiliary is not None:
            self.auxiliary.build((None, None, self.latent_size))

    def initial_states(self, batch_size):
        return self.cell.get_initial_state(batch_size)

    def connect(self, make):
        if not self.options["beta"]:
            return {}
        if self.reconstruction is None:
            self.reconstruction = Untracked(make("reconstruction"))
        return {"reconstruction": (self.reconstruction.layer, self.evidence_size)}

    def evidence(self, inputs, targets, mask=None, key=None):
        b, _ = self.backward(
            self.embed(targets, key=fold(key, "targets")),
            lengths=sequence_lengths(mask),
            reverse=True,
        )
        b = nn.time_major(b)
        if self.reconstruction is None:
            return b
        # Beside b_t, what step t adds to the cost: a filter, which goes step by step, cannot tell
        # the first one, before which there need not be data.
        log_prob = self.reconstruction.layer(b).log_prob(inputs)
        first = tf.range(tf.shape(log_prob)[1]) == 0
        return {"b": b, "cost": tf.where(first, 0.0, self.options["beta"] * log_prob)}

    def call(
        self, inputs, targets=None, states=None, noise=None, mask=None, key=None, evidence=None
    ):
        if targets is not None:
            evidence = self.evidence(inputs, targets, mask, key)
        auxiliary = 0.0
        if isinstance(evidence, dict):
            evidence, auxiliary = evidence["b"], evidence["cost"]
        b = None if evidence is None else nn.time_major(evidence)
        draws, trace = cell_trace(self, inputs, b, states, noise, mask, key)
        if evidence is not None and self.auxiliary is not None:
            # (T, B), as all that drops out.
            cost = self._predict_evidence(draws.z, b, fold(key, "auxiliary"))
            auxiliary += nn.time_major(cost)
        return trace._replace(auxiliary=trace.auxiliary + auxiliary)

    def _predict_evidence(self, z, b, key):
        mean, log_variance = self.auxiliary(z, key=key)
        b = tf.stop_gradient(tf.cast(b, tf.float32))
        log_prob = nn.gaussian_log_prob(b, tf.tanh(mean), log_variance)
        return self.options["alpha"] * tf.reduce_sum(log_prob, axis=-1)

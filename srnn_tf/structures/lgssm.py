"""The linear Gaussian state space model: a Kalman filter, exact."""

from __future__ import annotations

import keras
import tensorflow as tf

from srnn_tf.core import checks, kalman, nn, scan
from srnn_tf.structures.base import (
    Structure,
    Trace,
    fresh_rows,
    fresh_steps,
    sequence_lengths,
    where_fresh,
)

LEAST_VARIANCE = 1e-4  # of Q and P_0 in any direction


class _Scaled(keras.initializers.Initializer):
    """The identity times `scale`, plus N(0, stddev^2); its lower triangle if `packed`."""

    def __init__(self, scale: float, stddev: float = 0.0, packed: bool = False):
        self.scale, self.stddev, self.packed = scale, stddev, packed

    def __call__(self, shape, dtype=None):
        if self.packed:
            size = int((2 * shape[0]) ** 0.5)
            return kalman.packed(self.scale * tf.eye(size, dtype=dtype))
        noise = keras.initializers.RandomNormal(stddev=self.stddev)(shape, dtype=dtype)
        return self.scale * tf.eye(shape[0], dtype=noise.dtype) + noise


class LGSSM(Structure):
    """A linear Gaussian state space model: a real state, integrated out exactly (Kalman filter).

        z_{t-1} --> z_t --> x_t      p(z_1) = N(m_0, P_0),   p(z_t | z_{t-1}) = N(A z_{t-1} + b, Q)
                                     p(x_t | z_t) = N(C z_t + d, R)

        p(x_t | x_<t) = N(C m_t + d, C P_t C^T + R),   p(z_t | x_<t) = N(m_t, P_t)
        h_t = [m_t, lower triangle of the Cholesky factor of P_t]

    The emission has C, d and R: `StateGaussian` of the same `state_size`. Its `read` gives what a
    frame adds to the natural parameters of the state, C^T R^-1 (x - d) and C^T R^-1 C. The state is
    no latent of the model, whose likelihood is exact. The filter is float32 under any dtype policy.
    A step costs n^3 per row, but n^3 in all where the rows begin together and have no gaps: their
    P_t are then the same.

    Args:
        state_size: n, the size of z.

    Shapes: call(inputs (B, T, n + n (n + 1) / 2), observed (B, T)) -> Trace with context
    (B, T, n + n (n + 1) / 2) float32, kl and log_ratio zero. `observed`, bool, is false where the
    frame x_{t-1} that the inputs read is missing; all are observed by default.

    Raises:
        ValueError: `state_size` is below 1; in `build`, the emission does not read the natural
            parameters of such a state; in `call`, `observed` is not bool or not (B, T).

    Example:
        >>> structure = LGSSM(state_size=2)
        >>> structure.build((None, None, 5))
        >>> structure(tf.zeros([2, 7, 5])).context.shape
        TensorShape([2, 7, 5])

    Reference: Kalman, Journal of Basic Engineering 82(1), 1960, doi:10.1115/1.3662552.
    """

    latent_size = 0

    def __init__(self, state_size: int = 16, **kwargs):
        checks.sizes(state_size=state_size)
        super().__init__(**kwargs)
        self.options, self.state_size = {"state_size": state_size}, state_size
        self.context_size = state_size + kalman.packed_size(state_size)

    def build(self, input_shape):
        size = self.state_size
        if input_shape[-1] != self.context_size:
            raise ValueError(
                f"`structure` lgssm with state_size={size} needs an emission whose `read` gives "
                f"the {self.context_size} natural parameters of such a state, such as "
                f"state_gaussian with this `state_size`; received one that reads {input_shape[-1]} "
                "values"
            )

        def covariance(name, variance):
            start = _Scaled((variance - LEAST_VARIANCE) ** 0.5, packed=True)
            shape = (kalman.packed_size(size),)
            return self.add_weight(name=name, shape=shape, initializer=start)

        self.transition_matrix = self.add_weight(
            name="transition_matrix", shape=(size, size), initializer=_Scaled(0.95, 0.01)
        )
        self.transition_bias, self.initial_mean = (
            self.add_weight(name=name, shape=(size,), initializer="zeros")
            for name in ("transition_bias", "initial_mean")
        )
        self.transition_factor = covariance("transition_factor", 0.1)
        self.initial_factor = covariance("initial_factor", 1.0)

    def transition_covariance(self) -> tf.Tensor:
        """Q, (n, n) float32."""
        return _covariance(self.transition_factor)

    def initial_covariance(self) -> tf.Tensor:
        """P_0, (n, n) float32."""
        return _covariance(self.initial_factor)

    def initial_states(self, batch_size):
        size = self.state_size
        return {
            "fresh": fresh_rows(batch_size),
            "mean": tf.zeros([batch_size, size]),
            "scale_tril": tf.eye(size, batch_shape=[batch_size]),
        }

    def call(
        self,
        inputs,
        targets=None,
        states=None,
        noise=None,
        mask=None,
        key=None,
        evidence=None,
        observed=None,
    ):
        rows, steps = tf.unstack(tf.shape(inputs)[:2])
        read = nn.time_major(tf.cast(inputs, tf.float32))
        if observed is not None:
            checks.observed_shape(observed, inputs.shape[:2])
            read = tf.where(nn.time_major(observed)[..., None], read, 0.0)
        together = states is None and observed is None  # one covariance for all rows
        states = self.initial_states(rows) if states is None else states
        fresh, scale_tril = states["fresh"], states["scale_tril"]
        if together:
            fresh, scale_tril = fresh[:1], scale_tril[:1]
        precision = kalman.unpacked(read[:, : 1 if together else None, self.state_size :])
        a = tf.convert_to_tensor(self.transition_matrix)

        def each_step(x):
            return tf.broadcast_to(x, [steps, *x.shape])

        def step(inputs, before, training=False):
            factor = kalman.filtered_factor(before, inputs["precision"])  # of z_{t-1}, given x_<t
            after = kalman.scale_tril(factor, inputs["a"], inputs["q"])
            after = where_fresh(inputs["fresh"], inputs["initial"], after)
            return (factor, after), after

        constants = {
            "a": a,
            "q": self.transition_covariance(),
            "initial": tf.linalg.cholesky(self.initial_covariance()),
        }
        inputs = {name: each_step(x) for name, x in constants.items()}
        inputs |= {"precision": precision, "fresh": fresh_steps(fresh, steps)}
        lengths = sequence_lengths(mask)
        (factor, scale_trils), last = scan.unroll(
            step, inputs, scale_tril, lengths=None if together else lengths, time_major=True
        )
        means, mean = self._means(
            read[..., : self.state_size], precision, factor, states, lengths, a
        )
        if together:
            last = _last_of_rows(scale_tril, scale_trils, lengths, rows)
        scale_trils = kalman.packed(scale_trils)
        if together:
            scale_trils = tf.broadcast_to(scale_trils, [steps, rows, scale_trils.shape[-1]])
        context = nn.time_major(tf.concat([means, scale_trils], axis=-1))
        fresh = states["fresh"]
        fresh = tf.zeros_like(fresh) if lengths is None else tf.where(lengths > 0, 0.0, fresh)
        zero = tf.zeros([rows, steps])
        states = {"fresh": fresh, "mean": mean, "scale_tril": last}
        return Trace(context, zero, zero, zero, states)

    def _means(self, information, precision, factor, states, lengths, a):
        """m_t = A (m + F F^T (j - Lambda m)) + b, m that of the step before: linear in m."""
        gain = tf.matmul(a, tf.matmul(factor, factor, transpose_b=True))  # A F F^T
        change = a - tf.matmul(gain, precision)  # (T, B, n, n), or (T, 1, n, n) for all rows
        steps = tf.shape(information)[0]
        fresh = fresh_steps(states["fresh"], steps)
        added = _product(gain, information) + tf.convert_to_tensor(self.transition_bias)
        added = where_fresh(fresh, tf.convert_to_tensor(self.initial_mean), added)

        def step(inputs, mean, training=False):
            change, added, fresh = inputs
            mean = where_fresh(fresh, 0.0, _product(change, mean)) + added
            return mean, mean

        return scan.unroll(
            step, (change, added, fresh), states["mean"], lengths=lengths, time_major=True
        )


def _covariance(factor):
    factor = kalman.triangular(tf.convert_to_tensor(factor))
    identity = tf.eye(factor.shape[-1], dtype=factor.dtype)
    return tf.matmul(factor, factor, transpose_b=True) + LEAST_VARIANCE * identity


def _product(matrices, vectors):
    """Matrices (..., B, n, n), or (..., 1, n, n) for all rows, times vectors (..., B, n)."""
    if matrices.shape[-3] == 1:  # no copy of the matrix for each row
        return tf.matmul(vectors, tf.squeeze(matrices, -3), transpose_b=True)
    return tf.linalg.matvec(matrices, vectors)


def _last_of_rows(first, after, lengths, rows):
    """The state after the last real step of each row, (B, ...), of one that all rows share."""
    if lengths is None:
        return tf.repeat(after[-1], rows, axis=0)
    return tf.gather(tf.concat([first, after[:, 0]], axis=0), lengths)

"""A linear Gaussian observation of a Gaussian state."""

from __future__ import annotations

import keras
import tensorflow as tf

from srnn_tf.core import checks, kalman, nn, random, registry
from srnn_tf.emissions.base import Emission
from srnn_tf.emissions.chain import chained
from srnn_tf.likelihoods import LIKELIHOODS, GaussianMixture

STATES = ("context", "dense")
NORMAL = {"class": "gaussian_mixture", "num_components": 1}
LEAST_VARIANCE = 1e-4  # of a value given the state


class StateGaussian(Emission):
    """Real frames that are a linear function of a Gaussian state, plus independent noise.

        p(x | z) = N(C z + d, R),  R diagonal,    z | h ~ N(m, L L^T)
        p(x | h) = N(C m + d, C L L^T C^T + R)

    With `state="context"`, h is m and the lower triangle of L, and a structure reads what a frame
    adds to the natural parameters of z: C^T R^-1 (x - d), and the lower triangle of C^T R^-1 C. A
    reading of zeros is a missing frame. With `LGSSM` the model is a linear Gaussian state space
    model. With `state="dense"`, m and L are a linear function of contexts of any size, and a
    structure reads the frame. With `RNN` that is a recurrent network whose frames have correlated
    values, also exact. A density costs n^3 + n D.

    Args:
        event_size: D.
        likelihood: a normal: `GaussianMixture(1)`, its name or its config.
        state_size: n, the size of z.
        state: "context" or "dense".

    Shapes: call(context (B, T, H)) -> `tfd.Distribution`, batch (B, T), event (D,), with
    H = n + n (n + 1) / 2 for `state="context"`. Log densities are nats, float32. `greedy()` is the
    mean.

    Raises:
        ValueError: a size is below 1, `state` is unknown, or the likelihood is not a normal: bits
            and mixtures have no such closed form; in `build`, contexts are not m and L.

    Example:
        >>> emission = StateGaussian(200, state_size=2)
        >>> emission.build((None, None, 5))
        >>> x = tf.zeros([3, 7, 200])
        >>> emission(tf.ones([3, 7, 5])).log_prob(x).shape, emission.read(x).shape
        (TensorShape([3, 7]), TensorShape([3, 7, 5]))
    """

    def __init__(self, event_size, likelihood=NORMAL, state_size=16, state="context", **kwargs):
        checks.sizes(state_size=state_size)
        checks.choice("state", state, STATES)
        super().__init__(event_size, likelihood, **kwargs)
        given = self.likelihood
        if not (isinstance(given, GaussianMixture) and given.num_components == 1):
            raise ValueError(
                "`likelihood` must be gaussian_mixture with num_components=1 for state_gaussian, "
                "whose frames are normal: real values only; received "
                f"{registry.describe(LIKELIHOODS, given)}"
            )
        self.state_size = state_size
        self.params_size = state_size + kalman.packed_size(state_size)
        self.dense = None
        if state == "dense":
            self.dense = keras.layers.Dense(self.params_size, dtype=self.dtype_policy, name="dense")

    def build(self, input_shape):
        if self.dense is not None:
            self.dense.build(input_shape)
        elif input_shape[-1] != self.params_size:
            raise ValueError(
                f"`emission` state_gaussian with state='context' needs contexts of "
                f"{self.params_size} values, the mean and the Cholesky factor of a state of "
                f"state_size={self.state_size}, those of the structure lgssm with this "
                f"`state_size`; received contexts of {input_shape[-1]} values: for other "
                "structures use state='dense'"
            )
        width, size = self.event_size, self.state_size
        self.observation_matrix = self.add_weight(
            name="observation_matrix",
            shape=(width, size),
            initializer=keras.initializers.RandomNormal(stddev=size**-0.5),
        )
        self.observation_bias, self.observation_spread = (
            self.add_weight(name=name, shape=(width,), initializer="zeros")
            for name in ("observation_bias", "observation_spread")
        )

    def observation_variance(self) -> tf.Tensor:
        """The diagonal of R, (D,) float32."""
        return tf.math.softplus(tf.convert_to_tensor(self.observation_spread)) + LEAST_VARIANCE

    @property
    def read_size(self):
        return self.event_size if self.dense is not None else self.params_size

    def read(self, x):
        if self.dense is not None:
            return x
        scaled, precision = self._natural()
        information = tf.tensordot(x - tf.convert_to_tensor(self.observation_bias), scaled, 1)
        precision = kalman.packed(precision)
        shape = tf.concat([tf.shape(x)[:-1], tf.shape(precision)], axis=0)
        return tf.concat([information, tf.broadcast_to(precision, shape)], axis=-1)

    def _natural(self):
        """R^-1 C, (D, n), and C^T R^-1 C."""
        matrix = tf.convert_to_tensor(self.observation_matrix)
        scaled = matrix / self.observation_variance()[:, None]
        return scaled, tf.matmul(matrix, scaled, transpose_a=True)

    def call(self, context, temperature=1.0, key=None):
        def state(context):
            values = context if self.dense is None else self.dense(context)
            values = tf.cast(values, tf.float32)
            return values[:, : self.state_size], kalman.triangular(values[:, self.state_size :])

        def observe(z):
            matrix = tf.convert_to_tensor(self.observation_matrix)
            bias = tf.convert_to_tensor(self.observation_bias)
            return tf.matmul(z, matrix, transpose_b=True) + bias

        def score(context, x, key):
            mean, scale_tril = state(context)
            variance, (scaled, precision) = self.observation_variance(), self._natural()
            rest = x - observe(mean)
            # The state that the frame tells, z = m + L w. Without a difference of squares: they
            # may be many times the result.
            root = kalman.update_root(scale_tril, precision)
            told = tf.linalg.matvec(scale_tril, tf.matmul(rest, scaled), transpose_a=True)
            w = tf.linalg.cholesky_solve(root, told[..., None])[..., 0]
            rest -= observe(mean + tf.linalg.matvec(scale_tril, w)) - observe(mean)
            square = tf.reduce_sum(rest**2 / variance, axis=-1) + tf.reduce_sum(w**2, axis=-1)
            log_det = tf.reduce_sum(tf.math.log(variance * temperature)) + 2.0 * tf.reduce_sum(
                tf.math.log(tf.linalg.diag_part(root)), axis=-1
            )
            return -0.5 * (self.event_size * nn.LOG_2PI + log_det + square / temperature)

        def draw(context, seed):
            mean, scale_tril = state(context)
            if seed is None:
                return observe(mean)
            noise = [
                random.normal([tf.shape(mean)[0], size], random.fold_in(seed, i))
                for i, size in enumerate((self.state_size, self.event_size))
            ]
            z = mean + tf.linalg.matvec(scale_tril, noise[0]) * temperature**0.5
            return observe(z) + noise[1] * (self.observation_variance() * temperature) ** 0.5

        return chained(self, context, score, draw, key)

    def get_config(self):
        state = STATES[self.dense is not None]
        return {**super().get_config(), "state_size": self.state_size, "state": state}

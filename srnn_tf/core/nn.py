"""Building blocks: dropout, projections, Gaussian heads."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import keras
import tensorflow as tf

from srnn_tf.core.layer_state import settle
from srnn_tf.core.random import Key, fold
from srnn_tf.core.types import Nest, Shape

Kept: TypeAlias = "tf.Tensor | tuple[()]"  # bool, or () where all is kept
LOG_2PI = math.log(2.0 * math.pi)
LEAST_VARIANCE = 1e-6  # of a Gaussian whose variance is a softplus


def keep(shape: Shape, rate: float, key: Key | None, axis: int = 1) -> Kept:
    """The dropout mask, bool, from 8 random bits per value; () where dropout keeps all values.

    Args:
        shape: the shape of the values.
        rate: the share of values to set to zero, in [0, 1), rounded to a multiple of 1/256.
        key: the key; None for no dropout.
        axis: the axis of the rows, or of rows and steps merged.
    """
    level = _level(rate)
    if key is None or level == 0:
        return ()
    return key.octets(shape, axis) >= tf.constant(level, tf.uint8)


def drop(x: tf.Tensor, kept: Kept, rate: float) -> tf.Tensor:
    """Inverted dropout of x with the mask of `keep`: x / (1 - rate) where kept, zero elsewhere."""
    if isinstance(kept, tuple):
        return x
    return tf.where(kept, x * (256.0 / (256 - _level(rate))), tf.zeros_like(x))


def dropout(x: tf.Tensor, rate: float, key: Key | None, axis: int = 1) -> tf.Tensor:
    """Inverted dropout of x, whose rows are along `axis`; without a key, x."""
    return drop(x, keep(tf.shape(x), rate, key, axis), rate)


def _level(rate):
    return min(round(rate * 256), 255)


def clipped_leaky_relu(x: tf.Tensor) -> tf.Tensor:
    """Leaky ReLU of slope 1/3, clipped to [-3, 3]: the activation of prior and posterior."""
    return tf.clip_by_value(tf.maximum(x, x / 3.0), -3.0, 3.0)


class Scalars(NamedTuple):
    """The embedding x * kernel + bias of one value per step, which is never formed."""

    x: tf.Tensor  # (T, B)
    kernel: tf.Tensor  # (E,)
    bias: tf.Tensor  # (E,)

    def embedding(self) -> tf.Tensor:
        """The embedding itself, (T, B, E)."""
        return self.x[..., None] * self.kernel + self.bias

    def projection(self, kernel: tf.Tensor, bias: tf.Tensor) -> list[tf.Tensor]:
        """row and base, each (F,): row * x + base is the embedding times a kernel (E, F)."""
        row, base, kernel, bias = (
            tf.cast(a, tf.float32) for a in (self.kernel, self.bias, kernel, bias)
        )
        return tf.unstack(tf.stack([row, base]) @ kernel + [[0.0], [1.0]] * bias)


class Affine(NamedTuple):
    """The embedding x * kernel + bias of a step, not formed where only its projection is read.

    (x * kernel + bias) * other = x * (kernel * other) + bias * other
    """

    x: tf.Tensor  # (T, B, D)
    kernel: tf.Tensor  # (D, E)
    bias: tf.Tensor  # (E,)

    def embedding(self) -> tf.Tensor:
        """The embedding itself, (T, B, E)."""
        return project(self.x, self.kernel, self.bias, self.kernel.dtype)

    def projected(self, kernel: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
        """The embedding times a kernel (E, F), plus a bias, (T, B, F), in the cheaper order."""
        steps, (size, middle), wide = self.x.shape[:2], self.kernel.shape, kernel.shape[1]
        rows = steps.num_elements()  # where it is not static, they may be few
        saved = 0 if rows is None else rows * (size * middle + middle * wide - size * wide)
        if saved < size * middle * wide or kernel.dtype != self.kernel.dtype:
            return project(self.embedding(), kernel, bias, kernel.dtype)
        merged = tf.concat([self.kernel, self.bias[None]], axis=0) @ kernel
        merged += tf.pad(bias[None], [[size, 0], [0, 0]])
        # A one beside each step adds the bias within the product: by itself it would be another
        # pass over the largest array of a scoring program.
        x = tf.concat([self.x, tf.ones_like(self.x[..., :1])], axis=-1)
        return tf.reshape(tf.reshape(x, [rows, size + 1]) @ merged, [*steps, wide])


Embedded: TypeAlias = "tf.Tensor | Scalars | Affine"  # of (T, B, E)


def embedded(x: Embedded) -> tf.Tensor:
    """x as an array (T, B, E), formed where x is `Scalars` or `Affine`."""
    return x.embedding() if isinstance(x, (Scalars, Affine)) else x


def width(x: Embedded) -> int:
    """E, the number of features of x (T, B, E), or of the embedding that it stands for."""
    return x.kernel.shape[-1] if isinstance(x, (Scalars, Affine)) else x.shape[-1]


def project(x: Embedded, kernel: tf.Tensor, bias: tf.Tensor, dtype: str) -> tf.Tensor:
    """x (T, B, E), or what stands for it, times a kernel (E, F), plus a bias: one matrix product.

    `tf.matmul` of rank 3 would compute the kernel's gradient one step at a time and sum the steps.
    """
    if isinstance(x, Scalars):
        row, base = x.projection(kernel, bias)
        return tf.cast(x.x[..., None] * row + base, dtype)
    if isinstance(x, Affine):
        return x.projected(*(tf.cast(a, dtype) for a in (kernel, bias)))
    x, kernel, bias = (tf.cast(a, dtype) for a in (x, kernel, bias))
    flat = tf.matmul(tf.reshape(x, [-1, x.shape[-1]]), kernel) + bias
    shape = tf.shape(x)
    return tf.reshape(flat, [shape[0], shape[1], kernel.shape[-1]])


class Part(NamedTuple):
    """A layer inside a loop over time: `step(inputs_t, ..., dense)` for `scan.unroll`.

    What does not depend on the states is computed before the loop, for all steps at once.
    """

    inputs: Nest  # nest of (T, B, ...)
    weights: dict[str, tuple[tf.Tensor, tf.Tensor | None]]
    step: Callable


class LastRowsZero(keras.initializers.Initializer):
    """Glorot's uniform initializer, with zeros in the last rows of a kernel."""

    def __init__(self, rows: int):
        self.rows = rows

    def __call__(self, shape, dtype=None):
        kernel = keras.initializers.GlorotUniform()(shape, dtype=dtype)
        read = tf.range(shape[0]) < shape[0] - self.rows
        return tf.where(read[:, None], kernel, tf.zeros_like(kernel))

    def get_config(self):
        return {"rows": self.rows}


class GaussianHead(keras.layers.Layer):
    """Mean and log variance of a diagonal Gaussian: an MLP with outputs clipped to [-8, 8].

    With `hidden_size > 0` the layers are dropout, dense, clipped leaky ReLU, dropout, dense; with 0
    they are dropout, dense.

    Args:
        size: Z, the number of latent units.
        hidden_size: the width of the hidden layer; 0 for no hidden layer.
        dropout: the dropout rate before each dense layer.
        unread: the number of last inputs whose weights are initialized to zero, in a head without a
            hidden layer.

    Shapes: call(x (..., H), key) -> mean, log variance, each (..., Z) float32.
    """

    def __init__(
        self, size: int, hidden_size: int = 0, dropout: float = 0.0, unread: int = 0, **kwargs
    ):
        super().__init__(autocast=False, **kwargs)
        self.size, self.hidden_size, self.dropout = size, hidden_size, dropout

        def dense(units, name, **how):
            return keras.layers.Dense(units, dtype=self.dtype_policy, name=name, **how)

        self.hidden = dense(hidden_size, "hidden") if hidden_size else None
        start = "glorot_uniform" if self.hidden else LastRowsZero(unread)
        self.out = dense(2 * size, "out", kernel_initializer=start)

    def build(self, input_shape):
        if self.hidden is not None:
            self.hidden.build(input_shape)
            input_shape = (*input_shape[:-1], self.hidden_size)
        self.out.build(input_shape)

    def call(self, x, key=None):
        x = dropout(x, self.dropout, fold(key, "inputs"))
        if self.hidden is not None:
            x = dropout(clipped_leaky_relu(self.hidden(x)), self.dropout, fold(key, "hidden"))
        return self._gaussian(self.out(x))

    def part(
        self, fixed: tf.Tensor | Scalars | None, rows: tf.Tensor, key: Key | None = None
    ) -> Part:
        """The head on [fixed_t, state_t] inside a loop: `step(inputs_t, state_t, dense)`.

        Args:
            fixed: (T, B, F), the first input features, known for all steps; or None.
            rows: (T, B), the sizes of the leading axes.
            key: the key for dropout; None for no dropout.
        """
        first = self.out if self.hidden is None else self.hidden
        kernel, bias = (tf.cast(w, self.compute_dtype) for w in (first.kernel, first.bias))
        width, rate, name = 0, self.dropout, self.name
        inputs = {}
        if fixed is not None:
            fixed = embedded(fixed)
            width = fixed.shape[-1]
            fixed = dropout(fixed, rate, fold(key, "fixed"))
            inputs["fixed"] = project(fixed, kernel[:width], bias, self.compute_dtype)
            bias = None
        inputs["keep"] = keep(
            [*tf.unstack(rows), kernel.shape[0] - width], rate, fold(key, "states")
        )
        weights = {f"{name}_in": (kernel[width:], bias)}
        if self.hidden is not None:
            inputs["keep_hidden"] = keep(
                [*tf.unstack(rows), self.hidden_size], rate, fold(key, "hidden")
            )
            out = (tf.cast(w, self.compute_dtype) for w in (self.out.kernel, self.out.bias))
            weights[f"{name}_out"] = tuple(out)

        def step(inputs, state, dense):
            x = dense(drop(state, inputs["keep"], rate), f"{name}_in")
            x = x + inputs["fixed"] if "fixed" in inputs else x
            if self.hidden is not None:
                x = drop(clipped_leaky_relu(x), inputs["keep_hidden"], rate)
                x = dense(x, f"{name}_out")
            return self._gaussian(x)

        return Part(inputs, weights, step)

    def _gaussian(self, x):
        params = tf.clip_by_value(tf.cast(x, tf.float32), -8.0, 8.0)
        return tf.split(params, 2, axis=-1)


def time_major(x: tf.Tensor) -> tf.Tensor:
    """Swap the first two axes: (B, T, ...) to (T, B, ...), and back."""
    return tf.transpose(x, [1, 0, *range(2, x.shape.rank)])


def gaussian_log_prob(x: tf.Tensor, mean: tf.Tensor, log_variance: tf.Tensor) -> tf.Tensor:
    """log N(x; mean, exp(log_variance)) per unit, in nats."""
    return -0.5 * (LOG_2PI + log_variance + tf.square(x - mean) * tf.exp(-log_variance))


def gaussian_log_prob_tril(x: tf.Tensor, mean: tf.Tensor, scale_tril: tf.Tensor) -> tf.Tensor:
    """log N(x; mean, L L^T) in nats, split by the chain rule: log p(x_i | x_<i), (..., Z).

    Args:
        x, mean: (..., Z).
        scale_tril: L, (..., Z, Z), lower triangular with a positive diagonal.
    """
    standard = tf.linalg.triangular_solve(scale_tril, (x - mean)[..., None])[..., 0]
    log_scale = tf.math.log(tf.linalg.diag_part(scale_tril))
    return -0.5 * (LOG_2PI + tf.square(standard)) - log_scale


def gaussian_kl(q: tuple[tf.Tensor, tf.Tensor], p: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
    """KL(q || p) per unit, in nats, of diagonal Gaussians given as (mean, log variance)."""
    (q_mean, q_log_variance), (p_mean, p_log_variance) = q, p
    ratio = tf.exp(q_log_variance - p_log_variance)
    distance = tf.square(q_mean - p_mean) * tf.exp(-p_log_variance)
    return 0.5 * (p_log_variance - q_log_variance + ratio + distance - 1.0)


def gaussian_kl_tril(
    q: tuple[tf.Tensor, tf.Tensor], mean: tf.Tensor, scale_tril: tf.Tensor
) -> tf.Tensor:
    """KL(q || N(mean, L L^T)) per unit, in nats, of a diagonal q, (mean, log variance).

    The split is that of the chain rule, each unit at least 0; its sum is the KL.

        KL_i = E_q KL( q(z_i) || p(z_i | z_<i) )

    Args:
        q: each (..., Z).
        mean: (..., Z).
        scale_tril: L, (..., Z, Z), lower triangular with a positive diagonal.
    """
    q_mean, q_log_variance = q
    inverse = tf.linalg.triangular_solve(scale_tril, tf.eye(q_mean.shape[-1], dtype=mean.dtype))
    distance = tf.square(tf.linalg.matvec(inverse, q_mean - mean))
    spread = tf.linalg.matvec(tf.square(inverse), tf.exp(q_log_variance))
    log_scale = tf.math.log(tf.linalg.diag_part(scale_tril))
    return 0.5 * (2.0 * log_scale - q_log_variance + spread + distance - 1.0)


def softplus_gaussian(params: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Mean and log variance, float32, from parameters (..., 2 Z): means, then variances.

        variance = softplus(a) + 1e-6

    Example:
        >>> _, log_variance = softplus_gaussian(tf.zeros([2, 6]))
        >>> log_variance.shape, round(float(tf.exp(log_variance[0, 0])), 4)
        (TensorShape([2, 3]), 0.6931)
    """
    mean, raw = tf.split(tf.cast(params, tf.float32), 2, axis=-1)
    return mean, tf.math.log(tf.nn.softplus(raw) + LEAST_VARIANCE)


def gaussian_product(
    first: tuple[tf.Tensor, tf.Tensor], second: tuple[tf.Tensor, tf.Tensor]
) -> tuple[tf.Tensor, tf.Tensor]:
    """The normalized product of two diagonal Gaussians, each (mean, log variance).

        N(z; m, v), 1/v = 1/v_1 + 1/v_2, m/v = m_1/v_1 + m_2/v_2

    Example:
        >>> first, second = ((tf.constant(mean), tf.constant(0.0)) for mean in (0.0, 1.0))
        >>> [round(float(a), 4) for a in gaussian_product(first, second)]
        [0.5, -0.6931]
    """
    share = tf.sigmoid(second[1] - first[1])  # of the precision that `first` has
    mean = share * first[0] + (1.0 - share) * second[0]
    return mean, first[1] + tf.math.log_sigmoid(second[1] - first[1])


def gaussian_draw(gaussian: tuple[tf.Tensor, tf.Tensor], noise: tf.Tensor) -> tf.Tensor:
    """A reparameterized draw, mean + exp(log_variance / 2) * noise, of (mean, log variance).

    Example:
        >>> float(gaussian_draw((tf.constant(1.0), tf.constant(0.0)), tf.constant(2.0)))
        3.0
    """
    mean, log_variance = gaussian
    return mean + noise * tf.exp(0.5 * log_variance)


def build(layer: keras.layers.Layer, name: str, width: int) -> None:
    """Build a layer for inputs (B, T, width), or check that it was built for them.

    Raises:
        ValueError: the layer was built for another width; the error calls it `name`.
    """
    if not layer.built:
        layer.build((None, None, width))
        settle(layer)
    width_built = layer.get_build_config()["input_shape"][-1]
    if width_built != width:
        raise ValueError(
            f"`{name}` must be for inputs of {width} values; received one built for {width_built}"
        )

"""The linear recurrent unit: a diagonal linear recurrence, and a gated output."""

from __future__ import annotations

import math

import keras
import tensorflow as tf

from srnn_tf.core import scan
from srnn_tf.core.nn import Part, Scalars, project, width
from srnn_tf.core.types import Size


class Ring(keras.initializers.Initializer):
    """log(-log|lambda|), log(arg lambda) and log(sqrt(1 - |lambda|^2)): the rows of a (3, N) array.

    The lambda are uniform on a ring of the complex plane.

    Args:
        min_radius, max_radius: the bounds of |lambda|, 0 <= min_radius < max_radius < 1.
        max_phase: the bound of arg lambda.
    """

    def __init__(self, min_radius: float, max_radius: float, max_phase: float):
        self.min_radius, self.max_radius, self.max_phase = min_radius, max_radius, max_phase

    def __call__(self, shape, dtype=None):
        # Not from 0 on: the logarithms must be finite.
        uniform = keras.initializers.RandomUniform(1e-4, 1.0)
        area, turn = tf.unstack(uniform([2, shape[1]], dtype=dtype))
        inner, outer = self.min_radius**2, self.max_radius**2
        squared = inner + area * (outer - inner)
        rate, phase = -0.5 * tf.math.log(squared), self.max_phase * turn
        return tf.stack([tf.math.log(rate), tf.math.log(phase), 0.5 * tf.math.log1p(-squared)])

    def get_config(self):
        return {
            "min_radius": self.min_radius,
            "max_radius": self.max_radius,
            "max_phase": self.max_phase,
        }


class LRU(keras.layers.Layer):
    """A linear recurrent unit over `scan.diagonal`, with a gated output, time major.

        s_t = lambda s_{t-1} + gamma (B x_t)      lambda = exp(-exp(nu) + i exp(theta))
        a_t, g_t = split(Re(C s_t) + D x_t + c)   y_t = tanh(a_t) sigmoid(g_t)

    s_t has H complex units, whose products with lambda and gamma are elementwise. exp(nu) > 0, so
    that |lambda| < 1 whatever is learned. gamma starts at sqrt(1 - |lambda|^2), so that s_t starts
    at the scale of B x_t. Outputs are in (-1, 1), as those of other cells. The recurrence is
    computed in float32, whatever the dtype policy.

    Args:
        units: H, the number of outputs, and of complex states.
        min_radius, max_radius: |lambda| starts between them.
        max_phase: arg lambda starts between 0 and this.

    Shapes: call(x (T, B, E), state, lengths, reverse) -> outputs (T, B, H), state (real part,
    imaginary part), each (B, H) float32. x may be `Scalars`.

    Reference: Orvieto et al., arXiv:2303.06349; the gate, van den Oord et al., arXiv:1609.03499.
    """

    output_is_state = False

    def __init__(
        self,
        units: int,
        min_radius: float = 0.0,
        max_radius: float = 0.999,
        max_phase: float = 2.0 * math.pi,
        **kwargs,
    ):
        super().__init__(autocast=False, **kwargs)
        self.units = units
        self.ring = Ring(min_radius, max_radius, max_phase)

    def build(self, input_shape):
        twice = 2 * self.units

        def weight(name, shape, initializer=None):
            # Not rounded to the compute dtype where they are read: the loop needs all their digits.
            return self.add_weight(name=name, shape=shape, initializer=initializer, autocast=False)

        # B, real and imaginary part, then D.
        self.kernel = weight("kernel", (input_shape[-1], 2 * twice))
        self.eigenvalues = weight("eigenvalues", (3, self.units), self.ring)
        self.output_kernel = weight("output_kernel", (twice, twice))
        self.bias = weight("bias", (twice,), "zeros")

    def call(self, x, state=None, lengths=None, reverse=False):
        decay, gain = self._recurrence()
        driven, direct = tf.split(self._read(x, width(x), gain), 2, axis=-1)
        driven = tf.cast(driven, tf.float32)
        states, last = scan.diagonal(
            driven, decay, state, lengths=lengths, reverse=reverse, time_major=True
        )
        dtype = self.compute_dtype
        read = project(states, self.output_kernel, tf.zeros_like(self.bias), dtype)
        return _gated(direct + read), last

    def part(self, fixed: tf.Tensor | Scalars) -> Part:
        """As `recurrent.LSTM.part`; `extra` is None where all inputs are fixed ones."""
        dtype, fixed_width, name = self.compute_dtype, width(fixed), self.name
        decay, gain = self._recurrence()
        weights = {
            # A product with 1: so the loop reads the eigenvalues, and they get their gradient.
            f"{name}_decay": (decay[None], None),
            f"{name}_s": (tf.cast(self.output_kernel, dtype), None),
        }
        if fixed_width < self.kernel.shape[0]:
            kernel = tf.cast(self.kernel[fixed_width:], tf.float32) * gain
            weights[f"{name}_x"] = (tf.cast(kernel, dtype), None)

        def step(inputs, extra, state, dense):
            read = inputs if extra is None else inputs + dense(extra, f"{name}_x")
            driven, direct = tf.split(read, 2, axis=-1)
            (x, y), (u, v) = state, tf.split(tf.cast(driven, tf.float32), 2, axis=-1)
            a, b = tf.split(dense(tf.ones_like(x[:, :1]), f"{name}_decay"), 2, axis=-1)
            x, y = a * x - b * y + u, a * y + b * x + v
            direct += dense(tf.concat([x, y], axis=-1), f"{name}_s")
            return _gated(direct), (x, y)

        return Part(self._read(fixed, fixed_width, gain), weights, step)

    def zero_state(self, batch_size: Size) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.zeros([batch_size, self.units]), tf.zeros([batch_size, self.units])

    def _recurrence(self):
        """lambda (2H,), and what the columns of the kernel are multiplied by (4H,)."""
        log_rate, log_phase, log_gain = tf.unstack(tf.cast(self.eigenvalues, tf.float32))
        radius, phase = tf.exp(-tf.exp(log_rate)), tf.exp(log_phase)
        decay = tf.concat([radius * tf.cos(phase), radius * tf.sin(phase)], axis=0)
        gain = tf.exp(log_gain)
        return decay, tf.concat([gain, gain, tf.ones([2 * self.units])], axis=0)

    def _read(self, x, rows, gain):
        """gamma (B x), and D x + c: (T, B, 4H)."""
        bias = tf.concat([tf.zeros_like(self.bias), self.bias], axis=0)
        kernel = tf.cast(self.kernel[:rows], tf.float32) * gain
        return project(x, kernel, bias, self.compute_dtype)


def _gated(x):
    a, gate = tf.split(x, 2, axis=-1)
    return tf.tanh(a) * tf.sigmoid(gate)

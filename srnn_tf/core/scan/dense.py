"""Products with weights inside a loop; the gradients of the weights are computed after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import tensorflow as tf

# A kernel (F, G) and a bias (G,) or None.
Weights = Mapping[str, tuple[tf.Tensor, tf.Tensor | None]]


class Call(NamedTuple):
    """One use of a weight in one step."""

    name: str
    x: tf.Tensor  # (B, F)
    y: tf.Tensor  # (B, G)


class Dense:
    """The function `dense(x, name)` = x W + b that a step of `unroll` receives.

    In the backward loop, a zero "probe" is added to each product. Its gradient is the gradient of
    the product. From these gradients and x of all steps, one product after the loop computes the
    gradient of W. Otherwise each step would read and write it.

    Args:
        weights: kernel and bias by name.
        transposed: the transposed kernels, for the backward loop. One transposition outside is
            cheaper than one in each step.
        probes: (B, G) zeros, one per call, in the order of the calls.
    """

    def __init__(
        self,
        weights: Weights,
        transposed: Mapping[str, tf.Tensor] | None = None,
        probes: Sequence[tf.Tensor] | None = None,
    ):
        self.weights, self.transposed, self.probes = weights, transposed, probes
        self.calls: list[Call] = []

    def __call__(self, x: tf.Tensor, name: str) -> tf.Tensor:
        kernel, bias = self.weights[name]
        x = tf.cast(x, kernel.dtype)
        if self.transposed is None:
            y = tf.matmul(x, kernel)
        else:
            y = _product(x, kernel, self.transposed[name])
        if bias is not None:
            y += bias
        if self.probes is not None:
            y += self.probes[len(self.calls)]
        self.calls.append(Call(name, x, y))
        return y


@tf.custom_gradient
def _product(x, kernel, transposed):
    def backward(dy):
        return tf.matmul(dy, transposed), None, None

    return tf.matmul(x, kernel), backward


def weight_gradients(
    weights: Weights, names: Sequence[str], xs: Sequence[tf.Tensor], dys: Sequence[tf.Tensor]
) -> list[tf.Tensor]:
    """Gradients of `tf.nest.flatten(weights)` from inputs (T, B, F) and gradients (T, B, G)."""
    products: dict[str, list] = {name: [] for name in weights}
    for name, x, dy in zip(names, xs, dys, strict=True):
        x, dy = (tf.reshape(a, [-1, a.shape[-1]]) for a in (x, dy))
        products[name].append((tf.matmul(x, dy, transpose_a=True), tf.reduce_sum(dy, axis=0)))

    def total(name):
        kernel, bias = weights[name]
        if not products[name]:
            return tf.zeros_like(kernel), None if bias is None else tf.zeros_like(bias)
        d_kernel, d_bias = (tf.add_n(list(d)) for d in zip(*products[name], strict=True))
        return d_kernel, None if bias is None else d_bias

    gradients = {name: total(name) for name in weights}
    return [g for g in tf.nest.flatten(gradients) if g is not None]

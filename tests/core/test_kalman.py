"""One step of the Kalman filter against the covariance form, and its precision in float32."""

import numpy as np
import pytest
import tensorflow as tf

from srnn_tf.core import kalman

N, D = 3, 2


def lower(seed, scale=1.0):
    draws = np.random.default_rng(seed).normal(0.0, 0.5, [2, N, N])
    return scale * (np.tril(draws, -1) + np.eye(N) * (0.5 + np.abs(draws)))


def product(factor):
    return np.asarray(factor) @ np.swapaxes(factor, -1, -2)


def test_an_update_is_that_of_the_covariance_form():
    random = np.random.default_rng(0)
    scale, c, r = lower(1), random.normal(size=[2, D, N]), 0.1 + random.random(D)
    mean, x = random.normal(size=[2, N]), random.normal(size=[2, D])
    covariance, transposed = product(scale), np.swapaxes(c, 1, 2)
    gain = covariance @ transposed @ np.linalg.inv(c @ covariance @ transposed + np.diag(r))
    innovation = x - np.einsum("bdn,bn->bd", c, mean)
    scaled = transposed / r
    precision, information = scaled @ c, np.einsum("bnd,bd->bn", scaled, x)
    factor = kalman.filtered_factor(scale, precision)
    np.testing.assert_allclose(product(factor), covariance - gain @ c @ covariance, 1e-9, 1e-12)
    found = kalman.filtered_mean(mean, factor, information, precision)
    np.testing.assert_allclose(found, mean + np.einsum("bnd,bd->bn", gain, innovation), 1e-9)
    # Joseph's form.
    frame = np.einsum("bdn,bn->bd", c, mean), kalman.scale_tril(scale, c, np.diag(r))
    after, wide = kalman.observed((mean, scale), frame, c, r, x)
    np.testing.assert_allclose(product(wide), product(factor), 1e-9, 1e-12)
    np.testing.assert_allclose(after, found, 1e-9)
    after, wide = kalman.observed((mean, scale), frame, c, r, x, np.array([True, False]))
    np.testing.assert_allclose(product(wide)[1], covariance[1], 1e-12)
    np.testing.assert_allclose(after, [found[0], mean[1]], 1e-9)
    # Nothing observed, nothing changed.
    factor = kalman.filtered_factor(scale, 0.0 * precision)
    np.testing.assert_allclose(product(factor), covariance, 1e-12)
    np.testing.assert_array_equal(
        kalman.filtered_mean(mean, factor, 0.0 * information, 0.0 * precision), mean
    )


def natural(scale, c, r):
    scaled = tf.linalg.matrix_transpose(c) / r
    return kalman.filtered_factor(scale, tf.matmul(scaled, c))


def joseph(scale, c, r):
    zero = tf.zeros([D], scale.dtype)
    frame = zero, kalman.scale_tril(scale, c, tf.linalg.diag(r))
    return kalman.observed((tf.zeros([N], scale.dtype), scale), frame, c, r, zero)[1]


def plain(scale, c, r):
    """Not in use: the covariance form, which subtracts."""
    p = tf.matmul(scale, scale, transpose_b=True)
    gain = p @ tf.transpose(c) @ tf.linalg.inv(c @ p @ tf.transpose(c) + tf.linalg.diag(r))
    return p - gain @ c @ p


@pytest.mark.parametrize(
    "r, forms, most", [(3e-3, (natural, joseph), 2e-3), (1e-6, (joseph,), 2e-2)]
)
def test_float32_keeps_its_digits_where_the_noise_is_small(r, forms, most):
    c = np.random.default_rng(0).normal(size=[D, N])

    def off(form):
        found = []
        for dtype in ("float32", "float64"):
            args = 20.0**0.5 * np.eye(N), c, np.full(D, r)
            result = form(*(tf.constant(a, dtype) for a in args))
            covariance = result.numpy() if form is plain else product(result)
            found.append(c @ covariance @ c.T)  # of C z, which is near that of the noise
        return np.max(np.abs(found[0] - found[1])) / np.max(np.abs(found[1]))

    assert max(map(off, forms)) < most and off(plain) > 5 * max(map(off, forms))


def test_packed_matrices():
    symmetric = product(lower(2))
    packed = kalman.packed(symmetric)
    assert packed.shape == [2, kalman.packed_size(N)]
    np.testing.assert_array_equal(kalman.unpacked(packed), symmetric)
    np.testing.assert_array_equal(kalman.triangular(packed), np.tril(symmetric))

"""One step of the Kalman filter, on factors of covariances, which are never subtracted.

    p(z_t | x_<t) = N(m, L L^T), L lower triangular,    p(z_t | x_<=t) = N(m', F F^T)

There are two forms of the update. `filtered_factor` and `filtered_mean` take what a frame of any
width adds to the natural parameters of the state. `observed` takes the observation itself; it is
cheaper where that has no more values than the state, and keeps its digits in float32 however small
the noise is. Shapes have any leading axes that broadcast; n is the size of the state. The dtype is
that of the arguments.
"""

from __future__ import annotations

import tensorflow as tf
import tensorflow_probability as tfp


def filtered_factor(scale_tril: tf.Tensor, precision: tf.Tensor) -> tf.Tensor:
    """F (..., n, n), with F F^T = (P^-1 + Lambda)^-1 = L (I + L^T Lambda L)^-1 L^T.

    In float32, L^T Lambda L must stay below some 1e6 where Lambda is singular.

    Args:
        scale_tril: L, (..., n, n), with P = L L^T.
        precision: Lambda = C^T R^-1 C, (..., n, n), what an observation adds; zero without one.
    """
    root = update_root(scale_tril, precision)
    return tf.linalg.matrix_transpose(
        tf.linalg.triangular_solve(root, tf.linalg.matrix_transpose(scale_tril))
    )


def update_root(scale_tril: tf.Tensor, precision: tf.Tensor) -> tf.Tensor:
    """The Cholesky factor of I + L^T Lambda L, (..., n, n), of the arguments of `filtered_factor`.

    Its determinant is that of C P C^T + R over that of R, where Lambda = C^T R^-1 C.
    """
    identity = tf.eye(scale_tril.shape[-1], dtype=scale_tril.dtype)
    gained = tf.matmul(scale_tril, tf.matmul(precision, scale_tril), transpose_a=True)
    return tf.linalg.cholesky(identity + symmetric(gained))


def filtered_mean(
    mean: tf.Tensor, factor: tf.Tensor, information: tf.Tensor, precision: tf.Tensor
) -> tf.Tensor:
    """m' = m + F F^T (j - Lambda m), (..., n).

    Args:
        mean: m, (..., n).
        factor: F of `filtered_factor`.
        information: j = C^T R^-1 (x - d), (..., n); zero without an observation.
        precision: Lambda, (..., n, n).
    """
    residual = information - tf.linalg.matvec(precision, mean)
    return mean + tf.linalg.matvec(factor, tf.linalg.matvec(factor, residual, transpose_a=True))


def observed(
    state: tuple[tf.Tensor, tf.Tensor],
    frame: tuple[tf.Tensor, tf.Tensor],
    matrix: tf.Tensor,
    variance: tf.Tensor,
    x: tf.Tensor,
    seen: tf.Tensor | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """m' (..., n) and F (..., n, n + k), in Joseph's form: F = [L - K C L, K R^1/2].

    Args:
        state: m and L of p(z | x_<t), (..., n) and (..., n, n).
        frame: mean and Cholesky factor of p(x | x_<t), (..., k) and (..., k, k).
        matrix: C, (..., k, n).
        variance: the diagonal of R, (k,).
        x: the observation, (..., k).
        seen: (...) bool, false where it is missing; all are seen by default.
    """
    mean, scale = state
    spread = tf.matmul(matrix, scale)  # C L
    cross = tf.matmul(spread, scale, transpose_b=True)  # C P
    gain = tf.linalg.matrix_transpose(tf.linalg.cholesky_solve(frame[1], cross))  # K
    if seen is not None:
        gain = tf.where(seen[..., None, None], gain, tf.zeros_like(gain))
    mean += tf.linalg.matvec(gain, x - frame[0])
    return mean, tf.concat([scale - tf.matmul(gain, spread), gain * variance**0.5], axis=-1)


def scale_tril(factor: tf.Tensor, matrix: tf.Tensor, noise: tf.Tensor) -> tf.Tensor:
    """The Cholesky factor of A F F^T A^T + Q, the covariance of A z + noise, (..., k, k).

    Args:
        factor: F, (..., n, any), with z of covariance F F^T.
        matrix: A, (..., k, n).
        noise: Q, (..., k, k), positive definite.
    """
    spread = tf.matmul(matrix, factor)
    return tf.linalg.cholesky(symmetric(tf.matmul(spread, spread, transpose_b=True) + noise))


def symmetric(matrix: tf.Tensor) -> tf.Tensor:
    """The mean of a matrix and its transpose: rounding leaves products slightly asymmetric."""
    return 0.5 * (matrix + tf.linalg.matrix_transpose(matrix))


def packed_size(size: int) -> int:
    """The number of values of `packed` for matrices (size, size)."""
    return size * (size + 1) // 2


def packed(matrix: tf.Tensor) -> tf.Tensor:
    """The lower triangle of matrices (..., n, n) as vectors (..., n (n + 1) / 2)."""
    return tfp.math.fill_triangular_inverse(tf.linalg.band_part(matrix, -1, 0))


def triangular(values: tf.Tensor) -> tf.Tensor:
    """Lower triangular matrices (..., n, n) from `packed` vectors."""
    return tfp.math.fill_triangular(values)


def unpacked(values: tf.Tensor) -> tf.Tensor:
    """Symmetric matrices (..., n, n) from the `packed` vectors of their lower triangles.

    Example:
        >>> unpacked(packed(tf.constant([[1.0, 2.0], [2.0, 3.0]]))).numpy()
        array([[1., 2.],
               [2., 3.]], dtype=float32)
    """
    lower = triangular(values)
    diagonal = tf.linalg.diag(tf.linalg.diag_part(lower))
    return lower + tf.linalg.matrix_transpose(lower) - diagonal

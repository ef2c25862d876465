"""One step of the Kalman filter, on factors of covariances: P = F F^T is never subtracted from.

Shapes have any leading axes that broadcast; n is the size of the state. The dtype is that of the
arguments.

    p(z_t | x_<t) = N(m, L L^T), L lower triangular,    p(z_t | x_<=t) = N(m', F F^T)
"""

from __future__ import annotations

import tensorflow as tf
import tensorflow_probability as tfp


def filtered_factor(scale_tril: tf.Tensor, precision: tf.Tensor) -> tf.Tensor:
    """F (..., n, n), with F F^T = (P^-1 + Lambda)^-1 = L (I + L^T Lambda L)^-1 L^T.

    Args:
        scale_tril: L, (..., n, n), with P = L L^T.
        precision: Lambda = C^T R^-1 C, (..., n, n), what an observation adds; zero without one.
    """
    identity = tf.eye(scale_tril.shape[-1], dtype=scale_tril.dtype)
    gained = tf.matmul(scale_tril, tf.matmul(precision, scale_tril), transpose_a=True)
    root = tf.linalg.cholesky(identity + symmetric(gained))
    return tf.linalg.matrix_transpose(
        tf.linalg.triangular_solve(root, tf.linalg.matrix_transpose(scale_tril))
    )


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


def scale_tril(factor: tf.Tensor, matrix: tf.Tensor, noise: tf.Tensor) -> tf.Tensor:
    """The Cholesky factor of A F F^T A^T + Q, the covariance of A z + noise, (..., k, k).

    Args:
        factor: F, (..., n, n), with z of covariance F F^T.
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

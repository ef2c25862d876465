"""Bounds as pure functions of log likelihoods, KLs and log weights. Nats, float32."""

from __future__ import annotations

import math

import tensorflow as tf


def elbo(
    log_likelihood: tf.Tensor,
    kl: tf.Tensor,
    auxiliary: tf.Tensor | float = 0.0,
    kl_weight: tf.Tensor | float = 1.0,
    free_nats: float = 0.0,
) -> tf.Tensor:
    """The evidence lower bound of each step, (B, T) nats.

        log p(x_t | z_<=t, x_<t) - w max(KL(q_t || p_t), f) + auxiliary_t

    With the default arguments it is a lower bound, and without latents the exact log likelihood.
    With others it is a training objective only.

    Args:
        log_likelihood, kl, auxiliary: (B, T), nats.
        kl_weight: w.
        free_nats: f, the KL per step that is not penalized.

    Example:
        >>> float(elbo(tf.constant(-3.0), tf.constant(1.0), kl_weight=0.5))
        -3.5

    Reference: Kingma and Welling, arXiv:1312.6114; free nats: Kingma et al., arXiv:1606.04934.
    """
    kl = tf.maximum(kl, free_nats) if free_nats else kl
    return log_likelihood - kl_weight * kl + auxiliary


def iwae(log_weights: tf.Tensor, axis: int = 0) -> tf.Tensor:
    """The importance weighted bound from K draws of all latents of a sequence, in nats.

        log( 1/K sum{ w_k : k = 1, ..., K } )      w_k = p(x, z_k) / q(z_k | x)

    Args:
        log_weights: log w_k along `axis`, for whole sequences, not for steps.
        axis: the axis of the K draws.

    Example:
        >>> float(iwae(tf.constant([-3.0, -3.0])))
        -3.0

    Reference: Burda et al., arXiv:1509.00519.
    """
    count = tf.cast(tf.shape(log_weights)[axis], log_weights.dtype)
    return tf.reduce_logsumexp(log_weights, axis=axis) - tf.math.log(count)


def effective_sample_size(log_weights: tf.Tensor) -> tf.Tensor:
    """The effective sample size of K weighted particles, (B,) in [1, K].

        ESS = 1 / sum{ W_k^2 : k = 1, ..., K }      W_k = w_k / sum{ w_j : j }

    Args:
        log_weights: log w, (B, K).

    Example:
        >>> float(effective_sample_size(tf.zeros([1, 4]))[0])
        4.0
    """
    log_weights = log_weights - tf.reduce_logsumexp(log_weights, axis=1, keepdims=True)
    return tf.exp(-tf.reduce_logsumexp(2.0 * log_weights, axis=1))


def resample(
    log_weights: tf.Tensor, uniform: tf.Tensor, ess_threshold: float = 0.5
) -> tuple[tf.Tensor, tf.Tensor]:
    """Systematic resampling of the rows with an effective sample size below a share of K.

        ancestor_i = min{ j : W_1 + ... + W_j > (i - 1 + u) / K }

    The expected number of children of particle j is K W_j. No gradient passes through the ancestor
    indices.

    Args:
        log_weights: log W, (B, K), normalized.
        uniform: u, (B,) in [0, 1).
        ess_threshold: the share of K; 0 never resamples, a number above 1 always does.

    Returns:
        The ancestor of each particle, (B, K) int32, and the new log weights, (B, K): -log K in
        resampled rows, unchanged in others.

    Example:
        >>> weights = tf.math.log([[0.8, 0.1, 0.1, 1e-9]])
        >>> resample(weights, tf.constant([0.5]))[0].numpy().tolist()
        [[0, 0, 0, 1]]

    Reference: Maddison et al., arXiv:1705.09279; Kitagawa (1996).
    """
    count = log_weights.shape[1]
    log_weights = tf.convert_to_tensor(log_weights)
    weights = tf.stop_gradient(tf.nn.softmax(log_weights, axis=1))
    points = (tf.range(count, dtype=tf.float32) + uniform[:, None]) / count
    sums = tf.cumsum(weights, axis=1)
    # Rounding must lead neither past the last particle nor to one that has no weight.
    points = tf.minimum(points, 1.0 - 2.0**-24) * sums[:, -1:]
    below = sums[:, None, :-1] <= points[:, :, None]
    ancestors = tf.reduce_sum(tf.cast(below, tf.int32), axis=2)
    again = effective_sample_size(tf.stop_gradient(log_weights)) < ess_threshold * count
    equal = tf.fill(tf.shape(log_weights), -math.log(count))
    return (
        tf.where(again[:, None], ancestors, tf.range(count)),
        tf.where(again[:, None], equal, log_weights),
    )

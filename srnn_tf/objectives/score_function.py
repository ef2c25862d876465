"""Gradients through draws that are not differentiable: what their log probability is to earn."""

from __future__ import annotations

import keras
import tensorflow as tf

from srnn_tf.density import Terms

DECAY = 0.8  # of the running mean and variance of the learning signal


def rewards_to_go(gains: tf.Tensor, costs: tf.Tensor) -> tf.Tensor:
    """What follows a draw: gains from its own step on, costs after it, (B, S) nats.

        G_t = gain_t + sum{ gain_s - cost_s : s > t }

    The KL of a step is a function of the draws before it, so that no draw pays for its own.

    Example:
        >>> rewards_to_go(tf.constant([[1.0, 2.0]]), tf.constant([[5.0, 7.0]])).numpy()
        array([[-4.,  2.]], dtype=float32)
    """
    return tf.cumsum(gains - costs, axis=1, reverse=True) + costs


def with_score(
    terms: Terms,
    rewards: tf.Tensor,
    mask: tf.Tensor | None,
    mean: tf.Tensor | float = 0.0,
    deviation: tf.Tensor | float = 1.0,
) -> tuple[tf.Tensor, tf.Tensor]:
    """A number of value 0, to add to a loss, and the sums that `RunningSignal` observes.

        a_t = (G_t - baseline_t - c) / max(1, sd)
        -sum{ a_t score_t : t } + 1/2 sum{ (G_t - c - baseline_t)^2 : t }

    Its gradient reaches the score, log q(z_t) at the draw, and the baseline.

    Args:
        terms: those of a density with a `score_function`.
        rewards: G, (B, S).
        mask: (B, S) bool, or None where all steps are real.
        mean, deviation: c and sd. They must not depend on these draws.
    """
    real = tf.ones_like(rewards) if mask is None else tf.cast(mask, tf.float32)
    signal = tf.stop_gradient(rewards) - terms.baseline
    centred = real * (signal - mean)
    weight = tf.stop_gradient(centred) / tf.maximum(deviation, 1.0)
    value = 0.5 * tf.reduce_sum(tf.square(centred)) - tf.reduce_sum(weight * terms.score)
    signal = real * tf.stop_gradient(signal)
    sums = (tf.reduce_sum(x) for x in (real, signal, tf.square(signal)))
    return value - tf.stop_gradient(value), tf.stack(list(sums))


class RunningSignal:
    """The running mean and variance of a learning signal: variables that are not trained."""

    def __init__(self):
        self.variables = tuple(
            keras.Variable(
                0.0, trainable=False, name=f"signal_{name}", aggregation="only_first_replica"
            )
            for name in ("mean", "variance")
        )

    def moments(self) -> tuple[tf.Tensor, tf.Tensor]:
        """The mean and the deviation."""
        mean, variance = (tf.convert_to_tensor(v) for v in self.variables)
        return mean, tf.sqrt(variance)

    def observe(self, sums: tf.Tensor) -> None:
        """Add a batch: the number of its steps, and the sums of the signal and of its square."""
        count, total, squares = tf.unstack(sums)
        mean = total / tf.maximum(count, 1.0)
        variance = tf.maximum(squares / tf.maximum(count, 1.0) - tf.square(mean), 0.0)
        for variable, value in zip(self.variables, (mean, variance), strict=True):
            variable.assign(DECAY * variable + (1.0 - DECAY) * value)


def leave_one_out(log_weights: tf.Tensor) -> tf.Tensor:
    """The bound without each draw's own weight: its log weight replaced by the others' mean.

    For K = 1 it is 0.

    Args:
        log_weights: (K, B).

    Returns:
        (K, B).

    Reference: VIMCO, Mnih and Rezende, arXiv:1602.06725.
    """
    count = log_weights.shape[0]
    if count == 1:
        return tf.zeros_like(log_weights)
    others = (tf.reduce_sum(log_weights, axis=0) - log_weights) / (count - 1)
    own = tf.eye(count, dtype=tf.bool)[:, :, None]
    replaced = tf.where(own, others[:, None], log_weights[None])
    return tf.reduce_logsumexp(replaced, axis=1) - tf.math.log(float(count))

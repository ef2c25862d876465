"""The importance weighted bound (IWAE)."""

from __future__ import annotations

import tensorflow as tf

from srnn_tf.core import checks, draws
from srnn_tf.objectives import functions, score_function
from srnn_tf.objectives.base import Objective
from srnn_tf.objectives.importance import importance

# The most steps (rows times draws times steps) that are evaluated at once, which bounds memory.
MAX_STEPS = 2**16


class IWAE(Objective):
    """The importance weighted bound from K draws of all latents of a sequence, in nats.

        log( 1/K sum{ p(x, z_k) / q(z_k | x) : k = 1, ..., K } )        z_k ~ q(z | x)

    Where no gradient passes through draws, training is VIMCO: each draw is rewarded by the bound
    minus the bound without it (arXiv:1602.06725).

    Args:
        num_samples: K.
        max_samples: the most draws to evaluate at once in training, rounded down to a divisor of K.

    Raises:
        ValueError: an argument is below 1.

    Example:
        >>> IWAE(16)
        IWAE(num_samples=16, max_samples=16)

    Reference: Burda et al., arXiv:1509.00519.
    """

    arguments = ("num_samples", "max_samples")
    trains_score_function = True

    def __init__(self, num_samples: int = 16, max_samples: int = 16):
        checks.sizes(num_samples=num_samples, max_samples=max_samples)
        self.num_samples, self.max_samples = num_samples, max_samples

    def loss(self, density, batch, key, step):
        weights = importance(density, batch, key, self.num_samples, self.max_samples)
        bound, signal = functions.iwae(weights.log_weights), None
        if density.score_function:
            each = tf.ensure_shape(weights.log_weights, [self.num_samples, None])
            signal = bound - score_function.leave_one_out(each)
        return weights.loss(bound, density, signal)

    def bound(self, density, batch, key):
        weights = importance(density, batch, key, self.num_samples, self.max_samples)
        return functions.iwae(weights.log_weights)

    def score(self, job):
        if not self._bound_is_of(IWAE):
            return job.bound(self)
        most = max(1, MAX_STEPS // job.num_steps)
        chunks = -(-self.num_samples // most)
        size = -(-self.num_samples // chunks)
        chunks_of_weights = [
            job.log_weights(draws.draw_seeds(job.seed, start, size))
            for start in range(0, self.num_samples, size)
        ]
        # The last chunk may hold more than was asked for.
        log_weights = tf.concat(chunks_of_weights, axis=0)[: self.num_samples]
        return job.sum_windows(functions.iwae(log_weights))

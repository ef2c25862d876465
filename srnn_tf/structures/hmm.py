"""The hidden Markov model: a filter over a discrete state, exact."""

from __future__ import annotations

import keras
import tensorflow as tf

from srnn_tf.core import checks, nn, scan
from srnn_tf.structures.base import Structure, Trace, fresh_rows, sequence_lengths, where_fresh

TINY = 1e-37  # about the smallest float32 whose logarithm and reciprocal are finite


class _MostlyStay(keras.initializers.Initializer):
    """Logits 2 I + N(0, 0.1^2): a state is e^2 times as likely to stay as to become another one."""

    def __call__(self, shape, dtype=None):
        noise = keras.initializers.RandomNormal(stddev=0.1)(shape, dtype=dtype)
        return 2.0 * tf.eye(shape[0], dtype=noise.dtype) + noise


class HMM(Structure):
    """A hidden Markov model: a discrete state, summed out exactly by filtering.

        s_{t-1} --> s_t --> x_t        p(s_1) = pi,   p(s_t | s_{t-1}) = A[s_{t-1}, s_t]

        log p(x) = sum{ log sum{ p(s_t = k | x_<t) p(x_t | s_t = k) : k } : t = 1, ..., T }
        p(s_t | x_<t) = sum{ A[k, s_t] p(s_{t-1} = k | x_<t) : k },   h_t = log p(s_t | x_<t)

    The emission has p(x | s). Its `read` gives log p(x_{t-1} | s) of each state, and its contexts
    are the log weights of the states: `StateMixture` of as many states. The state is no latent of
    the model, whose likelihood is exact. A step costs K^2.

    Args:
        num_states: K.

    Shapes: call(inputs (B, T, K)) -> Trace with context (B, T, K) float32, kl and log_ratio zero.

    Raises:
        ValueError: `num_states` is below 1; in `build`, the emission does not read K values.

    Example:
        >>> structure = HMM(num_states=4)
        >>> structure.build((None, None, 4))
        >>> structure(tf.zeros([2, 5, 4])).context.shape
        TensorShape([2, 5, 4])

    Reference: Rabiner, Proceedings of the IEEE 77(2), 1989, doi:10.1109/5.18626.
    """

    latent_size = 0

    def __init__(self, num_states: int = 16, **kwargs):
        checks.sizes(num_states=num_states)
        super().__init__(**kwargs)
        self.options = {"num_states": num_states}
        self.num_states = self.context_size = num_states

    def build(self, input_shape):
        if input_shape[-1] != self.num_states:
            raise ValueError(
                f"`structure` hmm with num_states={self.num_states} needs an emission whose `read` "
                f"gives log p(x | s) of {self.num_states} states, such as state_mixture with this "
                f"`num_states`; received one that reads {input_shape[-1]} values"
            )
        size = self.num_states
        self.initial_logits = self.add_weight(
            name="initial_logits", shape=(size,), initializer="zeros"
        )
        self.transition_logits = self.add_weight(
            name="transition_logits", shape=(size, size), initializer=_MostlyStay()
        )

    def initial_probs(self) -> tf.Tensor:
        """p(s_1), (K,) float32."""
        return tf.nn.softmax(tf.convert_to_tensor(self.initial_logits))

    def transition_probs(self) -> tf.Tensor:
        """A, (K, K) float32: row k is p(s_t | s_{t-1} = k)."""
        return tf.nn.softmax(tf.convert_to_tensor(self.transition_logits))

    def initial_states(self, batch_size):
        before = tf.zeros([batch_size, self.num_states])
        return {"fresh": fresh_rows(batch_size), "log_weights": before}

    def call(
        self, inputs, targets=None, states=None, noise=None, mask=None, key=None, evidence=None
    ):
        states = self.initial_states(tf.shape(inputs)[0]) if states is None else states
        probs = self.initial_probs()[None], self.transition_probs()
        initial, transition = (tf.cast(p, self.compute_dtype) for p in probs)

        def step(log_likelihood, states, dense):
            fresh = states["fresh"]
            filtered = tf.nn.softmax(states["log_weights"] + log_likelihood)  # p(s_{t-1} | x_<t)
            first = dense(fresh[:, None], "initial")
            p = tf.cast(where_fresh(fresh, first, dense(filtered, "transition")), tf.float32)
            # Normalized once more: products in bfloat16 would not sum to one.
            log_weights = tf.nn.log_softmax(tf.math.log(tf.maximum(p, TINY)))
            return log_weights, {"fresh": tf.zeros_like(fresh), "log_weights": log_weights}

        context, states = scan.unroll(
            step,
            nn.time_major(tf.cast(inputs, tf.float32)),
            states,
            weights={"initial": (initial, None), "transition": (transition, None)},
            lengths=sequence_lengths(mask),
            time_major=True,
        )
        zero = tf.zeros(tf.shape(inputs)[:2])
        return Trace(nn.time_major(context), zero, zero, zero, states)

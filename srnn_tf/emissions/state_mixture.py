"""A mixture over discrete states, whose log weights are the context."""

from __future__ import annotations

import keras
import tensorflow as tf

from srnn_tf.core import checks, random
from srnn_tf.emissions.base import Emission
from srnn_tf.emissions.chain import chained

WEIGHTS = ("context", "dense")


class StateMixture(Emission):
    """A mixture of frames over K states; values are independent given the state.

        p(x | h) = sum{ w_k prod{ p(x_i | theta_k) : i = 1, ..., D } : k = 1, ..., K }

    With `weights="context"`, w = softmax(h), and a structure reads log p(x | theta_k) of each
    state. With `HMM` the model is a hidden Markov model. With `weights="dense"`,
    w = softmax(W h + b) for contexts of any size, and a structure reads the frame. With `RNN` that
    is a recurrent network whose frames have K modes, also exact.

    Args:
        event_size: D.
        likelihood: a `Likelihood`, its name or its config.
        num_states: K.
        weights: "context" or "dense".

    Shapes: call(context (B, T, H)) -> `tfd.Distribution`, batch (B, T), event (D,), H = K with
    `weights="context"`. Log densities are nats, float32. `greedy()` is that of the state with the
    largest weight.

    Raises:
        ValueError: a size is below 1, `weights` or the likelihood is unknown, or the likelihood
            does not support `event_size`; in `build`, contexts are not K log weights.

    Example:
        >>> emission = StateMixture(88, "bernoulli", num_states=4)
        >>> emission.build((None, None, 4))
        >>> x = tf.ones([2, 5, 88])
        >>> emission(tf.zeros([2, 5, 4])).log_prob(x).shape, emission.read(x).shape
        (TensorShape([2, 5]), TensorShape([2, 5, 4]))
    """

    def __init__(
        self, event_size, likelihood="bernoulli", num_states=16, weights="context", **kwargs
    ):
        checks.sizes(num_states=num_states)
        checks.choice("weights", weights, WEIGHTS)
        super().__init__(event_size, likelihood, **kwargs)
        self.num_states = num_states
        self.params_size = self.likelihood.frame_params_size(event_size)
        self.dense = None
        if weights == "dense":
            self.dense = keras.layers.Dense(num_states, dtype=self.dtype_policy, name="dense")

    def build(self, input_shape):
        if self.dense is not None:
            self.dense.build(input_shape)
        elif input_shape[-1] != self.num_states:
            raise ValueError(
                f"`emission` state_mixture with weights='context' needs contexts of "
                f"num_states={self.num_states} log weights, those of the structure hmm with this "
                f"`num_states`; received contexts of {input_shape[-1]} values: for other "
                "structures use weights='dense'"
            )
        # Equal states would stay equal: their gradients are the same.
        self.state_params = self.add_weight(
            name="state_params",
            shape=(self.num_states, self.params_size),
            initializer=keras.initializers.RandomNormal(stddev=1.0),
        )

    @property
    def read_size(self):
        return self.event_size if self.dense is not None else self.num_states

    def read(self, x):
        return x if self.dense is not None else self._of_each(x)

    def call(self, context, temperature=1.0, key=None):
        def log_weights(context):
            logits = context if self.dense is None else self.dense(context)
            return tf.nn.log_softmax(tf.cast(logits, tf.float32) / temperature)

        def score(context, x, key):
            return tf.reduce_logsumexp(
                log_weights(context) + self._of_each(x, temperature), axis=-1
            )

        def draw(context, seed):
            scores = log_weights(context)
            if seed is not None:
                u = random.uniform(tf.shape(scores), random.fold_in(seed, 0))
                scores -= tf.math.log(-tf.math.log(u))
            params = tf.gather(tf.convert_to_tensor(self.state_params), tf.argmax(scores, axis=-1))
            frame = self.likelihood.frame(params, self.event_size, temperature)
            return frame.greedy() if seed is None else frame.sample(seed=random.fold_in(seed, 1))

        return chained(self, context, score, draw, key)

    def _of_each(self, x, temperature=1.0):
        """log p(x | theta_k) of each state, (..., D) to (..., K)."""
        params = tf.convert_to_tensor(self.state_params)
        return self.likelihood.log_prob_of_each(params, x, temperature)

    def get_config(self):
        weights = WEIGHTS[self.dense is not None]
        return {**super().get_config(), "num_states": self.num_states, "weights": weights}

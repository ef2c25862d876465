"""`Emission`, the base class of all emissions."""

from __future__ import annotations

import abc

import keras
import tensorflow as tf
import tensorflow_probability as tfp

from srnn_tf.core import checks, layer_state, random, registry
from srnn_tf.core.types import Config, Temperature
from srnn_tf.likelihoods import LIKELIHOODS, Likelihood


class Emission(keras.layers.Layer):
    """The distribution of the D values of a frame, given its context.

        p(x_t | h_t) = emission(h_t)

    Subclasses define `build`, `call` and, for further arguments, `get_config`. One that computes
    what the structure reads also defines `read` and `read_size`.

    Args:
        event_size: D.
        likelihood: a `Likelihood`, its name or its config.

    Attributes:
        normalized: whether log p(x | h) can be computed. If False, the distributions are
            `Unnormalized`: they are trained by contrastive divergence, and have no `log_prob`.
    """

    normalized: bool = True

    def __init__(self, event_size: int, likelihood: Likelihood | str | Config, **kwargs):
        checks.sizes(event_size=event_size)
        super().__init__(autocast=False, **kwargs)
        self.supports_masking = True
        self.event_size = event_size
        self.likelihood = registry.create("likelihood", LIKELIHOODS, likelihood, Likelihood)

    def __call__(self, context, temperature=1.0, key=None):
        checks.temperature(temperature)
        if tf.is_tensor(temperature):
            temperature = tf.stop_gradient(temperature)
        if self.built:
            checks.width("context", context.shape, self.get_build_config()["input_shape"][-1])
        return super().__call__(context, temperature=temperature, key=key)

    @abc.abstractmethod
    def call(
        self, context: tf.Tensor, temperature: Temperature = 1.0, key: random.Key | None = None
    ) -> tfp.distributions.Distribution:
        """The distribution of each frame, of batch shape (B, T) and event shape (D,).

        Args:
            context: h_t, (B, T, H).
            temperature: a temperature t divides logits by t and multiplies scales by sqrt(t). It
                has no gradient.
            key: the key for dropout; None for no dropout.

        Returns:
            A distribution with `log_prob`, `sample` and `greedy()`. `log_prob` evaluates all values
            at once. `sample` draws values in order where they depend on one another. `greedy()`
            takes the more probable bit, or the mean of the component with the largest weight, in
            place of a draw.

        Raises:
            ValueError: the contexts have another width than in `build`, or `temperature` is not
                positive.
        """

    @property
    def read_size(self) -> int:
        """R, the number of values of `read` per frame; D here. It is known before `build`."""
        return self.event_size

    def read(self, x: tf.Tensor) -> tf.Tensor:
        """What the structure reads of each frame, (B, T, D) to (B, T, R): the frame itself here.

            h_t = structure(read(x_1), ..., read(x_{t-1}))

        A subclass may return features of the frame that only the emission can compute, such as
        log p(x_t | s) of each state s. They may depend on its weights, which then have gradients
        through the structure too. A reading depends on its own frame alone; that of a frame of
        zeros must be finite, since zeros precede the first frame.

        Args:
            x: frames, (B, T, D).
        """
        return x

    @property
    def order(self) -> tuple[int, ...]:
        """The values of a frame as they are drawn, none depending on a later one: 0, 1, ... here.

        p(x | h) = prod{ p(x_i | x_j, j before i in this order, h) : i = 1, ..., D }
        """
        return tuple(range(self.event_size))

    def get_config(self):
        likelihood = registry.describe(LIKELIHOODS, self.likelihood)
        return {**super().get_config(), "event_size": self.event_size, "likelihood": likelihood}

    def __reduce__(self):
        return layer_state.reduced(self)

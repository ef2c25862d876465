"""Distributions of frames of bits whose partition function is not known."""

from __future__ import annotations

import abc

import tensorflow as tf
import tensorflow_probability as tfp

from srnn_tf.core import random
from srnn_tf.core.random import Key
from srnn_tf.emissions.chain import dims

tfd = tfp.distributions


class Unnormalized(tfd.Distribution, abc.ABC):
    """A distribution of bits that is known up to a constant, with a path to a known one.

        p(x) = exp(-F(x)) / Z        p_b(x) = exp(-F_b(x)) / Z_b,  0 <= b <= 1,  F_1 = F

    Z_0 is known, and p_0 can be sampled. So `AIS` and `RAISE` estimate log p(x). It has no
    `log_prob`. Training follows contrastive divergence:

        gradient of F(x_k) - F(x),  x_k after k transitions from x, without a gradient of its own

    Subclasses define `free_energy`, `transition`, `initial` and `initial_log_partition`. They are
    pure functions, also of x with more leading axes than the distribution.

    Args:
        batch_shape: that of the distribution, a list of sizes.
        event_size: D.
        num_uniforms: U, the uniform draws that a transition or an initial draw of a frame needs.
        cd_steps: k.
        num_steps: K, the number of transitions of `sample`. It draws x_0 ~ p_0 and moves it by
            transitions at b = 1/K, 2/K, ..., 1. So draws are those of the annealed sampler, not
            of p; `RAISE` with K steps bounds the density of these draws.

    Reference: Hinton, Neural Computation 14(8), 2002.
    """

    def __init__(self, batch_shape, event_size, num_uniforms, cd_steps, num_steps, **parameters):
        self.sizes, self.event_size, self.num_uniforms = batch_shape, event_size, num_uniforms
        self.cd_steps, self.num_steps = cd_steps, num_steps
        super().__init__(
            dtype=tf.float32,
            reparameterization_type=tfd.NOT_REPARAMETERIZED,
            validate_args=False,
            allow_nan_stats=True,
            parameters=parameters,
            name=type(self).__name__,
        )

    @abc.abstractmethod
    def free_energy(self, x: tf.Tensor, beta: tf.Tensor | float = 1.0) -> tf.Tensor:
        """F_b(x) in nats, (..., D) to (...)."""

    @abc.abstractmethod
    def transition(
        self, x: tf.Tensor, uniform: tf.Tensor, beta: tf.Tensor | float = 1.0
    ) -> tf.Tensor:
        """One step of a Markov chain that leaves p_b invariant and is reversible, (..., D).

        Args:
            x: (..., D).
            uniform: (..., U), draws in (0, 1).
            beta: b.
        """

    @abc.abstractmethod
    def initial(self, uniform: tf.Tensor) -> tf.Tensor:
        """A draw from p_0, (..., D), from uniform draws (..., U)."""

    @abc.abstractmethod
    def initial_log_partition(self) -> tf.Tensor:
        """log Z_0, of the batch shape."""

    def pseudo_log_likelihood(self, x: tf.Tensor) -> tf.Tensor:
        """sum{ log p(x_i | x_j, j != i) : i } in nats, (..., D) to (...). It needs no Z."""
        energy, size = self.free_energy(x), self.event_size

        def one(i):
            flipped = tf.where(tf.range(size) == i, 1.0 - x, x)
            return tf.math.log_sigmoid(self.free_energy(flipped) - energy)

        each = tf.map_fn(one, tf.range(size), fn_output_signature=tf.float32)
        return tf.reduce_sum(each, axis=0)

    def trained(self, x: tf.Tensor, key: Key | None) -> tf.Tensor:
        """The value of the pseudo-likelihood, with the gradient of contrastive divergence.

        Args:
            x: frames, of the distribution's batch shape.
            key: the key for the chain; None for the value alone.
        """
        value = tf.stop_gradient(self.pseudo_log_likelihood(x))
        if key is None:
            return value
        surrogate = self.free_energy(self._after(x, key)) - self.free_energy(x)
        return value + surrogate - tf.stop_gradient(surrogate)

    def _after(self, x, key):
        """x_k, after `cd_steps` transitions from x."""
        seeds, shape = key.split(self.cd_steps), [*dims(x)[:-1], self.num_uniforms]

        def body(i, x):
            return i + 1, self.transition(x, key.at(seeds[i]).uniform(shape, axis=0))

        _, x = tf.while_loop(
            lambda i, x: i < self.cd_steps, body, (0, x), maximum_iterations=self.cd_steps
        )
        return tf.stop_gradient(x)

    def greedy(self) -> tf.Tensor:
        """The annealed sampler with every uniform draw 1/2: the more probable bits of each step."""
        return self._annealed([], lambda k, shape: tf.fill(shape, 0.5))

    def _sample_n(self, n, seed=None):
        n = n if tf.get_static_value(n) is None else int(tf.get_static_value(n))
        seeds = random.split(random.as_seed(seed), self.num_steps + 1)
        return self._annealed([n], lambda k, shape: random.uniform(shape, seeds[k]))

    def _annealed(self, leading, uniform):
        shape = [*leading, *self.sizes, self.num_uniforms]

        def body(k, x):
            beta = tf.cast(k, tf.float32) / self.num_steps
            return k + 1, self.transition(x, uniform(k, shape), beta)

        _, x = tf.while_loop(
            lambda k, x: k <= self.num_steps,
            body,
            (1, self.initial(uniform(0, shape))),
            maximum_iterations=self.num_steps,
        )
        return x

    def _log_prob(self, x):
        raise ValueError(
            "log p(x) of frames whose partition function is not known cannot be computed: estimate "
            "it by AIS or RAISE, or use an emission with normalized=True"
        )

    def _batch_shape(self):
        return tf.TensorShape([n if isinstance(n, int) else None for n in self.sizes])

    def _batch_shape_tensor(self):
        return tf.stack(self.sizes)

    def _event_shape(self):
        return tf.TensorShape([self.event_size])

    def _event_shape_tensor(self):
        return tf.constant([self.event_size])

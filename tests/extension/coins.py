"""A structure whose latents are bits: no gradient passes through their draws."""

import tensorflow as tf

from srnn_tf import structures
from srnn_tf.core import checks
from srnn_tf.structures.base import Structure, Trace


@structures.register("coins")
class Coins(Structure):
    """Independent coins: p(z_t) = Bern(sigmoid(b)), q(z_t | x_t) = Bern(sigmoid(x_t W + d)).

    Args:
        latent_size: Z, the number of coins per step.
    """

    score_function = True

    def __init__(self, latent_size: int, **kwargs):
        checks.sizes(latent_size=latent_size)
        super().__init__(**kwargs)
        self.options = {"latent_size": latent_size}
        self.latent_size = self.context_size = latent_size

    def build(self, input_shape):
        size = self.latent_size
        self.prior = self.add_weight(name="prior", shape=(size,), initializer="zeros")
        self.kernel = self.add_weight(name="kernel", shape=(input_shape[-1], size))
        self.bias = self.add_weight(name="bias", shape=(size,), initializer="zeros")
        self.baseline = self.add_weight(name="baseline", shape=(input_shape[-1],))

    def initial_states(self, batch_size):
        return ()

    def call(
        self, inputs, targets=None, states=None, noise=None, mask=None, key=None, evidence=None
    ):
        p = tf.broadcast_to(self.prior.value, tf.shape(noise))
        q = p if targets is None else tf.tensordot(targets, self.kernel.value, 1) + self.bias
        uniform = 0.5 * tf.math.erfc(-noise * 0.5**0.5)
        z = tf.cast(uniform < tf.sigmoid(q), tf.float32)
        normalizer = tf.math.softplus(p) - tf.math.softplus(q)
        kl = tf.sigmoid(q) * (q - p) + normalizer
        score = tf.reduce_sum(z * q - tf.math.softplus(q), axis=-1)
        baseline = None if targets is None else tf.tensordot(targets, self.baseline.value, 1)
        return Trace(
            context=tf.cast(z, self.compute_dtype),
            kl=tf.reduce_sum(kl, axis=-1),
            log_ratio=tf.reduce_sum(z * (q - p) + normalizer, axis=-1),
            auxiliary=tf.zeros_like(score),
            states=(),
            posterior_mean=tf.sigmoid(q),
            posterior_log_variance=-tf.math.softplus(q) - tf.math.softplus(-q),
            kl_per_unit=kl,
            score=None if targets is None else score,
            baseline=baseline,
        )

"""A structure: Gaussian latents that form a Markov chain, without a recurrent network."""

import tensorflow as tf

from srnn_tf import structures
from srnn_tf.core import checks, nn, scan
from srnn_tf.core.random import fold
from srnn_tf.structures.base import Draws, Structure, latent_trace, sequence_lengths


@structures.register("markov")
class Markov(Structure):
    """A deep Markov model.

        z_{t-1} --> z_t --> x_t          p(x, z) = prod{ p(x_t | z_t) p(z_t | z_{t-1}) : t }
                                         q(z | x) = prod{ q(z_t | z_{t-1}, x_t) : t },  z_0 = 0

    Args:
        latent_size: Z.
        hidden_size: the hidden layer of prior and posterior.
    """

    def __init__(self, latent_size: int, hidden_size: int = 16, **kwargs):
        checks.sizes(latent_size=latent_size, hidden_size=hidden_size)
        super().__init__(**kwargs)
        self.options = {"latent_size": latent_size, "hidden_size": hidden_size}
        self.latent_size = self.context_size = latent_size
        heads = {"size": latent_size, "hidden_size": hidden_size, "dtype": self.dtype_policy}
        self.prior = nn.GaussianHead(**heads, name="prior")
        self.posterior = nn.GaussianHead(**heads, name="posterior")

    def build(self, input_shape):
        self.prior.build((None, None, self.latent_size))
        self.posterior.build((None, None, input_shape[-1] + self.latent_size))

    def initial_states(self, batch_size):
        return {"z": tf.zeros([batch_size, self.latent_size])}

    def call(
        self, inputs, targets=None, states=None, noise=None, mask=None, key=None, evidence=None
    ):
        states = self.initial_states(tf.shape(inputs)[0]) if states is None else states
        noise, x = nn.time_major(noise), None if targets is None else nn.time_major(targets)
        drawn_from = self.prior if x is None else self.posterior
        head = drawn_from.part(x, tf.shape(noise)[:2], fold(key, "drawn"))

        def step(inputs, states, dense):
            before = tf.cast(states["z"], self.compute_dtype)
            q = head.step(inputs["head"], before, dense)
            z = nn.gaussian_draw(q, inputs["noise"])
            return (before, z, q), {"z": z}

        (before, z, q), states = scan.unroll(
            step,
            {"head": head.inputs, "noise": noise},
            states,
            weights=head.weights,
            lengths=sequence_lengths(mask),
            time_major=True,
        )
        p = q if x is None else self.prior(before, key=fold(key, "prior"))
        context = tf.cast(z, self.compute_dtype)
        return latent_trace(Draws(context, z, q, p), context, states)

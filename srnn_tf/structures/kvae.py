"""The Kalman variational autoencoder: latents that are observations of a switching linear model."""

from __future__ import annotations

import math
from typing import NamedTuple

import keras
import tensorflow as tf

from srnn_tf.core import checks, kalman, nn, recurrent, scan
from srnn_tf.structures.base import (
    Structure,
    Trace,
    checked,
    fresh_rows,
    fresh_steps,
    sequence_lengths,
    where_fresh,
)


class Filtered(NamedTuple):
    """The Kalman filter of a `KVAE` at each step, float32; leading axes (T, B), or (B, T)."""

    a: tf.Tensor  # (..., Z), the latents: given, drawn from the prior, or its mean in gaps
    alpha: tf.Tensor  # (..., K), the weights of the modes
    transition_matrix: tf.Tensor  # A_t, (..., n, n)
    observation_matrix: tf.Tensor  # C_t, (..., Z, n)
    mean: tf.Tensor  # (..., n), of p(z_t | a_<t)
    scale_tril: tf.Tensor  # (..., n, n), the Cholesky factor of its covariance
    filtered_mean: tf.Tensor  # (..., n), of p(z_t | a_<=t)
    filtered_factor: tf.Tensor  # F (..., n, n + Z); its covariance is F F^T
    prior_mean: tf.Tensor  # (..., Z), of p(a_t | a_<t)
    prior_scale_tril: tf.Tensor  # (..., Z, Z), the Cholesky factor of its covariance


class KVAE(Structure):
    """The Kalman variational autoencoder: a linear Gaussian model of the latents, integrated out.

        a_{t-1} --> LSTM --> alpha_t      A_t = sum{ alpha_tk A_k : k },  C_t alike
                               |
        z_{t-1} -------------> z_t --> a_t --> x_t      z_t ~ N(A_t z_{t-1}, Q), z_1 ~ N(0, P_0)
                                                        a_t ~ N(C_t z_t, R)

        p(x, a) = prod{ p(x_t | a_t) p(a_t | a_<t) : t = 1, ..., T }
        p(a_t | a_<t) = N(C_t m_t, C_t P_t C_t^T + R),   p(z_t | a_<t) = N(m_t, P_t) (Kalman filter)
        q(a | x) = prod{ q(a_t | x_t) : t = 1, ..., T },   h_t = tanh(linear(a_t))

    alpha_t = softmax(linear(LSTM(a_1, ..., a_{t-1}))), with a learned a_0. The latents of the model
    are the a_t, whose prior has a full covariance. The paper also draws z, from smoothed marginals;
    here the z are integrated out, which gives a tighter bound with less noise. Given the a_t, only
    the filter is computed step by step. The filter is float32 under any dtype policy.

    Args:
        latent_size: Z, the size of a.
        state_size: n, the size of z.
        num_modes: K, the number of pairs A_k, C_k. With 1 the prior of a is one linear model.
        units: the width of the LSTM.
        hidden_size: H, the width of the layer of tanh before q(a_t | x_t), and of h_t.
        posterior_variance: the largest variance of q(a_t | x_t).
        transition_variance, observation_variance: the diagonals of Q and R, or their first values.
        initial_variance: the diagonal of P_0.
        train_variances: train the diagonals of Q and R.

    Shapes: call(inputs (B, T, D), targets (B, T, D), noise (B, T, Z), observed (B, T)) -> Trace,
    context (B, T, H). `observed`, bool, with `targets` only, is false where x_t is missing: the
    filter skips it, h_t and alpha_{t+1} read the mean of p(a_t | a_<t), and kl is 0. All are
    observed by default.

    Raises:
        ValueError: a size is below 1 or a variance is not positive; in `call`, `observed` is not
            bool, not (B, T), or given without `targets`.

    Example:
        >>> structure = KVAE(latent_size=2, state_size=4, num_modes=3, units=8, hidden_size=8)
        >>> structure.build((None, None, 88))
        >>> x = tf.zeros([2, 5, 88])
        >>> structure(x, targets=x, noise=tf.zeros([2, 5, 2])).kl_per_unit.shape
        TensorShape([2, 5, 2])

    Reference: Fraccaro et al., arXiv:1710.05741.
    """

    def __init__(
        self,
        latent_size: int,
        state_size: int,
        num_modes: int = 3,
        units: int = 50,
        hidden_size: int = 256,
        posterior_variance: float = 0.03,
        transition_variance: float = 0.08,
        observation_variance: float = 0.03,
        initial_variance: float = 20.0,
        train_variances: bool = False,
        **kwargs,
    ):
        options = checked(locals())
        checks.sizes(state_size=state_size, num_modes=num_modes, hidden_size=hidden_size)
        for name, value in options.items():
            if name.endswith("_variance"):
                checks.positive(**{name: value})
        super().__init__(**kwargs)
        self.options, self.context_size = options, hidden_size
        self.latent_size, self.state_size, self.num_modes = latent_size, state_size, num_modes
        self.initial_variance = initial_variance

        def dense(size, name, activation=None):
            return keras.layers.Dense(size, activation, dtype=self.dtype_policy, name=name)

        self.encoder, self.decoder = (dense(hidden_size, n, "tanh") for n in ("encoder", "decoder"))
        self.mean, self.spread = (dense(latent_size, name) for name in ("mean", "spread"))
        self.recurrent = recurrent.LSTM(units, dtype=self.dtype_policy, name="recurrent")
        self.mode_weights = dense(num_modes, "mode_weights")

    def build(self, input_shape):
        options, size, states = self.options, self.latent_size, self.state_size
        self.encoder.build(input_shape)
        for layer in (self.mean, self.spread):
            layer.build((None, None, self.context_size))
        self.decoder.build((None, None, size))
        self.recurrent.build((None, None, size))
        self.mode_weights.build((None, None, options["units"]))
        self.initial_latent = self.add_weight(
            name="initial_latent", shape=(size,), initializer="zeros"
        )
        self.transition_matrices = self.add_weight(
            name="transition_matrices",
            shape=(self.num_modes, states, states),
            initializer=_Identities(),
        )
        self.observation_matrices = self.add_weight(
            name="observation_matrices",
            shape=(self.num_modes, size, states),
            initializer=keras.initializers.RandomNormal(stddev=0.05),
        )
        self.log_transition_variance, self.log_observation_variance = (
            self.add_weight(
                name=f"log_{name}",
                shape=(width,),
                initializer=keras.initializers.Constant(math.log(options[name])),
                trainable=options["train_variances"],
            )
            for name, width in (("transition_variance", states), ("observation_variance", size))
        )

    def transition_variance(self) -> tf.Tensor:
        """The diagonal of Q, (n,) float32."""
        return tf.exp(tf.convert_to_tensor(self.log_transition_variance))

    def observation_variance(self) -> tf.Tensor:
        """The diagonal of R, (Z,) float32."""
        return tf.exp(tf.convert_to_tensor(self.log_observation_variance))

    def initial_states(self, batch_size):
        size = self.state_size
        return {
            "fresh": fresh_rows(batch_size),
            "a": tf.zeros([batch_size, self.latent_size]),
            "recurrent": self.recurrent.zero_state(batch_size),
            "mean": tf.zeros([batch_size, size]),
            "factor": tf.zeros([batch_size, size, size + self.latent_size]),
        }

    def call(
        self,
        inputs,
        targets=None,
        states=None,
        noise=None,
        mask=None,
        key=None,
        evidence=None,
        observed=None,
    ):
        states = self.initial_states(tf.shape(inputs)[0]) if states is None else states
        lengths, noise = sequence_lengths(mask), nn.time_major(noise)
        if observed is not None:
            if targets is None:
                raise ValueError("`observed` must be None without `targets`, of which it tells")
            checks.observed_shape(observed, inputs.shape[:2])
            observed = nn.time_major(tf.convert_to_tensor(observed))
        if targets is None:
            rows = tf.shape(inputs)[0]
            noise = tf.broadcast_to(noise, [tf.shape(noise)[0], rows, self.latent_size])
            f, states = self._in_turn({"noise": noise}, states, lengths)
            q = f.prior_mean, _log_variance(f.prior_scale_tril)
            kl = log_ratio = tf.zeros_like(noise)
        else:
            q = self._posterior(nn.time_major(targets))
            f, states = self._given(nn.gaussian_draw(q, noise), observed, states, lengths)
            kl = nn.gaussian_kl_tril(q, f.prior_mean, f.prior_scale_tril)
            log_p = nn.gaussian_log_prob_tril(f.a, f.prior_mean, f.prior_scale_tril)
            log_ratio = nn.gaussian_log_prob(f.a, *q) - log_p
            if observed is not None:
                kl, log_ratio = (tf.where(observed[..., None], x, 0.0) for x in (kl, log_ratio))
        kl, log_ratio = nn.time_major(kl), nn.time_major(log_ratio)
        total = tf.reduce_sum(kl, axis=-1)
        return Trace(
            context=self.decoder(nn.time_major(f.a)),
            kl=total,
            log_ratio=tf.reduce_sum(log_ratio, axis=-1),
            auxiliary=tf.zeros_like(total),
            states=states,
            posterior_mean=nn.time_major(q[0]),
            posterior_log_variance=nn.time_major(q[1]),
            kl_per_unit=kl,
            scale_tril=nn.time_major(f.prior_scale_tril) if targets is None else None,
        )

    def filter(
        self,
        latents: tf.Tensor,
        observed: tf.Tensor | None = None,
        mask: tf.Tensor | None = None,
    ) -> Filtered:
        """The Kalman filter over given latents.

        Args:
            latents: a, (B, T, Z).
            observed: (B, T) bool, false where a latent is missing. All are observed by default.
            mask: (B, T) bool, true where a step is real; right-padded.
        """
        rows, lengths = tf.shape(latents)[0], sequence_lengths(mask)
        if observed is not None:
            checks.observed_shape(observed, latents.shape[:2])
            observed = nn.time_major(tf.convert_to_tensor(observed))
        latents, states = nn.time_major(latents), self.initial_states(rows)
        filtered, _ = self._given(latents, observed, states, lengths)
        return Filtered(*map(nn.time_major, filtered))

    def _posterior(self, x):
        """q(a_t | x_t): mean and log variance."""
        hidden = self.encoder(x)
        mean, spread = (tf.cast(head(hidden), tf.float32) for head in (self.mean, self.spread))
        most = math.log(self.options["posterior_variance"])
        return mean, most + tf.math.log_sigmoid(spread)

    def _given(self, a, observed, states, lengths):
        """The filter over latents (T, B, Z); without gaps nothing else is in the loop."""
        if observed is not None:
            return self._in_turn({"a": a, "observed": observed}, states, lengths)
        steps, fresh = tf.shape(a)[0], states["fresh"]
        first = where_fresh(fresh, tf.convert_to_tensor(self.initial_latent), states["a"])
        before = tf.concat([tf.expand_dims(first, 0), a[:-1]], axis=0)
        hidden, recurrent = self.recurrent(before, states["recurrent"], lengths)
        alpha = tf.nn.softmax(tf.cast(self.mode_weights(hidden), tf.float32))
        transition, observation = self._matrices(tf.tensordot(alpha, self._modes(), 1))

        def step(inputs, states, training=False):
            fresh, a, transition, observation, q, r = inputs
            z, prior = self._predicted(fresh, transition, observation, q, r, states)
            filtered = kalman.observed(z, prior, observation, r, a)
            return (*z, *filtered, *prior), filtered

        inputs = fresh_steps(fresh, steps), a, transition, observation, *self._variances(steps)
        before = states["mean"], states["factor"]
        parts, last = scan.unroll(step, inputs, before, lengths=lengths, time_major=True)
        real = tf.fill([tf.shape(a)[1]], steps) if lengths is None else lengths
        at = tf.stack([tf.maximum(real - 1, 0), tf.range(tf.shape(a)[1])], axis=-1)
        some = real > 0
        states = {
            "fresh": tf.where(some, 0.0, fresh),
            "a": tf.where(some[:, None], tf.gather_nd(a, at), states["a"]),
            "recurrent": recurrent,
            "mean": last[0],
            "factor": last[1],
        }
        return Filtered(a, alpha, transition, observation, *parts), states

    def _in_turn(self, given, states, lengths):
        """The filter where a_t, so alpha_{t+1}, depends on it: draws from the prior, and gaps.

        Args:
            given: time major; "noise", or "a" and "observed".
            states, lengths: as in `_given`.
        """
        dtype, layer, head = self.compute_dtype, self.recurrent, self.mode_weights
        kernel = tf.concat([layer.kernel, layer.recurrent_kernel], axis=0)
        weights = {
            "initial": (tf.convert_to_tensor(self.initial_latent)[None], None),
            "recurrent": (tf.cast(kernel, dtype), tf.cast(layer.bias, dtype)),
            "mode_weights": (tf.cast(head.kernel, dtype), tf.cast(head.bias, dtype)),
            "modes": (self._modes(), None),
        }

        def step(inputs, states, dense):
            fresh, (h, c) = states["fresh"], states["recurrent"]
            q, r = inputs["variances"]
            before = where_fresh(fresh, dense(fresh[:, None], "initial"), states["a"])
            x = tf.concat([tf.cast(before, dtype), h], axis=-1)
            h, c = scan.lstm_step(dense(x, "recurrent"), c)
            alpha = tf.nn.softmax(tf.cast(dense(h, "mode_weights"), tf.float32))
            transition, observation = self._matrices(dense(alpha, "modes"))
            before = states["mean"], states["factor"]
            z, prior = self._predicted(fresh, transition, observation, q, r, before)
            seen = inputs.get("observed")
            if seen is None:
                a = prior[0] + tf.linalg.matvec(prior[1], inputs["noise"])
            else:
                a = tf.where(seen[:, None], inputs["a"], prior[0])
            filtered = kalman.observed(z, prior, observation, r, a, seen)
            outputs = Filtered(a, alpha, transition, observation, *z, *filtered, *prior)
            states = {"a": a, "recurrent": (h, c), "mean": filtered[0], "factor": filtered[1]}
            return outputs, {"fresh": tf.zeros_like(fresh), **states}

        steps = tf.shape(tf.nest.flatten(given)[0])[0]
        inputs = {**given, "variances": self._variances(steps)}
        return scan.unroll(step, inputs, states, weights=weights, lengths=lengths, time_major=True)

    def _variances(self, steps):
        """The diagonals of Q and R for each step."""
        diagonals = self.transition_variance(), self.observation_variance()
        return [tf.broadcast_to(x, [steps, x.shape[0]]) for x in diagonals]

    def _modes(self):
        """The matrices of each mode side by side, (K, n n + Z n)."""
        matrices = (self.transition_matrices, self.observation_matrices)
        flat = [tf.reshape(tf.convert_to_tensor(m), [self.num_modes, -1]) for m in matrices]
        return tf.concat(flat, axis=-1)

    def _matrices(self, flat):
        """A_t (..., n, n) and C_t (..., Z, n) from (..., n n + Z n)."""
        size, shape = self.state_size, tf.shape(flat)[:-1]
        parts = tf.split(flat, [size * size, self.latent_size * size], axis=-1)
        shapes = [(size, size), (self.latent_size, size)]
        return [
            tf.reshape(part, tf.concat([shape, sizes], axis=0))
            for part, sizes in zip(parts, shapes, strict=True)
        ]

    def _predicted(self, fresh, transition, observation, q, r, before):
        """Mean and scale of p(z_t | a_<t) and of p(a_t | a_<t), from those of p(z_{t-1} | a_<t)."""
        mean = tf.linalg.matvec(transition, before[0])
        scale_tril = kalman.scale_tril(before[1], transition, tf.linalg.diag(q))
        first = 0.0, self.initial_variance**0.5 * tf.eye(self.state_size)
        mean, scale_tril = where_fresh(fresh, first, (mean, scale_tril))
        scale = kalman.scale_tril(scale_tril, observation, tf.linalg.diag(r))
        return (mean, scale_tril), (tf.linalg.matvec(observation, mean), scale)


class _Identities(keras.initializers.Initializer):
    """K identity matrices, (K, n, n)."""

    def __call__(self, shape, dtype=None):
        return tf.eye(shape[-1], batch_shape=shape[:1], dtype=dtype)


def _log_variance(scale_tril):
    return tf.math.log(tf.reduce_sum(tf.square(scale_tril), axis=-1))

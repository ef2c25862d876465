"""What a Keras user would write: the same models from stock layers, `keras.layers.LSTM` first."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from srnn_tf import objectives
from srnn_tf.core import nn
from srnn_tf.core.registry import create
from srnn_tf.likelihoods import LIKELIHOODS, Likelihood


class StockModel(keras.Model):
    """Batch major, `keras.layers` throughout; the likelihoods are ours, since Keras has none."""

    def __init__(self, structure: dict[str, Any], emission: dict[str, Any]):
        super().__init__()
        layers, rate = keras.layers, structure.get("dropout", 0.0)
        lstm = lambda: layers.LSTM(structure["units"], return_sequences=True)  # noqa: E731
        self.latent = structure.get("latent_size", 0)
        self.embed, self.drop = layers.Dense(structure["embedding_size"]), layers.Dropout(rate)
        self.forward = [lstm() for _ in range(structure.get("num_layers", 1))]
        if self.latent:
            self.backward, self.generator = lstm(), lstm()
            hidden = structure["hidden_size"]
            head = lambda: keras.Sequential(  # noqa: E731
                [layers.Dropout(rate)]
                + ([layers.Dense(hidden, activation=nn.clipped_leaky_relu)] if hidden else [])
                + [layers.Dense(2 * self.latent)]
            )
            self.prior, self.posterior = head(), head()
        self.likelihood = create("likelihood", LIKELIHOODS, emission["likelihood"], Likelihood)
        self.event_size = emission["event_size"]
        self.out = layers.Dense(self.event_size * self.likelihood.params_size)
        self.tracker = keras.metrics.Mean(name="loss")

    def call(self, data, training=False):
        frames, previous = data
        v = self.drop(self.embed(previous), training=training)
        for i, layer in enumerate(self.forward):
            v = layer(self.drop(v, training=training) if i else v)
        h, kl = v, 0.0
        if self.latent:
            b = self.drop(self.embed(frames), training=training)
            b = tf.reverse(self.backward(tf.reverse(b, [1])), [1])
            clip = lambda x: tf.split(tf.clip_by_value(x, -8.0, 8.0), 2, axis=-1)  # noqa: E731
            p = clip(self.prior(v, training=training))
            q = clip(self.posterior(tf.concat([b, v], -1), training=training))
            z = q[0] + keras.random.normal(tf.shape(q[0])) * tf.exp(0.5 * q[1])
            h = self.generator(tf.concat([v, z], -1))
            kl = tf.reduce_sum(nn.gaussian_kl(q, p), -1)
        params = self.out(self.drop(h, training=training))
        shape = [*tf.unstack(tf.shape(frames)), self.likelihood.params_size]
        log_likelihood = self.likelihood(tf.reshape(params, shape)).log_prob(frames)
        return tf.reduce_sum(log_likelihood, -1), kl

    def train_step(self, data):
        frames, previous = data["frames"], data["previous"]
        with tf.GradientTape() as tape:
            log_likelihood, kl = self((frames, previous), training=True)
            loss = -tf.reduce_mean(objectives.elbo(log_likelihood, kl, kl_weight=0.2))
        gradients = tape.gradient(loss, self.trainable_variables)
        gradients, _ = tf.clip_by_global_norm(gradients, 0.5)
        self.optimizer.apply(gradients, self.trainable_variables)
        return {"loss": loss}

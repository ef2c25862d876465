"""One update, and the scores of a batch: `SequenceModel.train_step` and `test_step`."""

from __future__ import annotations

from typing import Any, Protocol

import keras
import tensorflow as tf

from srnn_tf.core import random
from srnn_tf.core.random import Key, Rows
from srnn_tf.core.types import Nest
from srnn_tf.density import Density
from srnn_tf.objectives import Loss, Objective
from srnn_tf.training import devices, inputs
from srnn_tf.training.clip import clip
from srnn_tf.training.metrics import Metrics

Tensors = dict[str, Any]


class Trained(Protocol):
    """A Keras model that holds a density and an objective, as the update needs it."""

    density: Density
    objective: Objective
    optimizer: keras.optimizers.Optimizer
    means: Metrics
    step: keras.Variable  # the number of updates made, a variable
    seed: int
    clipnorm: float
    loss_per: str
    xla: bool
    trainable_variables: list[keras.Variable]


def train_step(model: Trained, data: Nest) -> Tensors:
    """One update: compute the gradients of the loss, clip them, apply the optimizer.

    Under a strategy, each replica computes the gradient of its part of the global loss. Gradients
    are summed over replicas before they are clipped. Draws are those of one device for these rows.
    """
    batch, rows, count = _shared(data)

    def find(batch, rows, count):
        if rows is not None:
            rows = rows._replace(count=tf.shape(batch["frames"])[0])
        key = training_key(model, rows)
        with tf.GradientTape() as tape:
            loss, value = _loss(model, batch, key, count)
        return _totals(loss, value, count), tape.gradient(value, model.trainable_variables)

    totals, gradients = devices.compiled(find, model.xla)(batch, rows, count)
    number = tf.distribute.get_strategy().num_replicas_in_sync
    gradients = clip(devices.total(gradients), model.clipnorm)
    # The optimizer adds up what replicas give it.
    gradients = [None if g is None else g / number for g in gradients]
    model.optimizer.apply(gradients, model.trainable_variables)
    logs = _logs(model, totals, count)
    model.step.assign_add(1)
    return logs


def test_step(model: Trained, data: Nest) -> Tensors:
    """Score a batch with the fixed noise table."""
    batch, _, count = _shared(data)

    def find(batch, count):
        return _totals(*_loss(model, batch, None, count), count)

    return _logs(model, devices.compiled(find, model.xla)(batch, count), count)


def training_key(model: Trained, rows: Rows | None = None) -> Key:
    """The random key of the next update."""
    seed = random.fold_in([model.seed, 0], tf.cast(model.step.value, tf.int32))
    return Key(seed, rows)


def _shared(data):
    """The batch, which rows of the global one it is, and the real frames of that."""
    batch = inputs.as_dict(data)
    rows, filled = tf.shape(batch["frames"])[0], devices.not_empty(batch)
    share, count = devices.rows_of(rows, real_frames(filled))
    return filled, share, tf.maximum(count, 1.0)


def real_frames(batch: Tensors) -> tf.Tensor:
    """The number of frames that are not padding, float32."""
    mask = batch.get("mask")
    count = tf.size(batch["frames"][..., 0]) if mask is None else tf.math.count_nonzero(mask)
    return tf.cast(count, tf.float32)


def _loss(
    model: Trained, batch: Tensors, key: Key | None, count: tf.Tensor
) -> tuple[Loss, tf.Tensor]:
    """The `Loss` of a batch, and its part of the loss to minimize: a mean over `count` frames."""
    density = model.density
    steps = density.batch(*(batch.get(name) for name in inputs.KEYS))
    loss = model.objective.loss(density, steps, key, model.step.value)
    return loss, loss.value / count / (density.event_size if model.loss_per == "value" else 1.0)


def _totals(loss: Loss, value: tf.Tensor, count: tf.Tensor) -> Tensors:
    """Sums over the batch, for the metrics."""
    parts = {"bound": loss.bound, "log_likelihood": loss.log_likelihood, "kl": loss.kl}
    totals: Tensors = {name: tf.reduce_sum(part) for name, part in parts.items()}
    totals["loss"] = value * count
    if loss.posterior_moments is not None:
        totals["moments"] = loss.posterior_moments
    return totals


def _logs(model: Trained, totals: Tensors, count: tf.Tensor) -> Tensors:
    weight = model.objective.kl_weight(model.step.value)
    return model.means.update(devices.total(totals), count, weight)

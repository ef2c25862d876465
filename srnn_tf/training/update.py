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
from srnn_tf.training.accumulate import Accumulator
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
    accumulator: Accumulator | None  # of several batches for one update
    loss_per: str
    xla: bool
    trainable_variables: list[keras.Variable]


def train_step(model: Trained, data: Nest) -> Tensors:
    """One update: compute the gradients of the loss, clip them, apply the optimizer.

    Under a strategy, each replica computes the gradient of its part of the global loss. Gradients
    are summed over replicas before they are clipped. Draws are those of one device for these rows.
    With an accumulator, it is an update only if the batch is the last one of an update.
    """
    check(model)
    build_optimizer(model)
    batch, rows, count = _shared(data)

    def find(batch, rows, count):
        if rows is not None:
            rows = rows._replace(count=tf.shape(batch["frames"])[0])
        key = training_key(model, rows)
        if model.accumulator is not None:  # each batch of an update has draws of its own
            key = key.fold(tf.cast(model.accumulator.batches.value, tf.int32))
        with tf.GradientTape() as tape:
            loss, value = _loss(model, batch, key, count)
        return _totals(loss, value, count), tape.gradient(value, model.trainable_variables)

    totals, gradients = devices.compiled(find, model.xla)(batch, rows, count)
    number = tf.distribute.get_strategy().num_replicas_in_sync

    def update(gradients):
        # The optimizer adds up what replicas give it.
        clipped = [None if g is None else g / number for g in clip(gradients, model.clipnorm)]
        # One that scales losses divides gradients by the scale. That serves float16: here gradients
        # need no scale before they are clipped.
        scaled = [None if g is None else model.optimizer.scale_loss(g) for g in clipped]
        model.optimizer.apply(scaled, model.trainable_variables)
        model.step.assign_add(1)

    observed = totals.pop("observed", None)
    if observed is not None:
        model.objective.observe(devices.total(observed))
    gradients, logs = devices.total(gradients), _logs(model, totals, count)
    if model.accumulator is None:
        update(gradients)
    else:
        model.accumulator.add(model.trainable_variables, gradients, count, update)
    return logs


def test_step(model: Trained, data: Nest) -> Tensors:
    """Score a batch with the fixed noise table."""
    batch, _, count = _shared(data)

    def find(batch, count):
        return _totals(*_loss(model, batch, None, count), count)

    return _logs(model, devices.compiled(find, model.xla)(batch, count), count)


def check(model: Trained) -> None:
    """Check that there is something to train.

    Raises:
        ValueError: all weights are frozen.
    """
    if not model.trainable_variables:
        raise ValueError(
            "the model has no weight to train: all are frozen; set `trainable = True` on the model "
            "or a part of it, then call `compile` again"
        )


def build_optimizer(model: Trained) -> None:
    """Create the variables of the optimizer, so that they can be loaded."""
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    if model.accumulator is not None:
        model.accumulator.build(model.optimizer, model.trainable_variables)


class Repeats:
    """The number of a call among those at the same update, for draws that differ by call.

    Its variables are no weights: they are not saved.
    """

    def __init__(self):
        aggregation = tf.VariableAggregation.ONLY_FIRST_REPLICA
        self._step, self._count = (
            tf.Variable(start, trainable=False, dtype=tf.int64, aggregation=aggregation)
            for start in (-1, 0)
        )

    def next(self, step: tf.Tensor) -> tf.Tensor:
        """The number of the next call, int32: 0 for the first one at a step."""
        number = tf.where(self._step == step, self._count + 1, tf.zeros_like(self._count))
        self._step.assign(step)
        self._count.assign(number)
        return tf.cast(number, tf.int32)


def call_key(model: Trained, repeats: Repeats, seed: int | tf.Tensor | None) -> Key:
    """The key of a call in a training loop of the user's own, from a seed if there is one.

    Without one, the first call at an update has the key of `train_step`, later ones their own.
    """
    if seed is not None:
        return Key(random.fold_in([model.seed, 1], tf.cast(seed, tf.int32)))
    key = training_key(model)
    number = repeats.next(model.step.value)
    return key.at(tf.where(number == 0, key.seed, random.fold_in(key.seed, number)))


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
    if loss.observed is not None:
        totals["observed"] = loss.observed
    return totals


def _logs(model: Trained, totals: Tensors, count: tf.Tensor) -> Tensors:
    weight = model.objective.kl_weight(model.step.value)
    return model.means.update(devices.total(totals), count, weight)

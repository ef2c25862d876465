"""The conformance check of objectives."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from srnn_tf import objectives
from srnn_tf.core.random import Key
from srnn_tf.density import SequenceDensity
from srnn_tf.model import SequenceModel
from srnn_tf.objectives import Objective
from srnn_tf.testing import compare

ROWS, STEPS = 3, 4
LENGTHS = (4, 1, 3)


def check_objective(objective: Objective, density: SequenceDensity) -> None:
    """Check that an objective has the properties of `Objective`, on a density that it supports.

    - The bound is finite, a function of the key, and independent of padding.
    - The gradient of the loss reaches the weights of the density and of the objective.
    - `log_prob(bound=objective)` equals `bound`, and so does `evaluate`, per frame.
    - A config restores the same objective.

    It does not check that the bound is below log p(x), which in general is not known.

    Args:
        objective: an objective of a registered class that can be trained.
        density: a small density; its weights are overwritten.

    Raises:
        AssertionError: a property fails; it says which, and by how much.

    Example:
        >>> density = SequenceDensity(
        ...     {"class": "vrnn", "units": 3, "latent_size": 2, "embedding_size": 2},
        ...     {"class": "factorized", "event_size": 2})
        >>> check_objective(objectives.IWAE(2), density)
    """
    objective.check(density)
    model = SequenceModel(density.structure, density.emission, density.event_size)
    model.xla = False
    compare.randomize(model, 0.3)
    mask = np.arange(STEPS) < np.array(LENGTHS)[:, None]
    frames = compare.values(model.binary, ROWS, STEPS) * mask[..., None].astype(np.float32)
    _bounds(objective, model, frames, mask)
    _loss(objective, model, frames, mask)
    _model_agrees(objective, model, frames, mask)
    again = compare.config_round_trip(objectives.OBJECTIVES, objectives.get, objective)
    compare.require(again == objective, "a config gives the same object", f"{again!r}")


def _bounds(objective, model, frames, mask):
    density = model.density
    batch = density.batch(tf.constant(frames), mask=tf.constant(mask))
    for key in (None, Key([1, 2])):
        one, other = (np.asarray(objective.bound(density, batch, key)) for _ in range(2))
        compare.require(one.shape == (ROWS,), "shapes", f"the bound is {one.shape}, not ({ROWS},)")
        compare.require(np.isfinite(one).all(), "the bound is finite", f"it is {one}")
        compare.close("the bound is a function of the key", one, other, 1e-6)
    table = objective.bound(density, batch, None)
    for row, length in enumerate(LENGTHS):
        alone = density.batch(tf.constant(frames[row : row + 1, :length]))
        unpadded = objective.bound(density, alone, None)
        prop = f"padding changes nothing: a row of {length} of {STEPS} frames"
        compare.close(prop, unpadded, table[row : row + 1], 1e-4)


def _loss(objective, model, frames, mask):
    density, own = model.density, list(objective.variables)
    batch = density.batch(tf.constant(frames), mask=tf.constant(mask))
    weights = [*(v for layer in density.layers.values() for v in layer.trainable_variables), *own]
    with tf.GradientTape() as tape:
        loss = objective.loss(density, batch, Key([1, 2]), tf.constant(10, tf.int64))
    gradients = tape.gradient(loss.value, weights)
    compare.require(np.isfinite(loss.value), "the loss is finite", f"it is {loss.value}")
    prop = "the gradient of the loss reaches the weights"
    for weight, gradient in zip(weights, gradients, strict=True):
        compare.require(gradient is not None, prop, f"{weight.path} has none")
        compare.require(np.isfinite(gradient).all(), prop, f"of {weight.path} it is not finite")
    largest = max(float(np.max(np.abs(g))) for g in gradients)
    compare.require(largest > 0.0, prop, "it is 0 everywhere")


def _model_agrees(objective, model, frames, mask):
    batch = model.density.batch(tf.constant(frames), mask=tf.constant(mask))
    bound = objective.bound(model.density, batch, None)
    scores = model.log_prob(frames, mask, bound=objective)
    compare.close("`log_prob(bound=objective)` is its bound", scores, bound, 1e-4)
    model.compile(objective=objective, run_eagerly=True)
    logs = model.evaluate({"frames": frames, "mask": mask}, return_dict=True, verbose=0)
    mean = float(tf.reduce_sum(scores)) / mask.sum()
    prop = "`evaluate` reports the mean of `log_prob` over frames"
    compare.close(prop, tf.constant(logs["bound"]), mean, 1e-4)

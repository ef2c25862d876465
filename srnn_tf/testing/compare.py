"""Helpers of the checks: small data, comparisons, and round trips through saved models."""

from __future__ import annotations

import itertools
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import keras
import numpy as np
import tensorflow as tf

from srnn_tf.core import registry
from srnn_tf.core.types import Array, Nest
from srnn_tf.model import SequenceModel

Layer = TypeVar("Layer", bound=keras.layers.Layer)


def require(condition: object, prop: str, detail: str) -> None:
    """Raise an `AssertionError` that names a property, unless a condition is true."""
    if not condition:
        raise AssertionError(f"{prop}: {detail}")


def close(prop: str, actual: Nest, expected: Nest, tolerance: float = 1e-5) -> None:
    """Compare two nests of arrays, to a relative and absolute tolerance."""
    pairs = zip(tf.nest.flatten(actual), tf.nest.flatten(expected), strict=True)
    for one, other in pairs:
        one, other = (np.asarray(tf.cast(x, tf.float32), np.float64) for x in (one, other))
        require(one.shape == other.shape, prop, f"shapes {one.shape} and {other.shape} differ")
        difference = np.abs(one - other)
        allowed = tolerance * (1.0 + np.abs(other))
        fits = bool(np.all(difference <= allowed))
        require(
            fits, prop, f"differs by {np.max(difference, initial=0.0):.3g}, allowed {tolerance:g}"
        )


def zero(prop: str, values: Array | None) -> None:
    """Check that all numbers are 0; None, an unconnected gradient, passes."""
    size = 0.0 if values is None else float(np.max(np.abs(values), initial=0.0))
    require(size == 0.0, prop, f"is {size:.3g}, must be 0")


def normal(*shape: int, seed: int = 0) -> tf.Tensor:
    """Standard normal float32 numbers."""
    return tf.constant(np.random.default_rng(seed).normal(size=shape), tf.float32)


def values(binary: Sequence[bool], rows: int, steps: int, seed: int = 0) -> np.ndarray:
    """Frames (rows, steps, D) that a density accepts: bits where `binary`, else real numbers."""
    drawn = np.random.default_rng(seed).normal(size=[rows, steps, len(binary)])
    return np.where(binary, drawn > 0.0, drawn).astype(np.float32)


def all_bits(steps: int, size: int) -> np.ndarray:
    """Every sequence of bits, (2^(steps * size), steps, size)."""
    sequences = list(itertools.product((0, 1), repeat=steps * size))
    return np.array(sequences, np.float32).reshape(-1, steps, size)


def randomize(layer: Layer, scale: float = 0.5) -> Layer:
    """Give every trainable weight random values, so that none is at a special value."""
    random = np.random.default_rng(0)
    for weight in layer.trainable_variables:
        weight.assign(random.normal(0.0, scale, weight.shape))
    return layer


def config_round_trip(names: Mapping[str, type], get: Callable[[Any], Any], layer: Any) -> Any:
    """Serialize the config of an instance to JSON, and create a new instance from it."""
    prop = "a config gives the same object"
    config = json.loads(json.dumps(registry.describe(names, layer)))
    again = get(config)
    config_again = json.loads(json.dumps(registry.describe(names, again)))
    keys = {*config, *config_again}
    changed = [k for k in keys if config.get(k) != config_again.get(k)]
    require(not changed, prop, f"{', '.join(sorted(changed))} changed")
    return again


def saved(model: SequenceModel) -> None:
    """Check that a `.keras` file restores the same model."""
    frames = values(model.binary, 2, 3)
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder) / "model.keras")
        again = keras.saving.load_model(Path(folder) / "model.keras")
    again.xla = False
    close("a .keras file gives the same scores", again.log_prob(frames), model.log_prob(frames))


def exported(model: SequenceModel) -> None:
    """Check that a SavedModel, with float16 weights, scores alike and restores the same model."""
    from srnn_tf.serving import export
    from srnn_tf.zoo import artifacts

    export.round_weights(model)
    frames = values(model.binary, 2, 3)
    expected = model.log_prob(frames)
    with tempfile.TemporaryDirectory() as folder:
        path = export.export(model, Path(folder) / "1")
        again = artifacts.read(path)
        score = tf.saved_model.load(str(path)).signatures["score"]
        answer = score(frames=tf.constant(frames), length=tf.constant([3, 3]))
    again.xla = False
    close("an export is read back with the same scores", again.log_prob(frames), expected, 1e-4)
    close("an export scores without Python", answer["log_likelihood"], expected, 1e-4)

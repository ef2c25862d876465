"""How the weights of a run came about: by how many updates, of what, on which machine."""

from __future__ import annotations

import os
from typing import Any

import tensorflow as tf

from srnn_tf import SequenceModel, artifacts
from zoo import runs

BEGUN = "begun.json"  # of a run that began with the weights of another


def machine() -> str:
    """What this process trains on, as a card says it."""
    if not (found := tf.config.list_physical_devices("GPU")):
        return f"{os.cpu_count()} CPU cores, shared with other work"
    details = tf.config.experimental.get_device_details(found[0])
    return f"{len(found)} x {details.get('device_name', 'GPU')}"


def seconds(run: runs.Run) -> float:
    """How long a run has trained and validated, from its TensorBoard logs.

    Each of its starts wrote a file; times between them do not count.
    """
    total = 0.0
    for file in (run.folder / "logs").rglob("events.*"):
        records = tf.data.TFRecordDataset(str(file)).as_numpy_iterator()
        times = [tf.compat.v1.Event.FromString(record).wall_time for record in records]
        total += max(times, default=0.0) - min(times, default=0.0)
    return total


def training(run: runs.Run) -> dict[str, Any]:
    """How the best weights came about, as a card has it.

    Raises:
        ValueError: `best.json` or the checkpoint is missing or damaged.
    """
    best, begun = runs.read_json(run.folder / "best.json"), run.folder / BEGUN
    return {
        "updates": run.updates(),
        "schedule": run.steps,
        "updates_of_recipe": run.recipe.steps,
        "best_update": best["step"],
        "batch_size": run.batch_size or run.recipe.batch_size,
        "batch_size_of_recipe": run.recipe.batch_size,
        "window": run.window or run.recipe.window,
        "seed": run.seed,
        "precision": run.dtype,
        "minutes": round(seconds(run) / 60),
        "machine": best.get("machine", machine()),
        "begun_with": runs.read_json(begun) if begun.is_file() else None,
    }


def begin(run: runs.Run, model: SequenceModel) -> None:
    """Give a fresh model the weights that the run begins with, and keep what they are of.

    Raises:
        ValueError: they are of another model, or there are none.
    """
    first = runs.Run.open(run.begin_with)
    first.check_beginning(run.recipe, run.candidate)
    theirs = artifacts.weights(first.best_model())
    for mine, value in zip(artifacts.weights(model).values(), theirs.values(), strict=True):
        mine.assign(value)
    runs.write_json(run.folder / BEGUN, training(first))

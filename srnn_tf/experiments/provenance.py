"""The provenance of a run's weights: the number of updates, the settings, the machine."""

from __future__ import annotations

import os
import time
from typing import Any

import tensorflow as tf

from srnn_tf.experiments import runs
from srnn_tf.model import SequenceModel
from srnn_tf.zoo import artifacts

BEGUN = "begun.json"  # of a warm-started run: the provenance of its initial weights
CLOCK = "clock.json"


def machine() -> str:
    """A description of this machine, for cards."""
    if not (devices := tf.config.list_physical_devices("GPU")):
        return f"{os.cpu_count()} CPU cores, shared with other work"
    details = tf.config.experimental.get_device_details(devices[0])
    count = tf.distribute.get_strategy().num_replicas_in_sync
    return f"{count} x {details.get('device_name', 'GPU')}"


class Clock:
    """Measures the total time of training and validation of a run, over all its starts."""

    def __init__(self, run: runs.Run):
        self.run, self.begun = run, time.monotonic()
        self.before = seconds(run)

    def write(self, step: int) -> None:
        """Save the time and the update."""
        spent = self.before + time.monotonic() - self.begun
        self.run.write_json(CLOCK, {"seconds": spent, "step": step})


def seconds(run: runs.Run) -> float:
    """The total time of training and validation of a run, in seconds.

    For runs from before there was a `Clock`, it is computed from their TensorBoard logs.
    """
    if (run.folder / CLOCK).is_file():
        clock = run.read_json(CLOCK)
        try:
            return float(clock["seconds"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{run.folder / CLOCK} holds no `seconds`; received {clock}"
            ) from error
    total = 0.0
    for file in (run.folder / "logs").rglob("events.*"):
        records = tf.data.TFRecordDataset(str(file)).as_numpy_iterator()
        times = [tf.compat.v1.Event.FromString(record).wall_time for record in records]
        total += max(times, default=0.0) - min(times, default=0.0)
    return total


def last_update(run: runs.Run) -> int:
    """The update of the last validation; 0 before the first.

    For runs whose clock does not have it, it is read from the checkpoint.

    Raises:
        ValueError: the clock or the checkpoint is damaged.
    """
    if (run.folder / CLOCK).is_file():
        clock = run.read_json(CLOCK)
        if "step" in clock:
            return int(clock["step"])
    return run.updates() if run.checkpoint.is_file() else 0


def training(run: runs.Run) -> dict[str, Any]:
    """The provenance of the best weights, as in a card.

    Raises:
        ValueError: `best.json` or the checkpoint is missing or damaged.
    """
    run.best()
    if not (run.folder / "best.json").is_file():
        raise ValueError(f"{run.folder} holds no best.json: train first")
    best, begun = run.read_json("best.json"), run.folder / BEGUN
    return {
        "updates": run.updates(),
        "schedule": run.steps,
        "updates_of_recipe": run.recipe.steps,
        "best_update": best["step"],
        "batch_size": run.batch_size or run.recipe.batch_size,
        "batch_size_of_recipe": run.recipe.batch_size,
        "window": run.window or run.recipe.window,
        "window_of_recipe": run.recipe.window,
        "learning_rate": run.learning_rate or run.recipe.learning_rate,
        "learning_rate_of_recipe": run.recipe.learning_rate,
        "transpose": run.recipe.transpose if run.transpose is None else run.transpose,
        "transpose_of_recipe": run.recipe.transpose,
        "openings": run.recipe.openings if run.openings is None else run.openings,
        "openings_of_recipe": run.recipe.openings,
        "without": run.without,
        "seed": run.seed,
        "precision": run.dtype,
        "minutes": round(seconds(run) / 60),
        "machine": best.get("machine", "a machine that is not recorded"),
        "begun_with": run.read_json(BEGUN) if begun.is_file() else None,
    }


def beginning(folder: str, name: str, candidate: str | None, frames: list[int]) -> str:
    """The SHA-256 of the best weights of a run, for the warm start of another run of the recipe.

    Args:
        folder: the folder of the run to start from.
        name: the recipe of the new run.
        candidate: the structure of the new run.
        frames: the numbers of frames that identify the data of the new run.

    Raises:
        ValueError: the run has another recipe, candidate or data, has no best weights yet, or is
            damaged.
    """
    first = runs.Run.open(folder)
    identity = {
        "recipe": first.recipe.name,
        "candidate": first.candidate,
        "frames": first.frames,
    }
    wanted = {"recipe": name, "candidate": candidate, "frames": frames}
    if identity != wanted:
        raise ValueError(
            f"--begin-with={folder} must be a run of {wanted}; it is one of {identity}"
        )
    training(first)
    return first.best_weights()[1]


def begin(run: runs.Run, model: SequenceModel, folder: str) -> None:
    """Warm start: give a fresh model the best weights of a run, and save their provenance."""
    first = runs.Run.open(folder)
    best = artifacts.weights(first.best_model())
    for variable, value in zip(artifacts.weights(model).values(), best.values(), strict=True):
        variable.assign(value)
    run.write_json(BEGUN, training(first))

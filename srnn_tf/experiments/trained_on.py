"""What a run was trained on: the data set, its path, and the constants that its model needs.

A run keeps it in `data.json`, so that its model can read recordings and files of strokes, and so
that `evaluate` finds the data again.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

from srnn_tf import recipes
from srnn_tf.core import reading
from srnn_tf.data import Splits, Standardization, modality
from srnn_tf.experiments import provenance, runs
from srnn_tf.serving import inputs
from srnn_tf.zoo import handles, models


def write(run: runs.Run, splits: Splits, path: str | None) -> None:
    """Write `data.json`, unless it is there.

    Args:
        run: the run.
        splits: its data.
        path: where they are; None for data that come with a package.
    """
    if not (run.folder / runs.DATA).is_file():
        kept = {**description(splits), "path": path and os.path.abspath(path)}
        run.write_json(runs.DATA, kept)


def description(splits: Splits) -> dict[str, Any]:
    """The description of a data set, as in `evaluation.json` and cards."""
    parts = (("train", splits.train), ("valid", splits.valid), ("test", splits.test))
    scale = splits.standardization
    return {
        "data": {
            "name": splits.name,
            "kind": splits.kind,
            "edition": splits.edition,
            "parts": {
                part: {"sequences": len(s), "steps": int(sum(len(x) for x in s))}
                for part, s in parts
            },
            "remarks": list(splits.remarks),
        },
        "standardization": scale
        and {"mean": list(scale.mean), "std": list(scale.std), "permutation": scale.permutation},
        "sample_rate": splits.sample_rate,
    }


def path_of(run: runs.Run) -> str | None:
    """The path of the run's data, where it is known and still there."""
    if not (run.folder / runs.DATA).is_file():
        return None
    path = run.read_json(runs.DATA).get("path")
    return path if isinstance(path, str) and os.path.exists(path) else None


def published(folder: Path) -> handles.Published:
    """The best weights of a run, as `zoo.open` returns them.

    Nothing in the folder is changed.

    Raises:
        ValueError: there are no weights yet, or a file is damaged; or the run is of before it kept
            the constants of its data, which its model needs.
    """
    run = runs.Run.open(str(folder), add_checksums=False)
    if not (run.folder / runs.WEIGHTS[1]).is_file():
        raise ValueError(f"{folder} holds no best.weights.h5 yet: train first")
    kept = _kept(run)
    event_size = run.recipe.event_size
    try:
        scale = Standardization.from_config(kept["standardization"], event_size)
    except (KeyError, TypeError, ValueError) as error:
        shown = reading.shortened(kept.get("standardization"), 200)
        raise ValueError(f"{folder}: its standardization is {shown}: {error}") from error
    card = _card(run, kept)
    recipe = run.recipe
    details: dict[str, Any] = {
        "recipe": recipe.name,
        "kind": inputs.kind_of(card),
        "compile": {
            "learning_rate": recipe.learning_rate / 10,
            "clipnorm": recipe.clipnorm,
            "loss_per": recipe.loss_per,
        },
    }
    return handles.Published(
        run.folder.resolve().name,
        card,
        lambda: scale,
        lambda: _compiled(run, details["compile"]),
        lambda: run.folder,
        "run",
        details,
    )


def _compiled(run: runs.Run, options: dict[str, Any]) -> Any:
    model = run.best_model()
    models.compile_to_fine_tune(model, {**options, "objective": model.objective})
    return model


def _kept(run: runs.Run) -> dict[str, Any]:
    """What is known of the data; of older runs from their evaluation."""
    for name in (runs.DATA, "evaluation.json"):
        if (run.folder / name).is_file():
            return run.read_json(name)
    kind = recipes.kind_of(run.recipe)
    if kind is not None and not modality.get(kind).standardized:  # scored as they are
        data = {"name": run.recipe.dataset, "edition": None, "kind": kind}
        return {"data": data, "standardization": None, "sample_rate": None}
    raise ValueError(
        f"{run.folder} does not say how its data are standardized: it is of an earlier version. "
        f"The same `srnn-tf train` command, or `srnn-tf evaluate {run.folder}`, adds it"
    )


def _card(run: runs.Run, kept: dict[str, Any]) -> dict[str, Any]:
    """What is known of a run, under the keys of a card."""
    recipe, test = run.recipe, {}
    if (run.folder / "evaluation.json").is_file():
        evaluation = run.read_json("evaluation.json")
        if evaluation.get("weights_sha256") == runs.digest(run.folder / runs.WEIGHTS[1]):
            test = evaluation["test"]  # else it is of weights of before
    value, best_update = run.best()
    structure = recipe.candidate(run.candidate)
    train = kept["data"].get("parts", {}).get("train")
    size = f": {train['sequences']:,} sequences, {train['steps']:,} steps" if train else ""
    return {
        "name": run.folder.resolve().name,
        "recipe": recipe.name,
        "definition": run.definition,
        "structure": structure,
        "emission": recipe.emission,
        "event_size": recipe.event_size,
        "window": recipe.window,
        "parameters": sum(math.prod(v.shape) for v in run.scorer().trainable_variables),
        "bound": "ELBO" if "latent_size" in structure else "exact",
        "data": kept["data"],
        "trained_on": f"the training part of {kept['data']['name']}{size}",
        "training": {
            "updates": provenance.last_update(run),
            "updates_of_recipe": recipe.steps,
            "schedule": run.steps,
            "best_update": best_update,
            "seed": run.seed,
        },
        "unit": f"nats per {recipe.unit}",
        "validation": {"protocol": "paper", "value": value},
        "test": test,
        "sample_rate": kept["sample_rate"],
    }

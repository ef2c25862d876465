"""Publish a trained and evaluated run: a SavedModel, its card, its README, a row of the results.

    srnn-tf publish RUN_DIR [--root saved_models] [--version N] [--seeds RUN_DIR]
    srnn-tf publish NAME --seeds RUN_DIR [--seeds RUN_DIR ...]
    srnn-tf publish NAME --again

A run must have an evaluation of its best weights (`srnn-tf evaluate RUN_DIR`), and score above
every baseline. `--seeds` names further evaluated runs of the same recipe; the card gets the mean
and the standard deviation of their scores. With a published NAME, only the card of its newest
version changes. `--again` writes the weights of the newest version with the graph of the current
package, as the next version, so that published models profit from better code. A failure leaves
nothing behind.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from srnn_tf import data, recipes, zoo
from srnn_tf.core import checks, files
from srnn_tf.core.registry import describe
from srnn_tf.emissions import chain
from srnn_tf.experiments import cards, checkout, hub_cards, provenance, runs
from srnn_tf.model import SequenceModel
from srnn_tf.objectives import OBJECTIVES
from srnn_tf.serving import export
from srnn_tf.zoo import artifacts

ROOT = checkout.ROOT


def evaluation(run: runs.Run) -> dict[str, Any]:
    """Read the scores of a run's best weights, which `evaluate` wrote.

    Raises:
        ValueError: there are none, or they are of other weights.
    """
    path = run.folder / "evaluation.json"
    if not path.is_file():
        raise ValueError(f"{path} is missing: run `srnn-tf evaluate {run.folder}` first")
    evaluated = run.read_json(path.name)
    if evaluated.get("format") != artifacts.FORMAT:
        received = evaluated.get("format")
        raise ValueError(f"{path} is of format {received!r}; this version reads {artifacts.FORMAT}")
    if evaluated.get("weights_sha256") != runs.digest(run.folder / "best.weights.h5"):
        raise ValueError(f"{path} is of other weights: run `srnn-tf evaluate` again")
    return evaluated


def check_baselines(evaluated: dict[str, Any]) -> None:
    """Check that the score, protocol full, is above every baseline.

    Raises:
        ValueError: it is not, or a score is not finite.
    """
    scores = evaluated["test"]["full"]
    name = "exact" if "exact" in scores else "elbo"
    value = scores[name]["value"]
    if not all(math.isfinite(s["value"]) for of in evaluated["test"].values() for s in of.values()):
        raise ValueError("a score of the evaluation is not finite")
    for baseline, bar in evaluated["floors"].items():
        if not value > bar:
            raise ValueError(
                f"its score, {value:.4f} {evaluated['unit']}, protocol full, {name}, is not above "
                f"the baseline {bar:.4f} ({baseline}): train longer"
            )


def write(
    run: runs.Run,
    root: Path = ROOT,
    version: int | None = None,
    seeds: Sequence[runs.Run] = (),
    name: str | None = None,
) -> Path:
    """Write `root/NAME/VERSION` and `root/NAME/README.md`, and return the first.

    Args:
        run: an evaluated run.
        root: the folder of published models, created if it does not exist.
        version: the version; the next one by default.
        seeds: further evaluated runs of the recipe.
        name: the name to publish under; that of the recipe by default.

    Raises:
        ValueError: as in `evaluation` and `check_baselines`; or a run in `seeds` has another recipe
            or the same seed; or the name is none.
        FileExistsError: the version exists.
    """
    evaluated = evaluation(run)
    check_baselines(evaluated)
    run.updates()  # an error now, not after the export
    name = run.recipe.name if name is None else name
    if not artifacts.NAME.fullmatch(name):
        raise ValueError(f"--name must be letters a to z, digits and _; received {name!r}")
    others = _other_seeds(run.recipe.name, provenance.training(run), run.candidate, seeds)
    if (root / name / artifacts.CARD).is_file():
        print(f"{name} was a substitute; it has weights of its own now")
    version = max(cards.versions(root / name), default=0) + 1 if version is None else version
    checks.sizes(version=version)
    target = root / name / str(version)
    if target.exists():
        raise FileExistsError(f"{target} exists; published versions are never replaced")

    def make(part):
        model = _export(run, evaluated, part)
        _check(model, part)
        return cards.card(run, evaluated, version, model, others, name)

    _place(target, make)
    for file in (artifacts.CARD, artifacts.CARD_SHA256):
        (target.parent / file).unlink(missing_ok=True)
    return target


def again(name: str, root: Path = ROOT) -> Path:
    """Write the newest version of a published model again, as the next version.

    Weights, config and card stay the same. The graph is that of the current package.

    Raises:
        ValueError: the name is not published in `root`, its files are damaged, or the new graph
            gives other scores.
    """
    artifact = _newest(name, root)
    model, config = artifact.load(), artifact.config()
    _check(model, artifact.folder)
    scale = zoo.standardization(name, root=root)
    details = {key: config[key] for key in ("recipe", "compile")}
    version = artifact.card["version"] + 1

    def make(part):
        export.export(model, part, scale, config["sample_rate"], details)
        _check(model, part)
        return {**artifact.card, "version": version}

    return _place(root / name / str(version), make)


def _newest(name: str, root: Path) -> artifacts.Artifact:
    if not (numbers := cards.versions(root / name)):
        raise ValueError(f"{name} is neither a run's folder nor published in {root}")
    artifact = artifacts.Artifact.open(root / name / str(numbers[-1]), name, numbers[-1])
    artifact.verify()
    return artifact


def _place(target: Path, make: Callable[[Path], dict[str, Any]]) -> Path:
    """Publish what `make` writes, with the card that it returns, atomically."""
    with files.made(target.parent):
        files.sweep(target.parent)
        with files.creating(target) as part:
            card = make(part)
            card["files"] = artifacts.checksums(part)
            card["sizes"] = {name: (part / name).stat().st_size for name in artifacts.FILES}
            artifacts.write_card(part / "assets.extra" / artifacts.CARD, card)
            artifacts.Artifact.open(part).load()
            sample = checkout.sample(card["name"], target.parents[1])
            page = hub_cards.page(card, sample)  # before anything is in place
    runs.write_text(target.parent / "README.md", page)
    return target


def add_seeds(name: str, seeds: Sequence[runs.Run], root: Path = ROOT) -> Path:
    """Replace the scores of further seeds on the card of a published model.

    Returns:
        The folder of its newest version, in which only the card changes.

    Raises:
        ValueError: the name is not published in `root`, its files are damaged, there are no runs,
            a run has another recipe or the same seed, or as in `evaluation`.
    """
    artifact = _newest(name, root)
    if not seeds:
        raise ValueError(
            f"{name} is published: give the runs whose scores to add by --seeds, or --again"
        )
    training = artifact.card["training"]
    recipe = (artifact.card.get("definition") or {}).get("name", name)
    card = {
        **artifact.card,
        "seeds": _other_seeds(recipe, training, training["candidate"], seeds),
    }
    artifacts.write_card(artifact.folder / "assets.extra" / artifacts.CARD, card)
    runs.write_text(root / name / "README.md", hub_cards.page(card, checkout.sample(name, root)))
    return artifact.folder


def _other_seeds(name, training, candidate, seeds):
    """Seed, updates and scores of further runs of the recipe, on the same data.

    Args:
        name: of the recipe.
        training: of the run whose seeds they are, as a card has it.
        candidate: its structure.
        seeds: the runs.
    """
    entries, seed = [], training["seed"]
    for other in seeds:
        if (other.recipe.name, other.candidate) != (name, candidate):
            raise ValueError(
                f"{other.folder} is a run of {other.recipe.name}, or another candidate"
            )
        told = provenance.training(other)
        for what in ("transpose", "openings", "without"):
            if (told[what] or None) != (training.get(what) or None):
                raise ValueError(
                    f"{other.folder} has {what}={told[what]!r}; the other run, "
                    f"{training.get(what)!r}: their scores cannot be compared"
                )
        if other.seed in {seed, *(entry["seed"] for entry in entries)}:
            raise ValueError(f"{other.folder} has the seed {other.seed}, as another run has")
        test = evaluation(other)["test"]
        scores = {p: next(iter(of.values()))["value"] for p, of in test.items()}
        kept = {k: told[k] for k in ("updates", "best_update", "schedule", "batch_size")}
        entries.append({"seed": other.seed, **kept, **scores})
    if not entries:
        return None
    values = [entry["paper"] for entry in entries]
    spread = statistics.stdev(values) if len(values) > 1 else None
    return {"runs": entries, "mean": statistics.mean(values), "standard_deviation": spread}


def _export(run: runs.Run, evaluated: dict[str, Any], folder: Path) -> SequenceModel:
    """Write the SavedModel, and return the model with the weights it has."""
    model, recipe, constants = run.best_model(), run.recipe, evaluated["standardization"]
    export.round_weights(model)
    order = constants and constants["permutation"]
    standardization = constants and data.Standardization(
        tuple(constants["mean"]), tuple(constants["std"]), order and tuple(order)
    )
    details = {
        "recipe": recipe.name,
        "compile": {
            "learning_rate": recipe.learning_rate / 10,
            "clipnorm": recipe.clipnorm,
            "loss_per": recipe.loss_per,
            "objective": describe(OBJECTIVES, model.objective),
        },
    }
    export.export(model, folder, standardization, evaluated["sample_rate"], details)
    return model


def _check(model: SequenceModel, folder: Path) -> None:
    """The SavedModel scores as the model does, on samples of its own: more frames than a block."""
    steps = chain.scored_rows(model.event_size) // 4 + 16
    frames = model.sample(4, steps, seed=1).numpy()
    length = np.array([steps, 5, steps, 40], np.int32)
    expected = model.log_prob(frames, np.arange(steps) < length[:, None]).numpy()
    score = tf.saved_model.load(str(folder)).signatures["score"]
    served = score(frames=tf.constant(frames), length=tf.constant(length))["log_likelihood"].numpy()
    if not np.allclose(served, expected, rtol=1e-4, atol=1e-3):
        raise ValueError(f"the graph in {folder} scores {served}, the model {expected}")


def publish(
    run: str,
    root: Path = ROOT,
    version: int | None = None,
    seeds: Sequence[str] = (),
    anew: bool = False,
    name: str | None = None,
) -> Path:
    """Publish a run; or add seeds to a published model, or write its graph again.

    If `root` is that of the checkout, its pages and tables are regenerated.

    Raises:
        ValueError, OSError: as in `write`, `again` and `add_seeds`.
    """
    others = [runs.Run.open(folder) for folder in seeds]
    known = run in recipes.RECIPES or (artifacts.NAME.fullmatch(run) and cards.versions(root / run))
    of_run = Path(run).is_dir() or not known
    if name is not None and not of_run:
        raise ValueError(f"--name={name} goes with a run; {run} is a name")
    if anew and (of_run or others or version is not None):
        raise ValueError(
            "--again goes with a published name alone, without --version and --seeds; "
            f"received {run}"
        )
    if anew:
        target = again(run, root)
    elif of_run:
        target = write(runs.Run.open(run), root, version, others, name)
    elif version is not None:
        raise ValueError(f"--version={version} goes with a run; {run} is a name")
    else:
        target = add_seeds(run, others, root)
    if root.resolve() == ROOT.resolve():
        cards.write_tables(root)
    return target

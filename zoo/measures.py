"""Measure what the cards do not say: whether samples live, whether latents are used, and pairs.

    python -m zoo.measures [NAME ...] [--data DIR] [--out zoo/measures.json]

It measures every published model whose weights are in `saved_models`, or those named, and skips
what is measured already of the newest version. Data are read from `--data`, laid out as tests have
it in `SRNN_TF_TEST_DATA`, which is the default. Of each model it keeps

- of music and speech, how samples of seed 0 compare with the beginnings of the test sequences;
- with latents, the KL of the test part and how many units are active there;
- the score of every test sequence, so that two models are compared sequence by sequence.

`zoo.findings` makes pages of it.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from srnn_tf import data, recipes, zoo
from srnn_tf.core.registry import unknown
from srnn_tf.core.types import Steps
from srnn_tf.data.formats import midi
from srnn_tf.experiments import cards, checkout, evaluate, runs
from srnn_tf.model import SequenceModel
from srnn_tf.objectives.moments import moments
from srnn_tf.recipes import Recipe
from srnn_tf.serving import inputs
from srnn_tf.training.metrics import ActiveUnits
from zoo import plan

FILE = checkout.FOLDER / "zoo" / "measures.json"
SEED = 0
ROWS = 32  # samples of a model
STEPS = {"pianoroll": 64, "speech": 160}  # of each of them
DIATONIC = np.array([0, 2, 4, 5, 7, 9, 11])  # semitones above the tonic of a major scale
PITCH = (70.0, 400.0)  # Hz, of speaking voices
WINDOW = 0.04  # seconds: some periods of the lowest of them
LOUD = 0.5  # of the loudest window of a recording
PROTOCOL = "paper"
INFORMED = 0.01  # nats per step that make a latent unit one in use


def in_key(rolls: Sequence[np.ndarray]) -> float | None:
    """The share of note onsets that are in the key of their piece.

    The key is the major scale that has most onsets of the piece; a minor key counts as its relative
    major. Onsets spread evenly over all twelve pitch classes have 7/12.

    Args:
        rolls: piano rolls (T, 88).

    Returns:
        Onsets in key over all onsets; None if there are none.
    """
    found = total = 0
    for roll in rolls:
        classes = np.array([note % 12 for note, _, _ in midi.held_notes(roll)], int)
        counts = np.bincount(classes, minlength=12)
        found += max(counts[(DIATONIC + tonic) % 12].sum() for tonic in range(12))
        total += counts.sum()
    return float(found / total) if total else None


def note_length(rolls: Sequence[np.ndarray]) -> float | None:
    """The mean length of notes in steps; None if there are none.

    A note that is struck again in the next step counts as one, as in a piano roll.
    """
    lengths = [end - start for roll in rolls for _, start, end in midi.held_notes(roll)]
    return float(np.mean(lengths)) if lengths else None


def pitch_autocorrelation(recordings: Sequence[np.ndarray], rate: int) -> float | None:
    """How periodic the loud parts are, as voiced speech is: 1 if fully, 0.12 for white noise.

    The greatest normalized autocorrelation at lags of a speaking voice, mean over all windows of 40
    ms, every 20 ms, with at least half the root mean square of the loudest window of the recording.

    Args:
        recordings: samples (n,).
        rate: samples per second.

    Returns:
        The mean; None if no recording has a window.
    """
    size, found = round(WINDOW * rate), []
    shortest, longest = round(rate / PITCH[1]), round(rate / PITCH[0])
    for samples in recordings:
        if len(samples) < size:
            continue
        windows = np.lib.stride_tricks.sliding_window_view(samples, size)[:: size // 2]
        windows = windows - windows.mean(axis=1, keepdims=True)
        power = np.sqrt(np.mean(np.square(windows), axis=1))
        loud = windows[(power >= LOUD * power.max()) & (power > 0)]
        by_lag = []
        for lag in range(shortest, longest + 1):
            head, tail = loud[:, :-lag], loud[:, lag:]
            norm = np.sqrt(np.sum(head**2, axis=1) * np.sum(tail**2, axis=1))
            by_lag.append(np.sum(head * tail, axis=1) / np.maximum(norm, 1e-12))
        found += np.max(by_lag, axis=0).tolist()
    return float(np.mean(found)) if found else None


def vital(kind: str, sequences: Sequence[np.ndarray], scale: Any, rate: int | None) -> dict:
    """What says whether sequences live, by the kind of their data; empty for strokes."""
    if kind == "pianoroll":
        rolls = [np.asarray(s).astype(np.int8) for s in sequences]
        return {"in_key": _rounded(in_key(rolls)), "note_length": _rounded(note_length(rolls))}
    if kind == "speech" and rate:
        heard = [np.asarray(scale.undo(s) if scale else s).reshape(-1) for s in sequences]
        return {"pitch_autocorrelation": _rounded(pitch_autocorrelation(heard, rate))}
    return {}


def latents(model: SequenceModel, sequences: Sequence[Steps], unit: str) -> dict[str, Any]:
    """The KL of all latents, nats per unit, and how many of them are in use, protocol full.

    Where the prior depends on the past, a mean that varies is no sign of use: the posterior may be
    the prior. Units with a KL of their own are counted beside.
    """
    active, by_unit, steps_seen = ActiveUnits(model.latent_size), np.zeros(model.latent_size), 0
    most = max(1, evaluate.MAX_STEPS // (4 * model.steps_per_frame))
    for batch in data.batches(sequences, 16, max_steps=most):
        drawn = model.posterior(batch["frames"], batch["mask"])
        steps = np.repeat(batch["mask"], model.steps_per_frame, axis=1)
        active.add(moments(drawn.mean, steps))
        rows = batch["index"] >= 0
        kl = np.where(steps[..., None], drawn.kl, 0.0)[rows]
        by_unit += kl.sum(axis=(0, 1), dtype=np.float64)
        steps_seen += int(steps[rows].sum())
    count = evaluate.units(model, sequences, "full", unit).sum()
    return {
        "kl": _rounded(by_unit.sum() / count),
        "active_units": int(active.result()),
        "informed_units": int(np.sum(by_unit / steps_seen > INFORMED)),
        "units": model.latent_size,
    }


def measure(name: str, splits: data.Splits, root: Path = checkout.ROOT) -> dict[str, Any]:
    """All that is kept of a model."""
    card, scale = zoo.card(name, root=root), zoo.standardization(name, root=root)
    model, kind = zoo.load(name, root=root), inputs.kind_of(card)
    unit = card["unit"].removeprefix("nats per ")
    found: dict[str, Any] = {"version": card["version"]}
    if kind in STEPS and not card["data"]["name"].startswith("perm_"):
        drawn = model.sample(ROWS, STEPS[kind], SEED).numpy()
        found["samples"] = vital(kind, drawn, scale, card["sample_rate"])
    if model.latent_size:
        found["latents"] = latents(model, splits.test, unit)
    nats = evaluate.totals(model, splits.test, PROTOCOL)
    found["test"] = {
        "bound": "elbo" if model.latent_size else "exact",
        "nats": [round(float(n), 3) for n in nats],
        "units": [round(float(n), 6) for n in evaluate.units(model, splits.test, PROTOCOL, unit)],
    }
    return found


def of_data(splits: data.Splits) -> dict[str, Any]:
    """What is kept of a data set: the beginnings of its test sequences."""
    steps = STEPS.get(splits.kind)
    beginnings = [np.asarray(s[:steps]) for s in splits.test]
    return vital(splits.kind, beginnings, splits.standardization, splits.sample_rate)


def load(name: str, folder: Path | None, made: Path, recipe: Recipe | None = None) -> data.Splits:
    """A data set of the table of runs; it is prepared in `made` where that is needed.

    Args:
        name: a key of that table.
        folder: that of the data.
        made: where to prepare.
        recipe: the recipe whose pieces of long sequences are wanted; None for whole ones.

    Raises:
        ValueError: it is not in the table, must be obtained, or no folder of data is given.
    """
    described = plan.read().data
    if name not in described or "obtain" in described[name]:
        raise ValueError(f"the data {name!r} are not at hand")
    path = None
    if described[name].keys() & {"file", "prepare"}:
        path = str(_path(described[name], name, folder, made))
    return data.load(name, path) if recipe is None else runs.load_data(recipe, path, None)


def _path(described, name, folder, made):
    if folder is None:
        raise ValueError(f"name the folder of data by --data: {name} needs it")
    if "prepare" not in described:
        return folder / described["file"]
    corpus, below = described["prepare"]
    if not (made / corpus).exists():
        data.prepare(corpus, folder / below, made / corpus)
    return made / corpus


def read(path: Path = FILE) -> dict[str, Any]:
    """What is measured."""
    empty: dict[str, Any] = {"data": {}, "models": {}}
    return json.loads(path.read_text("utf-8")) if path.is_file() else empty


def write(found: Mapping[str, Any], path: Path = FILE) -> None:
    """Write what is measured, a line for each model and data set."""
    lines = []
    for part in ("data", "models"):
        rows = [f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in sorted(found[part].items())]
        lines.append(f' "{part}": {{\n' + ",\n".join(rows) + "\n }")
    runs.write_text(path, "{\n" + ",\n".join(lines) + "\n}\n")


def make(
    names: Sequence[str] = (),
    folder: Path | None = None,
    path: Path = FILE,
    root: Path = checkout.ROOT,
) -> None:
    """Measure models, and write what was found after each.

    Args:
        names: the models, which are measured again; by default all of which that is needed.
        folder: that of the data.
        path: the file.
        root: the folder of published models.

    Raises:
        ValueError: a name is not published with weights of its own, or its data are not at hand.
    """
    held = {n: c for n, c in cards.newest(root).items() if not c.get("alias_of")}
    for name in names:
        if name not in held:
            raise unknown("model with weights", name, held)
    found = read(path)
    found["models"] = {n: m for n, m in found["models"].items() if n in held}
    old = {n for n, c in held.items() if found["models"].get(n, {}).get("version") != c["version"]}
    wanted = names or sorted(old)
    with tempfile.TemporaryDirectory() as made:
        for dataset in dict.fromkeys(held[n]["data"]["name"] for n in wanted):
            if not dataset.startswith("perm_"):
                found["data"][dataset] = of_data(load(dataset, folder, Path(made)))
            for name in (n for n in wanted if held[n]["data"]["name"] == dataset):
                splits = load(dataset, folder, Path(made), recipes.get(name))
                found["models"][name] = measure(name, splits, root)
                write(found, path)
                print(f"measured {name}", flush=True)
    write(found, path)


def _rounded(value):
    return None if value is None else round(value, 4)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m zoo.measures", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="models; by default what is new")
    parser.add_argument("--out", type=Path, default=FILE, help="the file")
    given = os.environ.get("SRNN_TF_TEST_DATA")
    parser.add_argument("--data", type=Path, default=Path(given) if given else None)
    asked = parser.parse_args(arguments)
    with runs.clear_errors():
        make(asked.names, asked.data, asked.out)


if __name__ == "__main__":
    main()

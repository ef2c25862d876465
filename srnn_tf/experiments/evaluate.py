"""Score a trained run, or a published model, on a split of its data, under both protocols.

    srnn-tf evaluate RUN_DIR|NAME [--data PATH] [--split test] [--num-samples 16]

A run is scored with the weights that it would be published with, rounded to float16. The scores are
stored in its `evaluation.json`, which `publish` reads. Scores of models without latents are exact.
Models with latents have the ELBO of `log_prob` and, with separate draws for each sequence, IWAE-K
and FIVO-K. Intervals are 95 % intervals of the mean over sequences. `--bounds-on N` computes IWAE
and FIVO on the first N sequences only, to save time. In a pool of data sets, such as `music`, each
set is scored, and the score is the unweighted mean over sets.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from srnn_tf import data, recipes, zoo
from srnn_tf.core import checks
from srnn_tf.core.types import Steps
from srnn_tf.experiments import baselines, runs, trained_on
from srnn_tf.model import SequenceModel
from srnn_tf.serving import export

# The most steps of the structure (rows times steps) scored at once: bounds memory.
MAX_STEPS = 200_000
FORMAT = 1


class Score(NamedTuple):
    """A mean over scored units, and its 95 % interval over sequences; None for one sequence."""

    value: float
    low: float | None
    high: float | None
    sequences: int

    def __str__(self):
        interval = "no interval" if self.low is None else f"95 % {self.low:.4f} to {self.high:.4f}"
        return f"{interval}, {self.sequences} sequences"


Scores = dict[str, dict[str, Score]]  # protocol -> bound -> score


def bound_name(model: SequenceModel) -> str:
    """The bound of the model's default score: exact, or ELBO."""
    return "ELBO, 1 draw" if model.latent_size else "exact"


def totals(
    model: SequenceModel,
    sequences: Sequence[Steps],
    protocol: str = "full",
    batch_size: int = 16,
    own_draws: bool = False,
    **request: Any,
) -> np.ndarray:
    """The log likelihood of each sequence, nats, float64.

    Args:
        own_draws: seed the draws of each sequence with its index, instead of the fixed table.
        request: further arguments of `log_prob`: bound, num_samples, ...
    """
    nats = np.zeros(len(sequences))
    draws = request.get("num_samples", 1)
    max_steps = MAX_STEPS // (model.steps_per_frame * min(draws, 16))
    for batch in data.batches(sequences, batch_size, max_steps=max(1, max_steps)):
        index = batch["index"]
        seed = np.maximum(index, 0) if own_draws else None
        values = model.log_prob(
            batch["frames"], batch["mask"], protocol=protocol, seed=seed, **request
        )
        nats[index[index >= 0]] = values.numpy()[index >= 0]
    return nats


def units(model: SequenceModel, sequences: Sequence[Steps], protocol: str, unit: str) -> np.ndarray:
    """The number of scored units in each sequence.

    "paper" does not score the first step of a sequence (flat models: the first value).
    """
    unscored = 1 / model.steps_per_frame if protocol == "paper" else 0.0
    steps = np.array([len(s) for s in sequences], np.float64) - unscored
    counts = {"step": steps, "sequence": np.ones(len(steps)), "sample": steps * model.event_size}
    counts["8,000 samples"] = counts["sample"] / 8000
    if unit not in counts:
        raise ValueError(f"unit={unit!r}; accepted are {', '.join(counts)}")
    return counts[unit]


def score(
    model: SequenceModel,
    sequences: Sequence[Steps],
    protocol: str = "full",
    batch_size: int = 16,
    unit: str = "step",
    **request: Any,
) -> float:
    """Total nats over total scored units; with the unit "sequence", the mean over sequences.

    For a `data.Pool` it is the unweighted mean over sets.

    Args:
        unit: "step", "sequence", "sample" or "8,000 samples".
        request: further arguments of `log_prob`: bound, num_samples, ...
    """
    scores = by_set(model, sequences, protocol, batch_size, unit, **request)
    return statistics.fmean(scores.values())


def by_set(
    model: SequenceModel,
    sequences: Sequence[Steps],
    protocol: str = "full",
    batch_size: int = 16,
    unit: str = "step",
    **request: Any,
) -> dict[str, float]:
    """The score of each set of a `data.Pool`; for other sequences one score, named "all"."""
    counts = units(model, sequences, protocol, unit)
    nats = totals(model, sequences, protocol, batch_size, **request)
    return {
        name: float(nats[part].sum() / counts[part].sum())
        for name, part in sets_of(sequences).items()
    }


def sets_of(sequences: Sequence[Steps]) -> dict[str, slice]:
    """The slice of each set of a `data.Pool`; for other sequences one slice, named "all"."""
    sizes = {name: len(of) for name, of in getattr(sequences, "sets", {"all": sequences}).items()}
    ends = itertools.accumulate(sizes.values())
    return {n: slice(end - size, end) for (n, size), end in zip(sizes.items(), ends, strict=True)}


def interval(nats: np.ndarray, count: np.ndarray) -> Score:
    """The ratio of totals and its 95 % interval, with sequences as independent samples.

    The variance is that of a ratio estimator, sum (n_i - r u_i)^2 / (sum u_i)^2 times n / (n - 1).
    """
    ratio, n = float(nats.sum() / count.sum()), len(nats)
    if n < 2:
        return Score(ratio, None, None, n)
    spread = np.sum((nats - ratio * count) ** 2) * n / (n - 1)
    half = float(1.96 * np.sqrt(spread) / count.sum())
    return Score(ratio, ratio - half, ratio + half, n)


def mean(scores: Sequence[Score]) -> Score:
    """The unweighted mean of the scores of several data sets, and its 95 % interval."""
    value, count = statistics.fmean(s.value for s in scores), sum(s.sequences for s in scores)
    highs = [s.high for s in scores if s.high is not None]
    if len(highs) < len(scores):
        return Score(value, None, None, count)
    # Sets are independent draws: variances add up.
    half = float(
        np.sqrt(sum((high - s.value) ** 2 for high, s in zip(highs, scores, strict=True)))
    ) / len(scores)
    return Score(value, value - half, value + half, count)


def report(
    model: SequenceModel, sequences: Sequence[Steps], split: str, unit: str = "step"
) -> dict[str, float]:
    """Print and return the scores under both protocols, nats per unit."""
    protocols = ("paper", "full")
    scores = {protocol: score(model, sequences, protocol, unit=unit) for protocol in protocols}
    for protocol, value in scores.items():
        print(f"{split}: {value:.4f} nats per {unit}, protocol {protocol}, {bound_name(model)}")
    return scores


def whole(
    model: SequenceModel,
    sequences: Sequence[Steps],
    split: str,
    unit: str,
    num_samples: int = 16,
    bounds_on: int | None = None,
) -> dict[str, Scores]:
    """Print and return every bound under both protocols: set -> protocol -> bound -> score.

    "all" is the mean over sets, and the only set of sequences that are not a `data.Pool`.
    """
    is_pool = hasattr(sequences, "sets")
    pool: Any = sequences
    first = pool.first(bounds_on) if is_pool else sequences[:bounds_on]

    def scored(protocol, some, **request):
        nats = totals(model, some, protocol, **request)
        count = units(model, some, protocol, unit)
        return {name: interval(nats[p], count[p]) for name, p in sets_of(some).items()}

    by_set: dict[str, Scores] = {"all": {}}
    for protocol in ("paper", "full"):
        plan = [("elbo" if model.latent_size else "exact", bound_name(model), sequences, {})]
        if model.latent_size:
            if len(first) < len(sequences):
                plan.append((f"elbo_first_{bounds_on}", bound_name(model), first, {}))
            own = {"own_draws": True, "num_samples": num_samples}
            for bound in ("iwae", "fivo"):
                name = f"{bound}_{num_samples}"
                name += f"_first_{bounds_on}" if len(first) < len(sequences) else ""
                label = f"{bound.upper()}-{num_samples}"
                plan.append((name, label, first, {"bound": bound, **own}))
        for name, label, some, request in plan:
            results = scored(protocol, some, **request)
            if is_pool:
                results["all"] = mean([*results.values()])
            for part, result in results.items():
                by_set.setdefault(part, {}).setdefault(protocol, {})[name] = result
                where = split if not is_pool else f"{split}, {part.replace('all', 'mean of sets')}"
                print(
                    f"{where}: {result.value:.4f} nats per {unit}, protocol {protocol}, {label}, "
                    f"{result}",
                    flush=True,
                )
    return by_set


def evaluate_run(
    run: runs.Run, splits: data.Splits, num_samples: int = 16, bounds_on: int | None = None
) -> dict[str, Any]:
    """Score the test split with the run's best weights, and write `evaluation.json`."""
    (model, digest), unit = run.best_weights(), run.recipe.unit
    export.round_weights(model)
    by_set = whole(model, splits.test, "test", unit, num_samples, bounds_on)
    if advice := of_openings(run, by_set["all"]):
        print(advice)
    described = trained_on.description(splits)
    parts = described["data"]["parts"]
    below = baselines.all_of(splits)
    per_unit = parts["test"]["steps"] / units(model, splits.test, "full", unit).sum()
    for name, value in below.items():
        below[name] = value * per_unit
        print(f"test: {below[name]:.4f} nats per {unit}, protocol full, exact: {name}")
    result = {
        "format": FORMAT,
        "weights_sha256": digest,
        "unit": f"nats per {unit}",
        **described,
        "test": _plain(by_set.pop("all")),
        "floors": below,
    }
    if by_set:
        result["sets"] = {name: _plain(of) for name, of in by_set.items()}
    run.write_json("evaluation.json", result)
    return result


def of_openings(run: runs.Run, scores: Scores) -> str:
    """What to do where a model lost much on first steps, which its training never scored; or ""."""
    openings = run.recipe.openings if run.openings is None else run.openings
    paper, full = (next(iter(scores[protocol].values())).value for protocol in ("paper", "full"))
    if openings or run.recipe.window is None or paper - full < max(0.5, 0.1 * abs(paper)):
        return ""
    return (
        "note: protocol full, which also scores the first step of each sequence, is "
        f"{paper - full:.4f} nats per {run.recipe.unit} below protocol paper. This training scored "
        "no first step: `srnn-tf train` with `--openings 2` does"
    )


def _plain(scores: Scores) -> dict[str, Any]:
    return {p: {b: s._asdict() for b, s in of.items()} for p, of in scores.items()}


def evaluate_published(name: str, splits: data.Splits, split: str, num_samples: int, on) -> None:
    """Score a published model, and print the scores of its card beside the new ones."""
    model, card = zoo.load(name), zoo.card(name)
    sequences, unit = getattr(splits, split), card["unit"].removeprefix("nats per ")
    whole(model, sequences, split, unit, num_samples, on)
    if split == "test":
        for part, of in {"all": card["test"], **card.get("sets", {})}.items():
            where = "the card" if part == "all" else f"the card, {part}"
            for protocol, by_bound in of.items():
                for bound, score in by_bound.items():
                    value = f"{score['value']:.4f} {card['unit']}"
                    print(f"{where}: {value}, protocol {protocol}, {bound}")


def evaluate_folder(
    folder: str,
    path: str | None = None,
    edition: str | None = None,
    split: str = "test",
    num_samples: int = 16,
    bounds_on: int | None = None,
) -> None:
    """Score the best weights of a run, or a published model.

    Raises:
        ValueError, OSError: the run does not exist, its weights are damaged, or the data cannot be
            read.
    """
    checks.sizes(num_samples=num_samples)
    if bounds_on is not None:
        checks.sizes(bounds_on=bounds_on)
    if folder in zoo.names(published=True):
        card = zoo.card(folder)
        without = card["training"].get("without")
        recipe = runs.defined(card.get("definition")) or recipes.get(card["name"])
        splits = runs.load_data(recipe, path, edition, without)
        evaluate_published(folder, splits, split, num_samples, bounds_on)
        return
    run = runs.Run.open(folder)
    path = path or trained_on.path_of(run)
    splits = runs.load_data(run.recipe, path, edition, run.without)
    if split == "test":
        baselines.check_installed(splits.kind)  # now, not after the model was scored
    model = run.best_model()
    print(f"{run.recipe.name}, weights of step {int(model.step)} of {run.steps}")
    if split == "test":
        evaluate_run(run, splits, num_samples, bounds_on)
    else:
        export.round_weights(model)
        sequences = getattr(splits, split)
        whole(model, sequences, split, run.recipe.unit, num_samples, bounds_on)

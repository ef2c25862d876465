"""Score trained runs by every bound, under both protocols: a row of a table for each run.

    srnn-tf evaluate --table RUN_DIR... [--data FILE] [--num-samples 16] [--split test]

Models without latents have one score, which is exact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from srnn_tf.core import checks
from srnn_tf.core.types import Steps
from srnn_tf.experiments import evaluate, runs
from srnn_tf.inference import scoring
from srnn_tf.model import SequenceModel


def row(
    model: SequenceModel, sequences: Sequence[Steps], num_samples: int, unit: str = "step"
) -> list[tuple[float, ...]]:
    """Nats per unit under each protocol, paper first: (exact,) or (ELBO, IWAE-K, FIVO-K)."""
    requests: list[dict[str, Any]] = [{"bound": "elbo"}]
    if model.latent_size:
        more = [{"bound": bound, "num_samples": num_samples} for bound in ("iwae", "fivo")]
        requests += more

    def scores(protocol):
        return tuple(evaluate.score(model, sequences, protocol, unit=unit, **r) for r in requests)

    return [scores(protocol) for protocol in reversed(scoring.PROTOCOLS)]


def print_table(
    opened: Sequence[runs.Run], parts: Mapping[str, Sequence[Steps]], split: str, k: int
) -> None:
    """Print a Markdown table row by row; `parts` has the split of each data set."""
    bounds = ["ELBO", f"IWAE-{k}", f"FIVO-{k}"]
    heads = [f"{bound}, {protocol}" for protocol in ("paper", "full") for bound in bounds]
    units = " or ".join(dict.fromkeys(f"nats per {run.recipe.unit}" for run in opened))
    print(f"{split}, {units}; ELBO: 1 draw; FIVO: particles from the posterior\n")
    print("| run | updates | " + " | ".join(heads) + " |")
    print("|---|---|" + "---|" * len(heads), flush=True)
    for run in opened:
        cells = []
        recipe = run.recipe
        for values in row(run.best_model(), parts[recipe.dataset], k, recipe.unit):
            exact = len(values) == 1
            cells += [f"{values[0]:.4f} (exact)", "", ""] if exact else [f"{x:.4f}" for x in values]
        print(f"| {run.recipe.name} | {run.steps:,} | " + " | ".join(cells) + " |", flush=True)


def table(
    folders: Sequence[str],
    path: str | None = None,
    edition: str | None = None,
    split: str = "test",
    num_samples: int = 16,
) -> None:
    """Print a table of every bound, with a row for each run.

    Raises:
        ValueError, OSError: a run does not exist, its weights are damaged, or the data cannot be
            read.
    """
    checks.sizes(num_samples=num_samples)
    opened = [runs.Run.open(folder) for folder in folders]
    kinds = {run.recipe.dataset: run.recipe for run in opened}
    splits = {n: runs.load_data(r, path, edition) for n, r in kinds.items()}
    parts = {name: getattr(loaded, split) for name, loaded in splits.items()}
    print_table(opened, parts, split, num_samples)

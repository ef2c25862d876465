"""Score trained runs by every bound, under both protocols: a row of a table for each run.

    python -m zoo.bounds RUN_DIR... [--data FILE] [--num-samples 16] [--split test]

Models without latents have one score, which is exact.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from srnn_tf import SequenceModel, checks
from srnn_tf.inference import scoring
from zoo import evaluate, runs


def row(
    model: SequenceModel, sequences: Sequence[Any], num_samples: int, unit: str = "step"
) -> list[tuple[float, ...]]:
    """Nats per unit under each protocol, paper first: (exact,) or (ELBO, IWAE-K, FIVO-K)."""
    requests = [{"bound": "elbo"}]
    if model.latent_size:
        more = [{"bound": bound, "num_samples": num_samples} for bound in ("iwae", "fivo")]
        requests += more

    def scores(protocol):
        return tuple(evaluate.score(model, sequences, protocol, unit=unit, **r) for r in requests)

    return [scores(protocol) for protocol in reversed(scoring.PROTOCOLS)]


def print_table(
    opened: Sequence[runs.Run], parts: Mapping[str, Sequence[Any]], split: str, k: int
) -> None:
    """Print a Markdown table, a row as soon as it is known; `parts` holds each data set's split."""
    bounds = ["ELBO", f"IWAE-{k}", f"FIVO-{k}"]
    heads = [f"{bound}, {protocol}" for protocol in ("paper", "full") for bound in bounds]
    units = " or ".join(dict.fromkeys(f"nats per {run.recipe.unit}" for run in opened))
    print(f"{split}, {units}; ELBO: 1 draw; FIVO: particles from the posterior\n")
    print("| run | updates | " + " | ".join(heads) + " |")
    print("|---|---|" + "---|" * len(heads), flush=True)
    for run in opened:
        cells = []
        recipe = run.recipe
        for found in row(run.best_model(), parts[recipe.dataset], k, recipe.unit):
            exact = len(found) == 1
            cells += [f"{found[0]:.4f} (exact)", "", ""] if exact else [f"{x:.4f}" for x in found]
        print(f"| {run.recipe.name} | {run.steps:,} | " + " | ".join(cells) + " |", flush=True)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("runs", nargs="+", help="folders that zoo.train wrote")
    parser.add_argument("--data", help="the prepared folder, or the file of piano rolls")
    parser.add_argument("--edition", help='a known edition, or "any"')
    parser.add_argument("--split", default="test", choices=("train", "valid", "test"))
    parser.add_argument("--num-samples", type=int, default=16, help="draws, or particles")
    args = parser.parse_args(argv)
    with runs.clear_errors():
        checks.sizes(num_samples=args.num_samples)
        opened = [runs.Run.open(folder) for folder in args.runs]
        kinds = {run.recipe.dataset: run.recipe for run in opened}
        splits = {n: runs.load_data(r, args.data, args.edition) for n, r in kinds.items()}
        parts = {name: getattr(found, args.split) for name, found in splits.items()}
        print_table(opened, parts, args.split, args.num_samples)


if __name__ == "__main__":
    main()

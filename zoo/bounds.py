"""Score trained runs by every bound, under both protocols: a row of a table for each run.

    python -m zoo.bounds RUN_DIR... [--data FILE] [--num-samples 16] [--split test]

Models without latents have one score, which is exact.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence

import numpy as np

from srnn_tf import SequenceModel, checks, data, scoring
from zoo import evaluate, runs


def row(
    model: SequenceModel, sequences: Sequence[np.ndarray], num_samples: int
) -> list[tuple[float, ...]]:
    """Nats per step under each protocol, paper first: (exact,) or (ELBO, IWAE-K, FIVO-K)."""
    requests = [{"bound": "elbo"}]
    if model.latent_size:
        more = [{"bound": bound, "num_samples": num_samples} for bound in ("iwae", "fivo")]
        requests += more

    def scores(protocol):
        return tuple(evaluate.score(model, sequences, protocol, **r) for r in requests)

    return [scores(protocol) for protocol in reversed(scoring.PROTOCOLS)]


def print_table(
    opened: Sequence[runs.Run], parts: Mapping[str, Sequence[np.ndarray]], split: str, k: int
) -> None:
    """Print a Markdown table, a row as soon as it is known; `parts` holds each data set's split."""
    bounds = ["ELBO", f"IWAE-{k}", f"FIVO-{k}"]
    heads = [f"{bound}, {protocol}" for protocol in ("paper", "full") for bound in bounds]
    print(f"{split}, nats per step; ELBO: 1 draw; FIVO: particles from the posterior\n")
    print("| run | updates | " + " | ".join(heads) + " |")
    print("|---|---|" + "---|" * len(heads), flush=True)
    for run in opened:
        cells = []
        for found in row(run.best_model(), parts[run.recipe.dataset], k):
            exact = len(found) == 1
            cells += [f"{found[0]:.4f} (exact)", "", ""] if exact else [f"{x:.4f}" for x in found]
        print(f"| {run.recipe.name} | {run.steps:,} | " + " | ".join(cells) + " |", flush=True)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("runs", nargs="+", help="folders that zoo.train wrote")
    parser.add_argument("--data", help="the data file, for data sets read from one")
    parser.add_argument("--edition", help='a known edition, or "any"')
    parser.add_argument("--split", default="test", choices=("train", "valid", "test"))
    parser.add_argument("--num-samples", type=int, default=16, help="draws, or particles")
    args = parser.parse_args(argv)
    with runs.clear_errors():
        checks.sizes(num_samples=args.num_samples)
        opened = [runs.Run.open(folder) for folder in args.runs]
        names = dict.fromkeys(run.recipe.dataset for run in opened)
        splits = {name: data.load(name, args.data, edition=args.edition) for name in names}
        parts = {name: getattr(found, args.split) for name, found in splits.items()}
        print_table(opened, parts, args.split, args.num_samples)


if __name__ == "__main__":
    main()

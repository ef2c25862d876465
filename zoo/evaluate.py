"""Score a trained run on a split of its data, under both protocols.

python -m zoo.evaluate RUN_DIR [--data PATH] [--split test]
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np

from srnn_tf import SequenceModel, data
from zoo import runs

# The most steps of the structure (rows times steps) scored at once: bounds memory.
MAX_STEPS = 200_000


def bound_name(model: SequenceModel) -> str:
    """What a score of this model claims about log p(x)."""
    return "ELBO, 1 draw" if model.latent_size else "exact"


def score(
    model: SequenceModel,
    sequences: Sequence[Any],
    protocol: str = "full",
    batch_size: int = 16,
    unit: str = "step",
    **request: Any,
) -> float:
    """Total nats over total scored units; per sequence, the mean over sequences.

    Under "paper" the first step of each sequence (flat models: the first value) is not scored.

    Args:
        unit: "step", "sequence", "sample" or "8,000 samples".
        request: further arguments of `log_prob`: bound, num_samples, ...
    """
    total = 0.0
    max_steps = MAX_STEPS // model.steps_per_frame
    for batch in data.batches(sequences, batch_size, max_steps=max_steps):
        values = model.log_prob(
            batch["frames"], batch["mask"], protocol=protocol, **request
        ).numpy()
        total += float(values[batch["index"] >= 0].astype(np.float64).sum())
    unscored = len(sequences) / model.steps_per_frame if protocol == "paper" else 0.0
    steps = sum(len(s) for s in sequences) - unscored
    counts = {"step": steps, "sequence": len(sequences), "sample": steps * model.event_size}
    counts["8,000 samples"] = counts["sample"] / 8000
    if unit not in counts:
        raise ValueError(f"unit={unit!r}; accepted are {', '.join(counts)}")
    return total / counts[unit]


def report(
    model: SequenceModel, sequences: Sequence[Any], split: str, unit: str = "step"
) -> dict[str, float]:
    """Print and return the scores under both protocols, nats per unit."""
    protocols = ("paper", "full")
    scores = {protocol: score(model, sequences, protocol, unit=unit) for protocol in protocols}
    for protocol, value in scores.items():
        print(f"{split}: {value:.4f} nats per {unit}, protocol {protocol}, {bound_name(model)}")
    return scores


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", help="the folder that zoo.train wrote")
    parser.add_argument("--data", help="the prepared folder, or the file of piano rolls")
    parser.add_argument("--edition", help='a known edition, or "any"')
    parser.add_argument("--split", default="test", choices=("train", "valid", "test"))
    args = parser.parse_args(argv)
    with runs.clear_errors():
        run = runs.Run.open(args.run)
        splits = runs.load_data(run.recipe, args.data, args.edition)
        model = run.best_model()
        print(f"{run.recipe.name}, weights of step {int(model.step)} of {run.steps}")
        report(model, getattr(splits, args.split), args.split, run.recipe.unit)


if __name__ == "__main__":
    main()

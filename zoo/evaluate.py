"""Score a trained run on a split of its data, under both protocols.

python -m zoo.evaluate RUN_DIR [--data FILE] [--split test]
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
    sequences: Sequence[np.ndarray],
    protocol: str = "full",
    batch_size: int = 16,
    **request: Any,
) -> float:
    """Total nats over total scored steps, nats per step.

    Under "paper" the first step of each sequence (flat models: the first value) is not scored.
    `request` are further arguments of `log_prob`: bound, num_samples, ...
    """
    total = 0.0
    max_steps = MAX_STEPS // model.steps_per_frame
    for batch in data.batches(sequences, batch_size, max_steps=max_steps):
        values = model.log_prob(
            batch["frames"], batch["mask"], protocol=protocol, **request
        ).numpy()
        total += float(values[batch["index"] >= 0].astype(np.float64).sum())
    unscored = len(sequences) / model.steps_per_frame if protocol == "paper" else 0.0
    return total / (sum(len(s) for s in sequences) - unscored)


def report(model: SequenceModel, sequences: Sequence[np.ndarray], split: str) -> dict[str, float]:
    """Print and return the scores under both protocols, nats per step."""
    scores = {protocol: score(model, sequences, protocol) for protocol in ("paper", "full")}
    for protocol, value in scores.items():
        print(f"{split}: {value:.4f} nats per step, protocol {protocol}, {bound_name(model)}")
    return scores


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", help="the folder that zoo.train wrote")
    parser.add_argument("--data", help="the data file, for data sets read from one")
    parser.add_argument("--edition", help='a known edition, or "any"')
    parser.add_argument("--split", default="test", choices=("train", "valid", "test"))
    args = parser.parse_args(argv)
    with runs.clear_errors():
        run = runs.Run.open(args.run)
        splits = data.load(run.recipe.dataset, args.data, edition=args.edition)
        model = run.best_model()
        print(f"{run.recipe.name}, weights of step {int(model.step)} of {run.steps}")
        report(model, getattr(splits, args.split), args.split)


if __name__ == "__main__":
    main()

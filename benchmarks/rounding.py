"""What training makes of rounding: one process against itself, its weights moved by a few ulps.

    python -m benchmarks.rounding [--models vrnn_jsb,...] [--ulps 1,4,16] [--updates 50]

Recipes of music train on Bach's chorales, 4 streams of 100 steps, as `zoo.train` would, from the
same weights and from weights moved up or down by some units in the last place (relative, 2^-23).
The table has the largest difference of a weight, of all of them, after some updates. A model that
does not amplify keeps it; what it grows to is what two machines, or numbers of workers, whose sums
round differently, may differ by though they do the same.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from benchmarks import turns
from srnn_tf import data, inputs, recipes
from zoo import runs

DEFAULT = "vrnn_jsb,rnn_hier_jsb,rnn_hier_mlp_jsb"
STREAMS = 4


def trained(name: str, sequences: Sequence[np.ndarray], ulps: int, updates: int) -> list[list]:
    """All weights after each update."""
    recipe = recipes.get(name)
    model = runs.Run(Path(), recipe, updates, seed=0).build()
    rng = np.random.default_rng(ulps)
    for weight in model.trainable_variables:
        signs = rng.choice([-1.0, 1.0], weight.shape)
        weight.assign(weight.numpy() * (1.0 + ulps * 2.0**-23 * signs))
    stream = data.streams(sequences, STREAMS, recipe.window, seed=0)
    batches = iter(inputs.pipeline(model, stream, endless=True))
    update = tf.function(model.train_step, autograph=False, jit_compile=True)
    found = []
    for _ in range(updates):
        update(next(batches))
        found.append([weight.numpy() for weight in model.trainable_variables])
    return found


def largest(one: list[np.ndarray], two: list[np.ndarray]) -> float:
    """The largest difference of a weight."""
    return max(float(np.abs(a - b).max()) for a, b in zip(one, two, strict=True))


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", default=DEFAULT, help="recipes of 88 keys, in windows")
    parser.add_argument("--ulps", default="1,4,16")
    parser.add_argument("--updates", type=int, default=50)
    args = parser.parse_args(argv)
    if args.updates < 1:
        raise SystemExit(f"--updates must be at least 1; received {args.updates}")
    turns.on_cpu()
    sequences = data.load("bach").train
    ends = sorted({n for n in (1, 3, 10, 20, 50, args.updates) if n <= args.updates})
    print("largest difference of a weight, float32, after so many updates\n")
    print("| model | ulps | " + " | ".join(map(str, ends)) + " |")
    print("|---|---" + "|---" * len(ends) + "|", flush=True)
    with runs.clear_errors():
        for name in args.models.split(","):
            whole = trained(name, sequences, 0, args.updates)
            for ulps in map(int, args.ulps.split(",")):
                moved = trained(name, sequences, ulps, args.updates)
                cells = [f"{largest(whole[n - 1], moved[n - 1]):.1e}" for n in ends]
                print(f"| {name} | {ulps} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()

"""What training makes of rounding: one process against itself, its weights a few ulps away.

    python -m benchmarks.rounding [--models vrnn_jsb,...] [--ulps 1,4,16] [--updates 50]

Recipes of music train on Bach's chorales in float32, 4 streams a batch, from the same weights and
from weights of which each is greater or smaller by a few times 2^-23 of itself, one or two units in
the last place. The table has the largest difference of a weight after some updates, and that of the
last loss. Machines, or numbers of workers, whose sums round differently may differ as much though
they do the same.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from benchmarks import turns
from srnn_tf import SequenceModel, data, recipes
from srnn_tf.experiments import runs
from srnn_tf.training import inputs

DEFAULT = "vrnn_jsb,rnn_hier_jsb,rnn_hier_mlp_jsb"
STREAMS = 4


class Training:
    """A recipe's training, to be begun again and again.

    Args:
        recipe: of 88 keys, in windows.
        sequences: to train on.
    """

    def __init__(self, recipe: recipes.Recipe, sequences: Sequence[np.ndarray]):
        self.model: SequenceModel = runs.Run(Path(), recipe, recipe.steps, seed=0).build()
        self.stream = data.streams(sequences, STREAMS, recipe.window, seed=0)
        self.variables = [*self.model.variables, *self.model.optimizer.variables]
        self.first = [variable.numpy() for variable in self.variables]
        self.update = tf.function(self.model.train_step, autograph=False, jit_compile=True)

    def weights(self, ulps: int, ends: Sequence[int]) -> tuple[list[list[np.ndarray]], float]:
        """The weights after each of these numbers of updates, and the loss of the last."""
        for variable, value in zip(self.variables, self.first, strict=True):
            variable.assign(value)
        rng = np.random.default_rng(ulps)
        for weight in self.model.trainable_variables:
            signs = rng.choice([-1.0, 1.0], weight.shape)
            weight.assign(weight.numpy() * (1.0 + ulps * 2.0**-23 * signs))
        batches, found = iter(inputs.pipeline(self.model.density, self.stream, endless=True)), []
        for done in range(ends[-1] + 1):
            if done in ends:
                found.append([weight.numpy() for weight in self.model.trainable_variables])
            if done < ends[-1]:
                self.model.reset_metrics()
                loss = float(self.update(next(batches))["loss"])
        return found, loss


def largest(one: list[np.ndarray], two: list[np.ndarray]) -> float:
    """The largest difference of a weight."""
    return max(float(np.abs(a - b).max()) for a, b in zip(one, two, strict=True))


def whole_numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", default=DEFAULT, help="recipes of 88 keys, in windows")
    parser.add_argument("--ulps", default="1,4,16", type=whole_numbers)
    parser.add_argument("--updates", type=int, default=50)
    args = parser.parse_args(argv)
    if args.updates < 1:
        raise SystemExit(f"--updates must be at least 1; received {args.updates}")
    turns.on_cpu()
    ends = sorted({n for n in (0, 1, 3, 10, 20, 50, args.updates) if n <= args.updates})
    with runs.clear_errors():
        chosen = [recipes.get(name) for name in args.models.split(",")]
        sequences = data.load("bach").train
        print("largest difference of a weight after so many updates; of the last loss, relative\n")
        print("| model | ulps | " + " | ".join(map(str, ends)) + " | loss |")
        print("|---|---|---" + "|---" * len(ends) + "|", flush=True)
        for recipe in chosen:
            training = Training(recipe, sequences)
            whole, expected = training.weights(0, ends)
            for ulps in args.ulps:
                moved, loss = training.weights(ulps, ends)
                cells = [*map(largest, whole, moved), abs(loss / expected - 1.0)]
                text = " | ".join(f"{cell:.1e}" for cell in cells)
                print(f"| {recipe.name} | {ulps} | {text} |", flush=True)


if __name__ == "__main__":
    main()

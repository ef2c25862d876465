"""Start the run of a published model again, from what its card says of the training.

    python -m zoo.reproduce NAME [--out DIR] [--data PATH] [--version N] [--root DIR] [--print]

The run has the recipe, updates, seed, batch size, structure, window, learning rate, transposition,
openings, data and dtype of the published one, and trains until the same update. Weights are equal
as far as the machine computes what that of the card did. Run the command again to go on after an
interruption.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from srnn_tf import command, recipes, zoo
from srnn_tf.experiments import runs

# What a card may say where the run departs from its recipe, with the option that says it to train.
DEPARTURES = ("batch_size", "window", "learning_rate", "transpose", "openings")


def arguments(card: Mapping[str, Any], out: str, data: str | None = None) -> list[str]:
    """The words of `srnn-tf` that start the run of a card.

    Args:
        card: of a published model.
        out: the folder of the run.
        data: the prepared folder, or the file of piano rolls.

    Raises:
        ValueError: the run cannot be started again from what its card says.
    """
    _check(card)
    training = card["training"]
    words = ["train", card["name"], "--out", out, "--no-test"]
    words += [] if data is None else ["--data", data]
    words += ["--steps", str(_schedule(training)), "--seed", str(training["seed"])]
    words += ["--dtype", training["precision"]]
    if training["candidate"] is not None:
        words += ["--candidate", training["candidate"]]
    for option in DEPARTURES:
        if training.get(option) != training.get(f"{option}_of_recipe"):
            words += ["--" + option.replace("_", "-"), str(training[option])]
    for part in training.get("without") or ():
        words += ["--without", part]
    if training["updates"] < _schedule(training):
        since = training["updates"] - training["best_update"]
        words += ["--patience", str(since // runs.EPOCH)]
    return words


def _schedule(training: Mapping[str, Any]) -> int:
    """The updates that the run was begun for."""
    return training.get("schedule", training["updates"])


def _check(card: Mapping[str, Any]) -> None:
    """Raise ValueError with the reason why a run cannot be started again."""
    name, training = card["name"], card["training"]
    if card.get("alias_of"):
        raise ValueError(f"{name} is a substitute: reproduce {card['alias_of']}")
    if name not in recipes.RECIPES:
        raise ValueError(f"{name} has no recipe in this version")
    if training.get("begun_with"):
        raise ValueError(
            f"{name}, version {card['version']}, was begun with the weights of another run, which "
            "are not published; another --version may not have been"
        )
    recipe = recipes.get(name)
    changed = [
        f"{key} {training[f'{key}_of_recipe']} (now {getattr(recipe, key)})"
        for key in (*DEPARTURES, "steps")
        if f"{key}_of_recipe" in training and training[f"{key}_of_recipe"] != getattr(recipe, key)
    ]
    if card["structure"] != recipe.candidate(training["candidate"]):
        changed.append("structure")
    if card["emission"] != recipe.emission:
        changed.append("emission")
    if changed:
        raise ValueError(f"the recipe {name} has changed since: {', '.join(changed)}")
    since = training["updates"] - training["best_update"]
    if training["updates"] < _schedule(training) and (since < runs.EPOCH or since % runs.EPOCH):
        raise ValueError(
            f"{name}, version {card['version']}, was stopped by hand at update "
            f"{training['updates']:,} of {_schedule(training):,}"
        )


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("name", help="of a published model")
    parser.add_argument("--out", help="the run's folder; runs/NAME by default")
    parser.add_argument("--data", help="the prepared folder, or the file of piano rolls")
    parser.add_argument("--version", type=int, help="the newest by default")
    parser.add_argument("--root", help="a folder of published models to look into, and no other")
    parser.add_argument("--print", action="store_true", help="show the command, and do nothing")
    args = parser.parse_args(argv)
    if args.out == "":
        parser.error("--out must name a folder; received ''")
    with runs.clear_errors():
        card = zoo.card(args.name, args.version, args.root)
        words = arguments(card, args.out or f"runs/{args.name}", args.data)
    if args.print:
        print(shlex.join(["srnn-tf", *words]))
        return
    command.main(words)


if __name__ == "__main__":
    main()

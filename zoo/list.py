"""Print the recipes of the zoo as a table.

python -m zoo.list [--dataset D] [--model M] [--parameters]
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence

from srnn_tf import recipes, zoo
from zoo import runs

HEADER = ("name", "structure", "emission", "likelihood", "updates", "batch", "nats per", "bound")


def row(recipe: recipes.Recipe) -> tuple[str, ...]:
    """A recipe in words, as in `HEADER`."""
    structure, emission = recipe.structure, recipe.emission
    likelihood = emission["likelihood"]
    if isinstance(likelihood, dict):
        likelihood = f"{likelihood['class']} x {likelihood['num_components']}"
    inside = emission["class"]
    if emission["event_size"] != recipe.event_size:
        inside = f"flat {inside}"
    name = structure["class"] + ("" if len(recipe.candidates) < 2 else " or zforcing")
    length = f"{recipe.window} frames" if recipe.window else "whole"
    bound = "ELBO" if "latent_size" in structure else "exact"
    batch = f"{recipe.batch_size} x {length}"
    return (recipe.name, name, inside, likelihood, f"{recipe.steps:,}", batch, recipe.unit, bound)


def parameters(recipe: recipes.Recipe) -> str:
    """How many are trained."""
    model = zoo.build(recipe.name)
    return f"{sum(math.prod(v.shape) for v in model.trainable_variables):,}"


def chosen(dataset: str | None, model: str | None) -> list[recipes.Recipe]:
    """Recipes of a data set, of a model, of both, or all.

    Raises:
        ValueError: there is none.
    """
    found = [
        recipe
        for recipe in recipes.RECIPES.values()
        if dataset in (None, recipe.dataset) and model in (None, recipe.model)
    ]
    if not found:
        datasets = sorted({recipe.dataset for recipe in recipes.RECIPES.values()})
        raise ValueError(
            f"no recipe of model {model!r} for data set {dataset!r}; data sets are "
            f"{', '.join(datasets)}"
        )
    return found


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--dataset", help="for instance timit")
    parser.add_argument("--model", help="for instance srnn_hier")
    parser.add_argument("--parameters", action="store_true", help="count them: builds each model")
    args = parser.parse_args(argv)
    with runs.clear_errors():
        found = chosen(args.dataset, args.model)
    rows = [HEADER, *(row(recipe) for recipe in found)]
    if args.parameters:
        counts = ["parameters", *(parameters(recipe) for recipe in found)]
        rows = [(*cells, count) for cells, count in zip(rows, counts, strict=True)]
    widths = [max(len(cells[i]) for cells in rows) for i in range(len(rows[0]))]
    for cells in rows:
        print("  ".join(c.ljust(w) for c, w in zip(cells, widths, strict=True)).rstrip())


if __name__ == "__main__":
    main()

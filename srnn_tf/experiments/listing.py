"""The recipes of the zoo as a table: `srnn-tf list --all`."""

from __future__ import annotations

import math
from collections.abc import Collection

from srnn_tf import recipes, zoo

HEADER = ("name", "structure", "emission", "likelihood", "updates", "batch", "nats per", "bound")


def row(recipe: recipes.Recipe) -> tuple[str, ...]:
    """The row of a recipe, with the columns of `HEADER`."""
    structure, emission = recipe.structure, recipe.emission
    likelihood = emission.get("likelihood", "by default")
    if isinstance(likelihood, dict):
        components = likelihood.get("num_components")
        likelihood = likelihood["class"] + (f" x {components}" if components else "")
    inside = emission["class"]
    if emission["event_size"] != recipe.event_size:
        inside = f"flat {inside}"
    name = structure["class"] + ("" if len(recipe.candidates) < 2 else " or zforcing")
    length = f"{recipe.window} frames" if recipe.window else "whole"
    bound = "ELBO" if "latent_size" in structure else "exact"
    batch = f"{recipe.batch_size} x {length}"
    return (recipe.name, name, inside, likelihood, f"{recipe.steps:,}", batch, recipe.unit, bound)


def parameters(recipe: recipes.Recipe) -> str:
    """The number of trainable parameters."""
    model = zoo.build(recipe.name)
    return f"{sum(math.prod(v.shape) for v in model.trainable_variables):,}"


def chosen(dataset: str | None, model: str | None) -> list[recipes.Recipe]:
    """The recipes of a data set, of a model, of both, or all.

    Raises:
        ValueError: there is no such recipe.
    """
    matches = [
        recipe
        for recipe in recipes.RECIPES.values()
        if dataset in (None, recipe.dataset) and model in (None, recipe.model)
    ]
    if not matches:
        datasets = sorted({recipe.dataset for recipe in recipes.RECIPES.values()})
        raise ValueError(
            f"no recipe of model {model!r} for data set {dataset!r}; data sets are "
            f"{', '.join(datasets)}"
        )
    return matches


def rows(
    dataset: str | None, model: str | None, published: Collection[str], count: bool = False
) -> list[tuple[str, ...]]:
    """The table of recipes, its header first.

    Args:
        dataset, model: as in `chosen`.
        published: the names with published weights.
        count: also count parameters, for which each model is built.

    Raises:
        ValueError: there is no such recipe.
    """
    matches = chosen(dataset, model)
    table: list[tuple[str, ...]] = [(*HEADER, "weights")]
    for recipe in matches:
        weights = "published" if recipe.name in published else "no weights: srnn-tf train"
        table.append((*row(recipe), weights))
    if count:
        counts = ["parameters", *(parameters(recipe) for recipe in matches)]
        table = [(*cells, number) for cells, number in zip(table, counts, strict=True)]
    return table

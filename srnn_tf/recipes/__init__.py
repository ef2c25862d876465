"""Recipes: the model and the training settings of each entry of the zoo, as tables.

Names are `{model}_{dataset}`, for instance `f_rnn_nottingham`. To add one, `register` it. Those of
this package are rows in the table of their corpus.
"""

from __future__ import annotations

import re

from srnn_tf.core.registry import unknown
from srnn_tf.recipes import blizzard, iam_ondb, midi, own, speech_commands, timit, vctk
from srnn_tf.recipes.own import kind_of
from srnn_tf.recipes.recipe import TRANSPOSED, Recipe

_CORPORA = (timit, vctk, blizzard, speech_commands, midi, iam_ondb)
RECIPES: dict[str, Recipe] = {recipe.name: recipe for c in _CORPORA for recipe in c.RECIPES}


def get(name: str) -> Recipe:
    """The recipe of a name.

    Raises:
        ValueError: the name is unknown; the error suggests the nearest known one.

    Example:
        >>> get("f_rnn_nottingham").steps
        20000
    """
    if name not in RECIPES:
        raise unknown("recipe", name, RECIPES)
    return RECIPES[name]


def models(kind: str | None = None) -> dict[str, Recipe]:
    """The model parts, such as `rnn_hier_mlp`, that can be trained on a user's own data.

    Args:
        kind: the name of a modality; all by default.

    Returns:
        For each model part a recipe that has it, with the sizes that it would have.

    Example:
        >>> "rnn_hier_mlp" in models("pianoroll"), "srnn_hier_mlp" in models("speech")
        (True, False)
    """
    if kind is not None:
        return own.models(RECIPES, kind)
    return {recipe.model: recipe for recipe in RECIPES.values()}


def own_data(model: str, dataset: str, kind: str, event_size: int) -> Recipe:
    """The recipe of a model part for a data set: its own, or that of the same modality.

    Args:
        model: one of `models(kind)`.
        dataset: the name of a registered corpus, such as "pianoroll".
        kind: the name of its modality.
        event_size: D, the number of values in a frame.

    Raises:
        ValueError: no recipe of this modality has the model part; the error suggests the nearest.

    Example:
        >>> own_data("f_rnn", "audio", "speech", 160).emission["event_size"]
        160
    """
    return own.recipe_for(RECIPES, model, dataset, kind, event_size)


def register(recipe: Recipe) -> Recipe:
    """Register a recipe for `zoo.build` and `srnn-tf train`.

    Args:
        recipe: the recipe. Its configs may name registered classes, and its `dataset` a registered
            corpus.

    Returns:
        The recipe.

    Raises:
        ValueError: it is not a `Recipe`; or its name is taken, is not `{model}_{dataset}`, or has
            other characters than lower case letters, digits and underscores.

    Example:
        register(Recipe("markov_house", "house", structure, emission, ...))
    """
    if not isinstance(recipe, Recipe):
        raise ValueError(f"`recipe` must be a Recipe; received {recipe!r}")
    name = recipe.name
    if not re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)*", str(name)):
        raise ValueError(
            f"the name of a recipe must be letters a to z, digits and _; received {name!r}"
        )
    if recipe.model == name.removesuffix(TRANSPOSED):
        raise ValueError(
            f"the name of a recipe must be MODEL_{recipe.dataset}, the data set last; "
            f"received {name!r}"
        )
    if RECIPES.get(name, recipe) != recipe:
        raise ValueError(f"the recipe {name!r} is registered already; choose another name")
    RECIPES[name] = recipe
    return recipe


__all__ = [
    "RECIPES",
    "TRANSPOSED",
    "Recipe",
    "get",
    "kind_of",
    "models",
    "own_data",
    "register",
]

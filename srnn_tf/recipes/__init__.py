"""Recipes: what each entry of the zoo is and how it is trained. Tables only, no code of models.

Names are `{model}_{dataset}`, for instance `f_rnn_nottingham`. To add one: a row in the table of
its corpus.
"""

from __future__ import annotations

from srnn_tf.core.registry import unknown
from srnn_tf.recipes import blizzard, iam_ondb, midi, speech_commands, timit, vctk
from srnn_tf.recipes.recipe import TRANSPOSED, Recipe

_CORPORA = (timit, vctk, blizzard, speech_commands, midi, iam_ondb)
RECIPES: dict[str, Recipe] = {recipe.name: recipe for c in _CORPORA for recipe in c.RECIPES}


def get(name: str) -> Recipe:
    """The recipe of a name.

    Raises:
        ValueError: an unknown name; the error suggests the nearest known one.

    Example:
        >>> get("f_rnn_nottingham").steps
        20000
    """
    if name not in RECIPES:
        raise unknown("recipe", name, RECIPES)
    return RECIPES[name]


__all__ = ["RECIPES", "TRANSPOSED", "Recipe", "get"]

"""Recipes for a user's own data: a model part, such as `rnn_hier_mlp`, for any data set."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from srnn_tf.core.registry import unknown
from srnn_tf.data import corpora
from srnn_tf.recipes.recipe import TRANSPOSED, Recipe

# Of several data sets of a modality, the one whose recipe is taken: sizes and schedules that were
# published with weights.
_PREFERRED = ("bach", "unipen", "speech_commands")


def kind_of(recipe: Recipe) -> str | None:
    """The name of the modality of a recipe's data; None for data that are not registered.

    Example:
        >>> from srnn_tf import recipes
        >>> kind_of(recipes.get("f_rnn_timit")), kind_of(recipes.get("f_rnn_music"))
        ('speech', 'pianoroll')
    """
    if recipe.dataset == "music":
        return "pianoroll"
    corpus = corpora.CORPORA.get(recipe.dataset)
    return None if corpus is None else corpus.kind


def models(known: Mapping[str, Recipe], kind: str) -> dict[str, Recipe]:
    """The model parts of a modality, each with the recipe that has its sizes.

    Args:
        known: recipes by name.
        kind: the name of a modality.
    """
    of_kind = [r for r in known.values() if kind_of(r) == kind and not r.name.endswith(TRANSPOSED)]
    # Later ones replace earlier ones, so the preferred are last.
    of_kind.sort(key=lambda recipe: recipe.dataset in _PREFERRED)
    return {recipe.model: recipe for recipe in of_kind}


def recipe_for(
    known: Mapping[str, Recipe], model: str, dataset: str, kind: str, event_size: int
) -> Recipe:
    """The recipe of a model part for a data set: its own, or that of the same modality.

    The sizes of the layers and the schedules are those of the recipe for bach, unipen or
    speech_commands; the frame size is that of the data. The unit of scores is the data set's.

    Args:
        known: recipes by name.
        model: the model part.
        dataset: the name of a registered corpus.
        kind: the name of its modality.
        event_size: D, the number of values in a frame.

    Raises:
        ValueError: no recipe of this modality has the model part; the error suggests the nearest.
    """
    name = f"{model}_{dataset}"
    if name in known and known[name].event_size == event_size:
        return known[name]
    parts = models(known, kind)
    if model not in parts:
        raise unknown(f"model for data of the modality {kind!r}", model, parts)
    base = parts[model]
    emission = dict(base.emission)
    if emission["event_size"] != 1:  # else it sees one value per step
        emission["event_size"] = event_size
    return dataclasses.replace(
        base,
        name=name,
        dataset=dataset,
        emission=emission,
        event_size=event_size,
        unit=corpora.get(dataset).unit,
        reported=None,
    )

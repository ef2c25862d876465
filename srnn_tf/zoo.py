"""The zoo: models by name."""

from __future__ import annotations

from srnn_tf import recipes
from srnn_tf.model import SequenceModel


def names() -> list[str]:
    """All names, `{model}_{dataset}`.

    Example:
        >>> "f_srnn_bach" in names()
        True
    """
    return sorted(recipes.RECIPES)


def build(
    name: str,
    steps: int | None = None,
    seed: int = 0,
    dtype: str | None = None,
    candidate: str | None = None,
) -> SequenceModel:
    """A model with fresh weights, as its recipe says.

    Args:
        name: one of `names()`.
        steps: updates it will be trained for, the recipe's by default; the KL schedule scales.
        seed: of everything random in training.
        dtype: the dtype policy; Keras' own by default.
        candidate: of the recipe's `candidates`, such as "zforcing_0.0025_0"; the recipe's own
            structure by default.

    Raises:
        ValueError: an unknown name or candidate; the error suggests the nearest known one.

    Example:
        >>> build("f_rnn_bach").count_params() > 570_000
        True
    """
    recipe, policy = recipes.get(name), {} if dtype is None else {"dtype": dtype}
    return SequenceModel(
        {**recipe.candidate(candidate), **policy},
        {**recipe.emission, **policy},
        event_size=recipe.event_size,
        kl_schedule=recipe.scaled_kl_schedule(steps or recipe.steps),
        window=recipe.window,
        seed=seed,
    )

"""The models of the page: those whose weights are on this machine."""

from __future__ import annotations

import dataclasses
import functools
import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

from srnn_tf import serving, zoo
from srnn_tf.app import limits
from srnn_tf.serving import inputs
from srnn_tf.zoo import store

_WORDS = {"pianoroll": "music"}  # of modalities whose name is not the word for it


class Choice(NamedTuple):
    """A model to choose: its name, its modality, and the bound of its scores."""

    name: str
    kind: str
    bound: str

    @property
    def label(self) -> str:
        return f"{self.name} ({word(self.kind)}, {self.bound})"


class Opened(NamedTuple):
    """A model in memory: to draw from, and to score with."""

    published: zoo.Published
    answers: serving.Answers

    @property
    def kind(self) -> str:
        return inputs.kind_of(self.published.card)

    @property
    def bound(self) -> str:
        return inputs.bound_of(self.published.card)


def word(kind: str) -> str:
    """The word for a modality.

    Example:
        >>> word("pianoroll"), word("speech")
        ('music', 'speech')
    """
    return _WORDS.get(kind, kind)


def choices() -> list[Choice]:
    """The published models whose weights are here, the embedded one first; no substitutes."""
    listed = []
    for name in zoo.installed():
        try:
            card = zoo.card(name)
        except (ValueError, OSError) as error:  # a damaged one does not hide the others
            warnings.warn(f"{name} is skipped: {error}", stacklevel=2)
            continue
        if not card.get("stand_in"):
            listed.append(Choice(name, inputs.kind_of(card), inputs.bound_of(card)))
    return sorted(listed, key=lambda c: (c.name != store.EMBEDDED[0], c.kind != "pianoroll", c))


def chosen(name: Any) -> Choice:
    """The choice of a name.

    Raises:
        ValueError: there is none.
    """
    for choice in choices():
        if choice.name == name:
            return choice
    raise ValueError("choose a model first" if not name else f"there is no model {str(name)[:80]}")


def of_kind(kind: str) -> list[Choice]:
    """The choices of a modality."""
    return [choice for choice in choices() if choice.kind == kind]


@functools.lru_cache(maxsize=limits.MODELS)
def opened(name: str) -> Opened:
    """Load a model, once.

    Raises:
        ValueError: there is no such model, or a file of it is damaged.
    """
    published = zoo.open(chosen(name).name)
    model = published.load()
    published = dataclasses.replace(published, loader=lambda: model)
    return Opened(published, serving.Local(published, batch_size=1))


def about(card: Mapping[str, Any]) -> str:
    """What a model is, in a line."""
    scores = list(card["test"].get("full", {}).values())
    parts = [f"{card['structure']['class']} + {card['emission']['class']}"]
    parts += [f"{card['parameters']:,} parameters", f"trained on {card['data']['name']}"]
    for score in scores[:1]:
        value, bound = f"{score['value']:.4f} {card['unit']}", inputs.bound_of(card)
        parts.append(f"test score {value} (full, {bound})")
    return "; ".join(parts)

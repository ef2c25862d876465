"""The metadata of a model's page in the format of the Hugging Face Hub, as YAML before its text."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import Any

from srnn_tf.experiments import pages
from srnn_tf.serving import inputs

LICENSE = "apache-2.0"  # of weights; the terms of the data are on the page
PAPER = "1902.01388"
TAGS = {
    "pianoroll": ("music", "midi", "piano-roll"),
    "speech": ("audio", "speech", "raw-audio"),
    "handwriting": ("handwriting", "strokes"),
}


def page(
    card: Mapping[str, Any], sample: str | None = None, living: Mapping[str, Any] | None = None
) -> str:
    """The README of a published model or a substitute, with metadata before it.

    Args:
        card: the card.
        sample: the address of its samples, relative to the page; None for none.
        living: how its samples compare with the data, as `pages.alive` takes it; None for unknown.

    Returns:
        The page; without metadata where huggingface_hub, of the extra `hub`, is not installed.

    Example:
        page(srnn_tf.zoo.card("f_rnn_bach")).splitlines()[0]  # "---"
    """
    if card.get("alias_of"):
        return _with(pages.substitute(card), lambda: _substitute(card))
    return _with(pages.readme(card, sample, living), lambda: _published(card))


def _with(text, metadata):
    if importlib.util.find_spec("huggingface_hub") is None:
        return text
    from huggingface_hub import ModelCard

    # The constructor parses what it is given: a page that is no card raises here, not on the Hub.
    return str(ModelCard(f"---\n{metadata().to_yaml()}\n---\n\n{text}"))


def _published(card):
    from huggingface_hub import ModelCardData

    structure, emission = card["structure"]["class"], card["emission"]["class"]
    kind = inputs.kind_of(card)
    return ModelCardData(
        license=LICENSE,
        library_name="srnn_tf",
        tags=[
            *TAGS.get(kind, (kind,)),
            *("tensorflow", "keras", "sequence-modeling", "density-estimation"),
            *dict.fromkeys((structure, emission)),
            f"arxiv:{PAPER}",
        ],
        datasets=[card["data"]["name"]],
        metrics=["log_likelihood"],
        model_name=card["name"],
        eval_results=_results(card),
    )


def _substitute(card):
    from huggingface_hub import ModelCardData

    return ModelCardData(
        license=LICENSE,
        library_name="srnn_tf",
        tags=["tensorflow", "keras", "sequence-modeling", "substitute", f"arxiv:{PAPER}"],
        base_model=card["alias_of"],
    )


def _results(card):
    """The scores of the test part, each with unit, protocol and bound in the name of its metric."""
    from huggingface_hub import EvalResult

    name, results = card["data"]["name"], []
    for protocol, by_bound in card["test"].items():
        for bound, score in by_bound.items():
            label = pages.bound_label(bound)
            told = f"log likelihood, {card['unit']}, protocol {protocol}, {label}"
            result = EvalResult(
                task_type="density-estimation",
                task_name="Density estimation of sequences",
                dataset_type=name,
                dataset_name=name,
                dataset_split="test",
                metric_type="log_likelihood",
                metric_name=told,
                metric_value=round(score["value"], 4),
            )
            results.append(result)
    return results

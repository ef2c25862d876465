"""Whether a model fits a file of music at all: it must score above independent notes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from srnn_tf import zoo
from srnn_tf.experiments import baselines
from srnn_tf.serving import inputs

DOCS = 'docs/zoo.md, "Music of your own"'


def misfit(
    name: str, card: Mapping[str, Any], sequence: inputs.Sequence, log_likelihood: float
) -> str | None:
    """Say that a model of music scores a sequence below independent notes; None if it does not.

    The baseline is `baselines.independent`, fitted to the sequence itself.

    Args:
        name: the name of the model.
        card: its card.
        sequence: the sequence.
        log_likelihood: its score, in nats.
    """
    if inputs.kind_of(card) != "pianoroll":
        return None
    score, roll = log_likelihood / len(sequence.values), np.asarray(sequence.values)
    baseline = baselines.independent([roll], [roll])
    if score >= baseline:
        return None
    recommended = zoo.recommended()
    advice = (
        f"the docs recommend {recommended} for music of your own ({DOCS})"
        if name != recommended
        else f"no published model is known to fit music of your own better ({DOCS})"
    )
    return (
        f"{name} does not fit it: {score:.4f} nats per step (full, {inputs.bound_of(card)}), below "
        f"{baseline:.4f} (full, exact) of independent notes fitted to the sequence itself; {advice}"
    )

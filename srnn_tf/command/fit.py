"""Warnings where a model does not fit a file of music: it scores below independent notes."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from srnn_tf import zoo
from srnn_tf.experiments import baselines
from srnn_tf.serving import inputs

MOST_TOLD = 5  # sequences of one call
DOCS = 'docs/zoo.md, "Music of your own"'


def warn(
    name: str,
    card: Mapping[str, Any],
    sequences: Iterable[inputs.Sequence],
    log_likelihoods: Iterable[float],
) -> None:
    """Warn on stderr of sequences that a model of music scores below independent notes.

    The baseline is `baselines.independent`, fitted to the sequence itself.

    Args:
        name: the name of the model.
        card: its card.
        sequences: the sequences.
        log_likelihoods: the score of each, in nats.
    """
    if inputs.kind_of(card) != "pianoroll":
        return
    bound, recommended = inputs.bound_of(card), zoo.recommended()
    advice = (
        f"the docs recommend {recommended} for music of your own ({DOCS})"
        if name != recommended
        else f"no published model is known to fit music of your own better ({DOCS})"
    )
    poor = 0
    for sequence, total in zip(sequences, log_likelihoods, strict=True):
        score, roll = total / len(sequence.values), np.asarray(sequence.values)
        baseline = baselines.independent([roll], [roll])
        poor += score < baseline
        if score < baseline and poor <= MOST_TOLD:
            print(
                f"warning: {sequence.file}, sequence {sequence.index}: {name} does not fit it: "
                f"{score:.4f} nats per step (full, {bound}), below {baseline:.4f} (full, exact) of "
                f"independent notes fitted to the sequence itself; {advice}",
                file=sys.stderr,
            )
    if poor > MOST_TOLD:
        print(f"warning: {name} does not fit {poor - MOST_TOLD} more sequences", file=sys.stderr)

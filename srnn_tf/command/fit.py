"""Warnings where a model does not fit a file of music: it scores below independent notes."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any

from srnn_tf.experiments.fit import misfit
from srnn_tf.serving import inputs

MOST_TOLD = 5  # sequences of one call


def warn(
    name: str,
    card: Mapping[str, Any],
    sequences: Iterable[inputs.Sequence],
    log_likelihoods: Iterable[float],
) -> None:
    """Warn on stderr of sequences that a model of music scores below independent notes.

    Args:
        name: the name of the model.
        card: its card.
        sequences: the sequences.
        log_likelihoods: the score of each, in nats.
    """
    poor = 0
    for sequence, total in zip(sequences, log_likelihoods, strict=True):
        told = misfit(name, card, sequence, float(total))
        poor += told is not None
        if told is not None and poor <= MOST_TOLD:
            print(f"warning: {sequence.file}, sequence {sequence.index}: {told}", file=sys.stderr)
    if poor > MOST_TOLD:
        print(f"warning: {name} does not fit {poor - MOST_TOLD} more sequences", file=sys.stderr)

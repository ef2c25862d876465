"""How surprising each step of a sequence is to a model.

surprise_t = -log p(x_t | x_<t), in nats; with latents the bound's share of step t
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from srnn_tf.app import models, uploads
from srnn_tf.experiments import fit
from srnn_tf.serving import inputs

PROTOCOL = "full"  # every step is scored, with the state carried from the first to the last
MOMENTS = 3  # that are played


class Surprise(NamedTuple):
    """The score of a sequence.

    Args:
        model: the name of the model.
        per_step: (T,), in nats.
        total: the log likelihood of the sequence, in nats.
        bound: "exact" or "ELBO".
        kl: of the latents, in nats; None without latents.
        misfit: a sentence where the model does not fit the sequence at all; None where it does.
    """

    model: str
    per_step: np.ndarray
    total: float
    bound: str
    kl: float | None
    misfit: str | None


class Moment(NamedTuple):
    """An excerpt around a surprising step: its steps are start, ..., stop - 1."""

    step: int
    start: int
    stop: int


def score(read: uploads.Read, opened: models.Opened) -> Surprise:
    """Score a file.

    Raises:
        ValueError: the sequence cannot be scored by this model.
        ServingError: the model refused it.
    """
    scores = inputs.score(opened.answers, [read.sequence])
    card, name = opened.published.card, opened.published.name
    total = float(scores.log_likelihood[0])
    return Surprise(
        name,
        -np.asarray(scores.log_likelihood_per_step[0], np.float64),
        total,
        opened.bound,
        None if scores.kl is None else float(scores.kl[0]),
        fit.misfit(name, card, read.sequence, total),
    )


def moments(per_step: Any, width: int, count: int = MOMENTS) -> list[Moment]:
    """The excerpts around the most surprising steps, the most surprising first; none overlap.

    Args:
        per_step: the surprise of each step, (T,).
        width: steps of an excerpt; fewer of a sequence that `count` of them would not fit in.
        count: the most excerpts.

    Example:
        >>> moments([0, 9, 8, 0, 0, 0, 5, 0], width=2, count=2)
        [Moment(step=1, start=0, stop=2), Moment(step=6, start=5, stop=7)]
    """
    values = np.asarray(per_step, np.float64)
    width = max(1, min(width, len(values) // (2 * count)))
    found: list[Moment] = []
    for step in map(int, np.argsort(-values, kind="stable")):
        start = int(np.clip(step - width // 2, 0, max(0, len(values) - width)))
        stop = min(start + width, len(values))
        if all(stop <= other.start or other.stop <= start for other in found):
            found.append(Moment(step, start, stop))
        if len(found) == count:
            break
    return found


def label(bounds: set[str]) -> str:
    """The label of curves of these bounds, for an axis.

    Example:
        >>> label({"exact"})
        '-log p(x_t | x_<t), nats'
    """
    if bounds == {"exact"}:
        return "-log p(x_t | x_<t), nats"
    return "-ELBO of a step, nats" if "exact" not in bounds else "-log p or -ELBO, nats"

"""Pictures of a training and of a model."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from srnn_tf.files import replacing


def training_curve(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    path: str | os.PathLike,
    floors: Mapping[str, float] | None = None,
    ylabel: str = "nats per step",
) -> None:
    """Draw scores against updates, with floors as dashed lines.

    Args:
        curves: from a label to (updates, scores).
        path: the picture to write; its ending chooses the format.
        floors: from a label to a score.
        ylabel: the unit of the scores.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: a curve whose two sequences differ in length, or is empty.
        OSError: `path` cannot be written.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("training_curve needs matplotlib: pip install 'srnn-tf[plot]'") from error
    figure = Figure(figsize=(7, 4), layout="constrained")
    axis = figure.subplots()
    for label, (updates, scores) in curves.items():
        if len(updates) != len(scores) or not len(updates):
            raise ValueError(
                f"curves[{label!r}] must be two sequences of one length; "
                f"received {len(updates)} updates and {len(scores)} scores"
            )
        axis.plot(updates, scores, label=label, linewidth=2)
    for i, (label, score) in enumerate((floors or {}).items()):
        axis.axhline(score, label=label, color="0.45", linestyle=("--", ":", "-.")[i % 3])
    axis.set(xlabel="updates", ylabel=ylabel)
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(alpha=0.25)
    axis.legend(frameon=False)
    with replacing(path) as temporary:
        figure.savefig(temporary, format=Path(path).suffix.lstrip(".") or None, dpi=150)

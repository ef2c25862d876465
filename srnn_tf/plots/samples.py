"""The plot of a sequence, by its modality."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from srnn_tf.core.registry import unknown
from srnn_tf.data.formats.standardization import Standardization
from srnn_tf.plots.curves import waveform
from srnn_tf.plots.pianorolls import plot_pianoroll
from srnn_tf.plots.strokes import draw_strokes


def _roll(frames: Any, path: Any, standardization: Any, sample_rate: Any, title: str) -> None:
    plot_pianoroll({title: np.asarray(frames).astype(np.uint8)}, path)


def _strokes(frames: Any, path: Any, standardization: Any, sample_rate: Any, title: str) -> None:
    draw_strokes(frames, path, standardization)


def _samples(frames: Any, path: Any, standardization: Any, sample_rate: Any, title: str) -> None:
    undone = frames if standardization is None else standardization.undo(frames)
    waveform(undone, path, sample_rate or 16000)


# By the name of a modality: from frames, path, standardization, sample rate and title to a picture.
# To add one for a modality of one's own, put it in.
PICTURES: dict[str, Callable[..., None]] = {
    "pianoroll": _roll,
    "handwriting": _strokes,
    "speech": _samples,
}


def draw(
    kind: str,
    frames: Any,
    path: str | os.PathLike,
    standardization: Standardization | None = None,
    sample_rate: int | None = None,
    title: str = "",
) -> None:
    """Plot a sequence, or a sample of a model, with the plot of its modality.

    Args:
        kind: the name of the modality, `splits.kind`.
        frames: (T, D).
        path: the image file to write; its suffix sets the format.
        standardization: the standardization to undo, `splits.standardization`.
        sample_rate: the sample rate of speech, in Hz.
        title: the title of the plot, where it has one.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: the modality has no plot, or the frames are not of the modality.

    Example:
        draw(splits.kind, splits.test[0], "first.png", splits.standardization)
    """
    if kind not in PICTURES:
        raise unknown("modality to draw", kind, PICTURES)
    PICTURES[kind](frames, path, standardization, sample_rate, title)

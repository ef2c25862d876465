"""The plot of a sequence, by its modality."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from srnn_tf.core.types import Array
from srnn_tf.data.formats.standardization import Standardization
from srnn_tf.plots.curves import frame_values, waveform
from srnn_tf.plots.pianorolls import plot_pianoroll
from srnn_tf.plots.strokes import draw_strokes


def _roll(frames, path, standardization, sample_rate, title, steps_per_quarter=2):
    return plot_pianoroll({title: np.asarray(frames).astype(np.uint8)}, path, steps_per_quarter)


def _strokes(frames, path, standardization, sample_rate, title):
    return draw_strokes(frames, path, standardization)


def _samples(frames, path, standardization, sample_rate, title):
    undone = frames if standardization is None else standardization.undo(frames)
    return waveform(undone, path, sample_rate or 16000)


def _values(frames, path, standardization, sample_rate, title):
    undone = frames if standardization is None else standardization.undo(frames)
    return frame_values(undone, path, title)


# By the name of a modality: from frames, path, standardization, sample rate and title to a figure,
# which is written where the path is not None. To add one for a modality of one's own, put it in;
# without, `frame_values` draws it.
PICTURES: dict[str, Callable[..., Any]] = {
    "pianoroll": _roll,
    "handwriting": _strokes,
    "speech": _samples,
}


def draw(
    kind: str,
    frames: Array,
    path: str | os.PathLike | None = None,
    standardization: Standardization | None = None,
    sample_rate: int | None = None,
    title: str = "",
    **options: Any,
) -> Any:
    """Plot a sequence, or a sample of a model, with the plot of its modality.

    A modality that is not in `PICTURES` is drawn as rows of values, one for each value of a frame.

    Args:
        kind: the name of the modality, `splits.kind`.
        frames: (T, D).
        path: the image file to write; its suffix sets the format. None to write none.
        standardization: the standardization to undo, `splits.standardization`.
        sample_rate: the sample rate of speech, in Hz.
        title: the title of the plot, where it has one.
        options: more for the plot, such as `steps_per_quarter` of music.

    Returns:
        The Matplotlib figure.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: the frames are not of the modality.

    Example:
        draw(splits.kind, splits.test[0], "first.png", splits.standardization)
    """
    picture = PICTURES.get(kind, _values)
    return picture(frames, path, standardization, sample_rate, title, **options)

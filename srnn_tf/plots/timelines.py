"""A sequence as a picture, with the values of its steps as curves below, over one axis of time."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from srnn_tf.core.types import Array
from srnn_tf.data.formats.standardization import Standardization
from srnn_tf.plots.curves import frame_values, waveform
from srnn_tf.plots.figures import axes_of, check_format, finished
from srnn_tf.plots.pianorolls import plot_pianoroll
from srnn_tf.plots.spectra import spectrogram
from srnn_tf.plots.strokes import draw_strokes, highlight

_WIDTH = 11.0  # inches
_CURVE = 1.8  # inches of the curves
_FEW = 200  # steps that are told apart
_SPAN, _AFTER = "#e08a1e", "#b3365b"


class _Pictures(NamedTuple):
    """The upper panels of a modality.

    Args:
        heights: of each, in inches.
        step: the width of a step on the axis of time.
        label: of that axis.
        draw: a function that draws on the axes of the panels.
        timed: whether they have that axis.
    """

    heights: tuple[float, ...]
    step: float
    label: str
    draw: Callable[[Sequence[Any]], None]
    timed: bool = True


def _roll(frames, rate, quarter, spans, after):
    roll = np.asarray(frames).astype(np.uint8)
    return _Pictures(
        (2.6,),
        1 / quarter,
        "time (quarter notes)",
        lambda axes: plot_pianoroll(roll, steps_per_quarter=quarter, ax=axes),
    )


def _speech(frames, rate, quarter, spans, after):
    def draw(axes):
        waveform(frames, sample_rate=rate, ax=axes[0])
        spectrogram(frames, sample_rate=rate, ax=axes[1])

    return _Pictures((1.3, 1.8), np.shape(frames)[1] / rate, "seconds", draw)


def _strokes(frames, rate, quarter, spans, after):
    def draw(axes):
        draw_strokes(frames, ax=axes)
        for start, stop in spans:
            highlight(axes[0], frames, start, stop, _SPAN)
        if after is not None:
            highlight(axes[0], frames, after, len(frames), _AFTER)

    points = np.cumsum(np.asarray(frames)[:, 1:], axis=0)
    width, height = np.maximum(np.ptp(points, axis=0), 1e-9)
    size = float(np.clip(_WIDTH * height / width, 1.0, 4.0))
    return _Pictures((size,), 1.0, "step", draw, timed=False)


def _values(frames, rate, quarter, spans, after):
    return _Pictures((2.5,), 1.0, "step", lambda axes: frame_values(frames, ax=axes))


# By the name of a modality: from frames, sample rate, steps per quarter, spans and `after`.
_PICTURES: dict[str, Callable[..., _Pictures]] = {
    "pianoroll": _roll,
    "handwriting": _strokes,
    "speech": _speech,
}


def panels(
    kind: str,
    frames: np.ndarray,
    curves: Mapping[str, Array] | None = None,
    path: str | os.PathLike | None = None,
    standardization: Standardization | None = None,
    sample_rate: int | None = None,
    spans: Sequence[tuple[int, int]] = (),
    after: int | None = None,
    ylabel: str = "nats",
    steps_per_quarter: int = 2,
    ax: Any = None,
) -> Any:
    """Plot a sequence, and curves of its steps below it, over one axis of time.

    Music is a piano roll; speech a waveform and its spectrogram; handwriting its strokes, without
    an axis of time. A modality that is not known is drawn as rows of values.

    Args:
        kind: the name of the modality, `splits.kind`.
        frames: (T, D).
        curves: from labels to values of the steps, (T,); none by default.
        path: the image file to write; its suffix sets the format. None to write none.
        standardization: the standardization to undo, `splits.standardization`.
        sample_rate: the sample rate of speech, in Hz; 16,000 by default.
        spans: pairs (first step, step after the last) to mark, with their numbers from 1.
        after: the step at which what was drawn begins, after what was given; None for no mark.
        ylabel: what the curves are, with their unit.
        steps_per_quarter: frames in a quarter note of music.
        ax: the axes to draw on, those of the picture (two of speech) and then that of the curves,
            where there are some; those of a new figure by default.

    Returns:
        The Matplotlib figure.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: the frames are not of the modality, a curve has another length, or there is
            another number of axes.
        OSError: `path` cannot be written.

    Example:
        panels("pianoroll", roll, {"f_rnn_bach": -scores.log_likelihood_per_step[0]}, "x.png")
    """
    curves = {name: np.asarray(values, np.float64) for name, values in (curves or {}).items()}
    for name, values in curves.items():
        if values.shape != (len(frames),):
            raise ValueError(
                f"curves[{name!r}] must have a value of each of {len(frames)} steps; received "
                f"shape {values.shape}"
            )
    shown = frames if standardization is None else standardization.undo(frames)
    rate = sample_rate or 16000
    picture = _PICTURES.get(kind, _values)(shown, rate, steps_per_quarter, spans, after)
    heights = [*picture.heights, *([_CURVE] if curves else [])]
    size, count = (_WIDTH, sum(heights) + 0.5), len(heights)
    shared = picture.timed and count > 1
    axes = axes_of("panels", ax, count, size, height_ratios=heights, sharex=shared)
    check_format(axes, path)
    above = axes[: len(picture.heights)]
    picture.draw(above)
    timed = [*(above if picture.timed else []), *axes[len(above) :]]
    if curves:
        _draw_curves(axes[-1], curves, picture, ylabel)
    for number, (start, stop) in enumerate(spans, 1):
        for axis in timed:
            axis.axvspan(start * picture.step, stop * picture.step, color=_SPAN, alpha=0.22, lw=0)
        if timed:
            axis, middle = timed[-1], (start + stop) / 2 * picture.step
            place = {"xycoords": axis.get_xaxis_transform(), "ha": "center", "va": "top"}
            axis.annotate(str(number), (middle, 0.97), color="#8a4d00", weight="bold", **place)
    if after is not None:
        for axis in timed:
            axis.axvline(after * picture.step, color=_AFTER, linewidth=1.4)
    for axis in timed:
        axis.set_xlim(0, len(frames) * picture.step)
    for axis in timed[:-1]:
        axis.set_xlabel("")
    return finished(axes, path)


def _draw_curves(axis: Any, curves: Mapping[str, np.ndarray], picture: _Pictures, label: str):
    """The curves, each value in the middle of its step."""
    for name, values in curves.items():
        where = (np.arange(len(values)) + 0.5) * picture.step
        style = "steps-mid" if len(values) <= _FEW else "default"
        axis.plot(where, values, label=name, linewidth=1.1, drawstyle=style)
    if len(curves) > 1:
        above = {"loc": "lower right", "bbox_to_anchor": (1.0, 0.98), "borderaxespad": 0.0}
        axis.legend(frameon=False, ncols=len(curves), **above)
    low, high = axis.get_ylim()
    axis.set_ylim(low, high + 0.12 * (high - low))  # room for the numbers of spans
    axis.set(xlabel=picture.label, ylabel=label)
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(alpha=0.25)

"""Plots of pen strokes."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from srnn_tf.core.files import replacing
from srnn_tf.data.formats.standardization import Standardization
from srnn_tf.data.formats.wav import finite
from srnn_tf.plots.figures import matplotlib_of


def draw_strokes(
    frames: np.ndarray,
    path: str | os.PathLike,
    standardization: Standardization | None = None,
) -> None:
    """Plot the strokes of a pen, without the moves in which it is up.

    Args:
        frames: (T, 3), rows (pen_up, dx, dy), with y pointing up.
        path: the image file to write; its suffix sets the format (.png, .pdf, .svg).
        standardization: the standardization to undo, `splits.standardization`.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: the frames have another shape or are not finite, or the format is unknown.
        OSError: `path` cannot be written.

    Example:
        draw_strokes(splits.test[0], "line.png", splits.standardization)
    """
    Figure, FigureCanvasAgg = matplotlib_of("draw_strokes")
    rows = finite(frames, (2,), "(T, 3)")
    if rows.shape[1] != 3:
        raise ValueError(f"frames have shape {rows.shape}; accepted is (T, 3)")
    if standardization is not None:
        rows = standardization.undo(rows)
    lines = _lines(rows)
    points = np.concatenate(lines)
    width, height = np.maximum(np.ptp(points, axis=0), 1e-9)
    size = (12.0, float(np.clip(12.0 * height / width, 1.0, 12.0)))
    figure = Figure(figsize=size, layout="constrained")
    formats = FigureCanvasAgg(figure).get_supported_filetypes()
    extension = Path(path).suffix.lower().lstrip(".")
    if extension not in formats:
        raise ValueError(f"path={str(path)!r}: accepted endings are {', '.join(sorted(formats))}")
    axis = figure.subplots()
    for line in lines:
        marker = "." if len(line) == 1 else None
        axis.plot(*line.T, color="#1d2b53", linewidth=1.2, marker=marker, markersize=3)
    axis.set_aspect("equal")
    axis.axis("off")
    with replacing(path) as temporary:
        figure.savefig(temporary, format=extension, dpi=150)


def _lines(rows: np.ndarray) -> list[np.ndarray]:
    """Points of each stroke, (n, 2); the pen starts down at (0, 0)."""
    up = np.concatenate([[False], rows[:, 0] > 0.5])
    points = np.concatenate([[[0.0, 0.0]], np.cumsum(rows[:, 1:], axis=0)])
    return [line for line in np.split(points, np.flatnonzero(up) + 1) if len(line)]

"""Plots of pen strokes."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from srnn_tf.data.formats.standardization import Standardization
from srnn_tf.data.formats.wav import finite
from srnn_tf.plots.figures import axes_of, check_format, finished


def draw_strokes(
    frames: np.ndarray,
    path: str | os.PathLike | None = None,
    standardization: Standardization | None = None,
    ax: Any = None,
) -> Any:
    """Plot the strokes of a pen, without the moves in which it is up.

    Args:
        frames: (T, 3), rows (pen_up, dx, dy), with y pointing up.
        path: the image file to write; its suffix sets the format (.png, .pdf, .svg). None to
            write none.
        standardization: the standardization to undo, `splits.standardization`.
        ax: the axes to draw on; those of a new figure by default.

    Returns:
        The Matplotlib figure.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: the frames have another shape or are not finite, or the format is unknown.
        OSError: `path` cannot be written.

    Example:
        draw_strokes(splits.test[0], "line.png", splits.standardization)
    """
    rows = finite(frames, (2,), "(T, 3)")
    if rows.shape[1] != 3:
        raise ValueError(f"frames have shape {rows.shape}; accepted is (T, 3)")
    if standardization is not None:
        rows = standardization.undo(rows)
    lines = _lines(rows)
    points = np.concatenate(lines)
    width, height = np.maximum(np.ptp(points, axis=0), 1e-9)
    size = (12.0, float(np.clip(12.0 * height / width, 1.0, 12.0)))
    axes = axes_of("draw_strokes", ax, 1, size)
    check_format(axes, path)
    (axis,) = axes
    for line in lines:
        marker = "." if len(line) == 1 else None
        axis.plot(*line.T, color="#1d2b53", linewidth=1.2, marker=marker, markersize=3)
    axis.set_aspect("equal")
    axis.axis("off")
    return finished(axes, path)


def _lines(rows: np.ndarray) -> list[np.ndarray]:
    """Points of each stroke, (n, 2); the pen starts down at (0, 0)."""
    up = np.concatenate([[False], rows[:, 0] > 0.5])
    points = np.concatenate([[[0.0, 0.0]], np.cumsum(rows[:, 1:], axis=0)])
    return [line for line in np.split(points, np.flatnonzero(up) + 1) if len(line)]


def highlight(axis: Any, frames: np.ndarray, start: int, stop: int, color: str) -> None:
    """Draw the moves `start` to `stop` of strokes once more, in a colour, where the pen is down.

    Args:
        axis: the axes that `draw_strokes` drew the whole on.
        frames: (T, 3), what it drew, with the standardization undone.
        start: the first move.
        stop: the move after the last.
        color: the colour.
    """
    rows = finite(frames, (2,), "(T, 3)")
    up = np.concatenate([[False], rows[:-1, 0] > 0.5])
    points = np.concatenate([[[0.0, 0.0]], np.cumsum(rows[:, 1:], axis=0)])
    moves = np.full([len(rows), 3, 2], np.nan)  # the last point of three parts moves
    moves[:, 0], moves[:, 1] = points[:-1], points[1:]
    drawn = moves[start:stop][~up[start:stop]].reshape(-1, 2)
    axis.plot(*drawn.T, color=color, linewidth=2.0)

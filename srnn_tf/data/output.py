"""Samples as things to hear and to look at: sound files and drawings of a pen's path."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from srnn_tf.data.music import matplotlib_of
from srnn_tf.data.sequences import Standardization
from srnn_tf.files import replacing


def write_wav(
    frames: np.ndarray,
    path: str | os.PathLike,
    standardization: Standardization | None = None,
    sample_rate: int = 16000,
) -> None:
    """Write frames of speech as a WAV file of 16-bit samples; louder than full scale is clipped.

    Args:
        frames: (T, D), or (n,) samples.
        path: the file to write, replaced only once the new one is whole.
        standardization: of the data set, `splits.standardization`, which is undone; None if the
            numbers are samples in [-1, 1].
        sample_rate: in Hz, `splits.sample_rate`.

    Raises:
        ImportError: soundfile is not installed.
        ValueError: another shape, numbers that are not finite, a rate below 1.
        OSError: `path` cannot be written.

    Example:
        write_wav(model.sample(1, 40, seed=0)[0], "speech.wav", splits.standardization)
    """
    try:
        import soundfile
    except ImportError as error:
        raise ImportError("write_wav needs soundfile: pip install 'srnn-tf[audio]'") from error
    samples = _finite(frames, (1, 2), "(T, D) or (n,)")
    if not isinstance(sample_rate, int) or sample_rate < 1:
        raise ValueError(f"sample_rate={sample_rate!r}; accepted are integers from 1")
    if standardization is not None:
        samples = standardization.undo(samples if samples.ndim == 2 else samples[:, None])
    pcm = np.clip(np.rint(samples.reshape(-1) * 32768.0), -32768, 32767).astype(np.int16)
    with replacing(path) as temporary, open(temporary, "wb") as file:
        soundfile.write(file, pcm, sample_rate, "PCM_16", format="WAV")


def draw_strokes(
    frames: np.ndarray,
    path: str | os.PathLike,
    standardization: Standardization | None = None,
) -> None:
    """Draw the path of a pen, up strokes left out.

    Args:
        frames: (T, 3), rows (pen_up, dx, dy), y growing upwards.
        path: the picture to write; its ending chooses the format (.png, .pdf, .svg).
        standardization: of the data set, `splits.standardization`, which is undone.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: another shape, numbers that are not finite, a format that is not known.
        OSError: `path` cannot be written.

    Example:
        draw_strokes(splits.test[0], "line.png", splits.standardization)
    """
    Figure, FigureCanvasAgg = matplotlib_of("draw_strokes")
    rows = _finite(frames, (2,), "(T, 3)")
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


def _finite(frames: Any, dimensions: tuple[int, ...], accepted: str) -> np.ndarray:
    frames = np.asarray(frames, np.float64)
    if frames.ndim not in dimensions or not frames.size:
        raise ValueError(f"frames have shape {frames.shape}; accepted is {accepted}")
    if not np.isfinite(frames).all():
        raise ValueError("frames hold numbers that are not finite")
    return frames


def _lines(rows: np.ndarray) -> list[np.ndarray]:
    """Points of each stroke, (n, 2); the pen starts down at (0, 0)."""
    up = np.concatenate([[False], rows[:, 0] > 0.5])
    points = np.concatenate([[[0.0, 0.0]], np.cumsum(rows[:, 1:], axis=0)])
    return [line for line in np.split(points, np.flatnonzero(up) + 1) if len(line)]

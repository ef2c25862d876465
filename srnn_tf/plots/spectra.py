"""The spectrogram of a recording."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from srnn_tf.core.types import Array
from srnn_tf.plots.figures import axes_of, check_format, finished

_WINDOW = 0.025  # seconds: about the length of a vowel's period, times three
_MOST_COLUMNS = 2000  # more than a picture has pixels
_RANGE = 70.0  # decibels below the loudest that are told apart


def spectrogram(
    samples: Array,
    path: str | os.PathLike | None = None,
    sample_rate: int = 16000,
    ax: Any = None,
) -> Any:
    """Plot the energy of a recording by time and frequency, in decibels below the loudest.

    Args:
        samples: samples (n,), or frames (T, D), which are concatenated.
        path: the image file to write; its suffix sets the format. None to write none.
        sample_rate: the sample rate in Hz.
        ax: the axes to draw on; those of a new figure by default.

    Returns:
        The Matplotlib figure.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: there are no samples, or they are not finite, or the format is unknown.
    """
    samples = np.asarray(samples, np.float64).reshape(-1)
    if not samples.size or not np.isfinite(samples).all():
        raise ValueError(f"`samples` must be finite, at least one; received {samples.size} of them")
    axes = axes_of("spectrogram", ax, 1, (8.0, 2.5))
    check_format(axes, path)
    (axis,) = axes
    axis.imshow(
        decibels(samples, sample_rate).T,
        origin="lower",
        aspect="auto",
        cmap="magma",
        vmin=-_RANGE,
        vmax=0.0,
        extent=(0.0, len(samples) / sample_rate, 0.0, sample_rate / 2000),
    )
    axis.set(xlabel="seconds", ylabel="kHz")
    return finished(axes, path)


def decibels(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """Decibels below the loudest, (columns, frequencies), of Hann windows spread over the samples.

    Example:
        >>> tone = np.sin(2 * np.pi * 1000 * np.arange(8000) / 8000)
        >>> int(decibels(tone, 8000).mean(axis=0).argmax()) * 8000 / 200  # Hz
        1000.0
    """
    width = max(2, round(_WINDOW * sample_rate))
    padded = np.pad(samples, (width // 2, width - width // 2))
    hop = max(1, width // 4, -(-len(samples) // _MOST_COLUMNS))
    columns = np.lib.stride_tricks.sliding_window_view(padded, width)[::hop]
    energy = np.abs(np.fft.rfft(columns * np.hanning(width))) ** 2
    return 10.0 * np.log10(np.maximum(energy / max(energy.max(), 1e-30), 1e-12))

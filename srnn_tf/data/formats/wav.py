"""Sound files of frames of speech."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from srnn_tf.core.files import replacing
from srnn_tf.data.formats.standardization import Standardization


def write_wav(
    frames: np.ndarray,
    path: str | os.PathLike,
    standardization: Standardization | None = None,
    sample_rate: int = 16000,
) -> None:
    """Write frames of speech as a WAV file of 16-bit samples, clipped to full scale.

    Args:
        frames: frames (T, D), or samples (n,).
        path: the file to write; an existing file is replaced atomically.
        standardization: the standardization to undo, `splits.standardization`; None if the values
            are samples in [-1, 1].
        sample_rate: the sample rate in Hz, `splits.sample_rate`.

    Raises:
        ImportError: soundfile is not installed.
        ValueError: the frames have another shape or are not finite, or the rate is below 1.
        OSError: `path` cannot be written.

    Example:
        write_wav(model.sample(1, 40, seed=0)[0], "speech.wav", splits.standardization)
    """
    try:
        import soundfile
    except ImportError as error:
        raise ImportError("write_wav needs soundfile: pip install 'srnn-tf[audio]'") from error
    samples = finite(frames, (1, 2), "(T, D) or (n,)")
    if not isinstance(sample_rate, int) or sample_rate < 1:
        raise ValueError(f"sample_rate={sample_rate!r}; accepted are integers from 1")
    if standardization is not None:
        samples = standardization.undo(samples if samples.ndim == 2 else samples[:, None])
    pcm = np.clip(np.rint(samples.reshape(-1) * 32768.0), -32768, 32767).astype(np.int16)
    with replacing(path) as temporary, open(temporary, "wb") as file:
        soundfile.write(file, pcm, sample_rate, "PCM_16", format="WAV")


def finite(frames: Any, dimensions: tuple[int, ...], accepted: str) -> np.ndarray:
    """Check frames and return them in float64.

    Raises:
        ValueError: the frames have another rank, or are not finite numbers.
    """
    frames = np.asarray(frames, np.float64)
    if frames.ndim not in dimensions or not frames.size:
        raise ValueError(f"frames have shape {frames.shape}; accepted is {accepted}")
    if not np.isfinite(frames).all():
        raise ValueError("frames hold numbers that are not finite")
    return frames

"""Sound files of frames of speech."""

from __future__ import annotations

import io
import os
import wave
from typing import Any

import numpy as np

from srnn_tf.core.files import replacing
from srnn_tf.data.formats.standardization import Standardization

_FASTEST = 1_000_000  # Hz; a WAV file tells four times as many at most


def write_wav(
    frames: np.ndarray,
    path: str | os.PathLike,
    standardization: Standardization | None = None,
    sample_rate: int = 16000,
) -> None:
    """Write frames of speech, or samples, as a WAV file of 16-bit samples, clipped to full scale.

    The sound of a piano roll is `write_wav(synthesize(roll), path, sample_rate=44100)`.

    Args:
        frames: frames (T, D), or samples (n,).
        path: the file to write; an existing file is replaced atomically.
        standardization: the standardization to undo, `splits.standardization`; None if the values
            are samples in [-1, 1].
        sample_rate: the sample rate in Hz, `splits.sample_rate`.

    Raises:
        ValueError: the frames have another shape or are not finite, or the rate is out of range.
        OSError: `path` cannot be written.

    Example:
        write_wav(model.sample(1, 40, seed=0)[0], "speech.wav", splits.standardization)
    """
    content = wav_bytes(frames, standardization, sample_rate)
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def wav_bytes(
    frames: np.ndarray, standardization: Standardization | None = None, sample_rate: int = 16000
) -> bytes:
    """The content of the file that `write_wav` writes.

    Raises:
        ValueError: as in `write_wav`.
    """
    samples = finite(frames, (1, 2), "(T, D) or (n,)")
    if type(sample_rate) is not int or not 1 <= sample_rate <= _FASTEST:
        raise ValueError(f"sample_rate={sample_rate!r}; accepted are integers 1..{_FASTEST}")
    if standardization is not None:
        samples = standardization.undo(samples if samples.ndim == 2 else samples[:, None])
    pcm = np.clip(np.rint(samples.reshape(-1) * 32768.0), -32768, 32767).astype("<i2")
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        file.writeframes(pcm.tobytes())
    return content.getvalue()


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

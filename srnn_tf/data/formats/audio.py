"""Audio files as one channel of 16-bit samples at a given sample rate, decoded in blocks."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from srnn_tf.data.formats import mp3

SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".sph")
FULL_SCALE = 32768.0  # of 16-bit samples
BLOCK = 1 << 16  # samples decoded at once
MOST_SAMPLES = 1 << 29  # of one file: 9 hours at 16 kHz, what one record can hold
_LOUDEST = 2.0  # times full scale: lossy formats go beyond it a little, and are clipped
# Some programs write a header before they know the length.
_UNKNOWN_LENGTHS = (0, 0x7FFFFFFF, 0xFFFFFFFF)


def read_audio(path: str | Path, rate: int = 16000, expected: int | None = None) -> np.ndarray:
    """Decode an audio file to int16 samples (n,); average its channels and resample if needed.

    The samples of a 16-bit file with one channel at `rate` are returned unchanged.

    Args:
        path: a WAV, FLAC, MP3, Ogg or NIST SPHERE file.
        rate: the sample rate of the result, in Hz.
        expected: the sample rate that the file must have, in Hz; None for any.

    Raises:
        ImportError: soundfile or soxr is not installed.
        ValueError: the file is not audio, damaged, truncated, empty, of another sample rate, longer
            than 9 hours, or has floating-point samples outside [-1, 1].

    Example:
        read_audio("p225_001.wav", 16000).dtype  # int16
    """
    soundfile, soxr = _libraries()
    try:
        with _opened(soundfile, path) as (file, promised):
            _check(path, file, expected, promised)
            blocks = _mono(path, file, promised)
            if file.samplerate != rate:
                blocks = _resampled(soxr, blocks, file.samplerate, rate)
            chunks = [_to_int16(block) for block in blocks]
    except soundfile.LibsndfileError as error:
        raise ValueError(f"{path}: cannot be decoded: {_reason(path, error)}") from error
    samples = np.concatenate(chunks) if chunks else np.zeros([0], np.int16)
    if not len(samples):
        raise ValueError(f"{path}: holds no samples")
    return samples


def versions() -> dict[str, str]:
    """The versions of the libraries that decode and resample."""
    soundfile, soxr = _libraries()
    return {
        "soundfile": soundfile.__version__,
        "libsndfile": soundfile.__libsndfile_version__,
        "soxr": soxr.__version__,
    }


def _libraries() -> tuple[Any, Any]:
    try:
        import soundfile
        import soxr
    except ImportError as error:
        raise ImportError(
            "audio is read with soundfile and soxr: pip install 'srnn-tf[audio]'"
        ) from error
    return soundfile, soxr


@contextlib.contextmanager
def _opened(soundfile, path) -> Iterator[tuple[Any, int | None]]:
    """The open file, and how many samples it promises; None if it does not tell."""
    with soundfile.SoundFile(os.fsencode(path)) as file:
        if file.format != "MP3" or mp3.tells_its_length(path):
            yield file, file.frames
            return
    with mp3.streamed(soundfile, path) as file:
        yield file, None


def _check(path, file, expected, promised) -> None:
    """Refuse a file that says of itself that it is not what it should be."""
    if expected is not None and file.samplerate != expected:
        raise ValueError(f"{path}: its rate is {file.samplerate} Hz; this corpus has {expected} Hz")
    if not 1000 <= file.samplerate <= 768_000:
        raise ValueError(f"{path}: its rate is {file.samplerate} Hz; accepted are 1 to 768 kHz")
    if promised is not None and promised > MOST_SAMPLES:
        raise ValueError(_too_long(path, promised))
    # libsndfile reads what is there of a WAV file that is cut off, and says so only in its log.
    cut = re.search(r"data : (\d+) \(should be (\d+)\)", file.extra_info)
    if cut and int(cut[1]) not in _UNKNOWN_LENGTHS and int(cut[1]) > int(cut[2]):
        raise ValueError(
            f"{path}: cut off: its header tells of {cut[1]} bytes of samples, {cut[2]} are there"
        )
    told = _sphere_header(path).get("sample_count") if file.format == "NIST" else None
    if told is not None and int(told) > file.frames:
        raise ValueError(
            f"{path}: cut off: its header tells of {told} samples, {file.frames} are there"
        )


def _too_long(path, count) -> str:
    return f"{path}: {count} samples; a file may have {MOST_SAMPLES}"


def _sphere_header(path) -> dict[str, str]:
    """The fields of a NIST SPHERE header, which is text."""
    with open(path, "rb") as file:
        text = file.read(1024).decode("latin1")
    return dict(re.findall(r"^(\w+) -\w+ ([^\n]*)$", text.split("end_head")[0], re.M))


def _reason(path, error) -> str:
    with open(path, "rb") as file:
        is_sphere = file.read(7) == b"NIST_1A"
    coding = _sphere_header(path).get("sample_coding", "") if is_sphere else ""
    if "shorten" in coding:
        return f"it is compressed with shorten ({coding}); convert it with NIST's sph2pipe"
    text = str(error).split(": ", 1)[-1]
    return "it is cut off or damaged" if "internal error" in text else text


def _mono(path, file, promised) -> Iterator[np.ndarray]:
    """Blocks of the mean of all channels, float32, as many samples as the file promises."""
    count = 0
    while True:
        block = file.read(BLOCK, dtype="float32", always_2d=True)
        if not len(block):
            break
        peak = np.abs(block).max()
        if not np.isfinite(peak):
            raise ValueError(f"{path}: holds samples that are no numbers")
        if peak > _LOUDEST:
            raise ValueError(f"{path}: holds a sample of {peak:g}; full scale is -1 to 1")
        count += len(block)
        if count > MOST_SAMPLES:
            raise ValueError(_too_long(path, count))
        yield block[:, 0] if block.shape[1] == 1 else block.mean(axis=1)
    if promised is not None and count < promised:
        raise ValueError(f"{path}: cut off: {promised} samples were promised, {count} are there")


def _resampled(soxr, blocks, old: int, new: int) -> Iterator[np.ndarray]:
    stream = soxr.ResampleStream(old, new, 1, dtype="float32", quality="HQ")
    for block in blocks:
        yield stream.resample_chunk(np.ascontiguousarray(block))
    yield stream.resample_chunk(np.zeros([0], np.float32), last=True)


def _to_int16(block: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(block * FULL_SCALE), -32768, 32767).astype(np.int16)

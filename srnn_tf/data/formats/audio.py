"""Audio files as one channel of 16-bit samples at a given sample rate, decoded in blocks."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from srnn_tf.core.reading import place_of
from srnn_tf.data.formats import mp3, ogg, riff

SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".sph")
FULL_SCALE = 32768.0  # of 16-bit samples
BLOCK = 1 << 16  # samples decoded at once
MOST_SAMPLES = 1 << 29  # of one file: 9 hours at 16 kHz, what one record can hold
_LONGEST_FLAC = (1 << 36) - 1  # what its header can tell; libsndfile has more where it says nothing
_LOUDEST = 2.0  # times full scale: lossy formats go beyond it a little, and are clipped
# libsndfile reads many more, and of those that are cut off what is there, without an error.
_CONTAINERS = {
    "WAV": ("WAV", "WAVEX", "RF64"),
    "FLAC": ("FLAC",),
    "MP3": ("MP3",),
    "Ogg": ("OGG",),
    "NIST SPHERE": ("NIST",),
}


def read_audio(path: str | Path, rate: int = 16000, expected: int | None = None) -> np.ndarray:
    """Decode an audio file to int16 samples (n,); average its channels and resample if needed.

    The samples of a 16-bit file with one channel at `rate` are returned unchanged.

    Args:
        path: a WAV, FLAC, MP3, Ogg or NIST SPHERE file.
        rate: the sample rate of the result, in Hz.
        expected: the sample rate that the file must have, in Hz; None for any.

    Raises:
        ImportError: soundfile or soxr is not installed.
        ValueError: the file is not audio, damaged, truncated, several recordings in one, empty, of
            another sample rate, longer than 9 hours, or has floating-point samples outside [-1, 1].

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


def seconds(path: str | Path) -> float:
    """How long an audio file says that it is, before anything is decoded; infinite if it does not.

    Raises:
        ImportError: soundfile or soxr is not installed.
        ValueError: the file is not audio, or its header is damaged.

    Example:
        seconds("p225_001.wav")  # 2.05
    """
    soundfile, _ = _libraries()
    try:
        with _opened(soundfile, path) as (file, _):
            known = 0 <= file.frames < _LONGEST_FLAC
            return file.frames / file.samplerate if known else float("inf")
    except soundfile.LibsndfileError as error:
        raise ValueError(f"{path}: cannot be decoded: {_reason(path, error)}") from error


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
    patches: dict[int, bytes] = {}
    with soundfile.SoundFile(os.fsencode(path)) as file:
        kinds = [kind for kind, names in _CONTAINERS.items() if file.format in names]
        if not kinds:
            accepted = ", ".join(_CONTAINERS)
            raise ValueError(f"{path}: is {file.format}; accepted are {accepted}: convert it")
        if kinds == ["WAV"]:
            patches = _wav_patches(path)
        is_mp3_without_length = kinds == ["MP3"] and not mp3.tells_its_length(path)
        if not patches and not is_mp3_without_length:
            yield file, _PROMISED.get(kinds[0], lambda path, file: file.frames)(path, file)
            return
    if patches:
        with riff.patched(path, patches) as raw, soundfile.SoundFile(raw) as file:
            yield file, file.frames
    else:
        with mp3.streamed(soundfile, path) as file:
            yield file, None


def _wav_patches(path) -> dict[int, bytes]:
    """What must be other bytes for a WAV file to be read to its end; it is not cut off."""
    samples = riff.samples_of(path)
    if samples is None:
        return {}
    if samples.told is not None and samples.told > samples.there:
        raise ValueError(_cut_off(path, f"{samples.told} bytes of samples", samples.there))
    return samples.patches


def _flac_samples(path, file) -> int:
    if file.frames > _LONGEST_FLAC:
        raise ValueError(
            f"{path}: its header does not tell how long it is, so that a part cannot be told from "
            "the whole; encode it again, to a file and not to a pipe"
        )
    # The mark of a file, with the head of the block of 34 bytes that comes first.
    if any(place_of(path, b"fLaC" + last + b"\0\0\x22", 4) >= 0 for last in (b"\0", b"\x80")):
        raise ValueError(_several(path))
    return file.frames


def _mp3_samples(path, file) -> int:
    if mp3.is_followed(path):
        raise ValueError(_several(path))
    return file.frames


def _ogg_samples(path, file) -> int:
    ogg.check(path)
    return file.frames


def _sphere_samples(path, file) -> int:
    """What follows the samples of a SPHERE file libsndfile takes for samples too."""
    told = _sphere_header(path).get("sample_count", "").strip()
    if not told.isdecimal() or not int(told):
        return file.frames
    if int(told) > file.frames:
        raise ValueError(_cut_off(path, f"{told} samples", file.frames))
    if place_of(path, b"NIST_1A\n", 8) >= 0:
        raise ValueError(_several(path))
    return int(told)


# The samples that the header of a whole file tells of; that it is whole is checked.
_PROMISED = {
    "FLAC": _flac_samples,
    "MP3": _mp3_samples,
    "Ogg": _ogg_samples,
    "NIST SPHERE": _sphere_samples,
}


def _several(path) -> str:
    return f"{path}: holds several recordings, one after another; split it"


def _cut_off(path, told: str, there: int) -> str:
    return f"{path}: cut off: its header tells of {told}, {there} are there"


def _check(path, file, expected, promised) -> None:
    """Refuse a file that says of itself that it is not what it should be."""
    if expected is not None and file.samplerate != expected:
        raise ValueError(f"{path}: its rate is {file.samplerate} Hz; this corpus has {expected} Hz")
    if not 1000 <= file.samplerate <= 768_000:
        raise ValueError(f"{path}: its rate is {file.samplerate} Hz; accepted are 1 to 768 kHz")
    if promised is not None and promised > MOST_SAMPLES:
        raise ValueError(_too_long(path, promised))


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
        left = BLOCK if promised is None else min(BLOCK, promised - count)
        block = file.read(left, dtype="float32", always_2d=True)
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

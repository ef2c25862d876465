"""Inputs of the commands: the modality of a model, its backend, and the files it can score."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from srnn_tf import serving, zoo
from srnn_tf.core import reading
from srnn_tf.data import modality
from srnn_tf.data.corpora import Options

ARRAYS = (".npz", ".npy")
MOST_BYTES = 1 << 31  # of an array file: what is read is not trusted
_FLOOR = 1 << 28  # bytes that any .npz may unpack to
_MOST_EXPANSION = 100  # of one that unpacks to more: piano rolls are nearly all zeros


class Sequence(NamedTuple):
    """A sequence of a file: its origin, and frames (T, D) or samples (S,)."""

    file: str
    index: int
    values: np.ndarray

    @property
    def is_waveform(self) -> bool:
        return self.values.ndim == 1


def kind_of(card: Mapping[str, Any]) -> str:
    """The name of the modality of a model's frames: "pianoroll", "handwriting", "speech", ...

    Cards of before it was written there have frames of a width that tells it.
    """
    return card["data"].get("kind") or modality.of_width(card["event_size"]).name


def modality_of(card: Mapping[str, Any]) -> modality.Modality:
    """The modality of a model's frames.

    Raises:
        ValueError: it is that of a module that is not imported.
    """
    kind = kind_of(card)
    if kind not in modality.MODALITIES:
        raise ValueError(
            f"{card['name']} is of the modality {kind!r}, which is not registered; import the "
            "module that registers it first (in commands: --import MODULE)"
        )
    return modality.get(kind)


def bound_of(card: Mapping[str, Any]) -> str:
    """The bound of a model's scores: exact, or ELBO."""
    return card.get("bound") or ("exact" if "exact" in card["test"]["full"] else "ELBO")


def backend(
    model: str | zoo.Published, server: str | None, timeout: float, batch_size: int = 32
) -> serving.Answers:
    """The model in this process, or on a server."""
    if server is not None:
        name = model if isinstance(model, str) else model.name
        return serving.Client(server, name, timeout=timeout, batch_size=batch_size)
    return serving.Local(model, batch_size=batch_size)


def read(path: Path, model: str | zoo.Published, steps_per_quarter: int = 2) -> Iterator[Sequence]:
    """Read the sequences of a file, for a model to score.

    Args:
        path: the file.
        model: what `zoo.open` takes or returns.
        steps_per_quarter: the frames in a quarter note of a MIDI file.

    Raises:
        ValueError: the path is not a file, or the file is of another modality, or damaged; the
            modality is not registered.
    """
    if not path.is_file():
        raise ValueError(f"{path} is not a file")
    published = zoo.open(model)
    card, ending = published.card, path.suffix.lower()
    of = modality_of(card)
    endings = of.endings if of.reader is not None else ()
    if ending in ARRAYS:
        arrays = _arrays(path)
    elif of.reader is None or ending not in endings:
        accepted = ", ".join(dict.fromkeys((*endings, *ARRAYS)))
        raise ValueError(f"{path}: {published.name} reads {accepted}")
    else:
        rate = card["sample_rate"] or serving.answers.SAMPLE_RATE
        options = Options(sample_rate=rate, steps_per_quarter=steps_per_quarter)
        read = of.reader(path, options)
        published.check_standardization(str(path))
        arrays = [_frames(of, published, values, scale) for values, scale in read]
    for index, values in enumerate(arrays):
        yield Sequence(str(path), index, values)


def primer(path: Path, published: zoo.Published, steps_per_quarter: int = 2) -> np.ndarray:
    """The frames (T, D) of a file, for a model to continue.

    Of a recording they are its last whole frames, so that what follows begins where it ends.

    Raises:
        ValueError: as in `read`; or the file has several sequences, or less than a frame.
    """
    card = published.card
    sequences = list(read(path, published, steps_per_quarter))
    if len(sequences) != 1:
        raise ValueError(f"{path} holds {len(sequences)} sequences; one is needed: split it")
    check(sequences[0], card)
    values, size = sequences[0].values, card["event_size"]
    if not sequences[0].is_waveform:
        return values
    if len(values) < size:
        raise ValueError(f"{path}: {len(values)} samples; a frame of {published.name} has {size}")
    frames = values[len(values) % size :].reshape(-1, size)
    standardization = published.standardization
    frames = frames if standardization is None else standardization.apply(frames)
    return frames.astype(np.float32)


def _frames(
    of: modality.Modality, published: zoo.Published, values: np.ndarray, scale: float
) -> np.ndarray:
    """What a model scores of a sequence as its reader gives it: as a prepared folder makes it."""
    if of.is_signal:  # samples, which the model itself standardizes
        return values.astype(np.float32) * np.float32(scale)
    if not of.standardized and scale == 1:
        return values
    frames = values.astype(np.float64)
    frames[:, of.unscaled :] *= scale
    standardization = published.standardization if of.standardized else None
    frames = frames if standardization is None else standardization.apply(frames)
    return frames.astype(np.float32)


def check(sequence: Sequence, card: Mapping[str, Any]) -> None:
    """Check a sequence before it is scored.

    Raises:
        ValueError: its width is wrong, or a number is not finite; the error names the file.
    """
    where, size = f"{sequence.file}, sequence {sequence.index}", card["event_size"]
    if not sequence.is_waveform and sequence.values.shape[1] != size:
        raise ValueError(f"{where}: must have {size} values a step; has {sequence.values.shape[1]}")
    if sequence.is_waveform and not card["sample_rate"]:
        raise ValueError(f"{where}: must be frames (T, {size}); is {sequence.values.shape}")
    if sequence.values.dtype.kind == "f" and not np.isfinite(sequence.values).all():
        raise ValueError(f"{where}: must be finite; holds NaN or infinity")


def _load(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a file, by name; no more than `MOST_BYTES` of them."""
    try:
        reading.check_regular(path)
        size = path.stat().st_size
        if archived := zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as file:
                size = sum(member.file_size for member in file.infolist())
    except (zipfile.BadZipFile, ValueError) as error:
        raise ValueError(f"{path}: is damaged, or no .npz or .npy of numbers: {error}") from error
    if size > MOST_BYTES:
        raise ValueError(f"{path}: holds {size} bytes; {MOST_BYTES} are accepted: split it")
    try:
        if archived:
            with zipfile.ZipFile(path) as file:
                reading.check_arrays(file, max(_FLOOR, _MOST_EXPANSION * path.stat().st_size))
        else:
            with path.open("rb") as file:
                reading.check_npy(file, size)
        content = np.load(path, allow_pickle=False)
        return {"": content} if isinstance(content, np.ndarray) else dict(content)
    except Exception as error:  # numpy and zipfile raise nearly any type on damaged files
        raise ValueError(f"{path}: is damaged, or no .npz or .npy of numbers") from error


def _arrays(path: Path) -> list[np.ndarray]:
    """The sequences of an .npy or .npz file: `frames` and `length`, or one in each array."""
    arrays = _load(path)
    length = arrays.pop("length", None)
    sequences = []
    for name, array in arrays.items():
        if array.dtype.kind not in "biuf" or array.ndim not in (1, 2, 3) or not array.size:
            raise ValueError(
                f"{path}: {name or 'it'} must be numbers (T, D) or (N, T, D), or samples (S,); "
                f"holds {array.dtype} of shape {array.shape}"
            )
        sequences += list(array) if array.ndim == 3 else [array]
    if not sequences:
        raise ValueError(f"{path}: holds no array")
    if length is None:
        return sequences
    if length.shape != (len(sequences),) or length.dtype.kind not in "iu":
        raise ValueError(f"{path}: `length` must be {len(sequences)} integers; is {length.shape}")
    for number, sequence in zip(length.tolist(), sequences, strict=True):
        if not 1 <= number <= len(sequence):
            raise ValueError(f"{path}: a length of {number}; accepted are 1 to {len(sequence)}")
    return [sequence[:number] for number, sequence in zip(length.tolist(), sequences, strict=True)]


def one_kind(sequences: list[Sequence]) -> None:
    """Check that sequences are all recordings, or all frames.

    Raises:
        ValueError: they are mixed.
    """
    if len({s.is_waveform for s in sequences}) != 1:
        raise ValueError("recordings and frames cannot be scored together: their units differ")


def score(answers: serving.Answers, sequences: list[Sequence]) -> serving.Scores:
    """Score sequences of one kind."""
    one_kind(sequences)
    values = [s.values for s in sequences]
    waves = sequences[0].is_waveform
    return answers.score_waveform(values) if waves else answers.score(values)

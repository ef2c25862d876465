"""What the commands know of a model: its kind, its backend, and files that it can read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from srnn_tf import serving, zoo
from srnn_tf.data import audio, midi

ARRAYS = (".npz", ".npy")
MOST_BYTES = 1 << 31  # of an array file: what is read is not trusted


class Sequence(NamedTuple):
    """One sequence of a file: where it is from, and frames (T, D) or samples (S,)."""

    file: str
    index: int
    values: np.ndarray

    @property
    def is_waveform(self) -> bool:
        return self.values.ndim == 1


def kind_of(card: Mapping[str, Any]) -> str:
    """What a model's frames are: "pianoroll", "handwriting" or "speech"."""
    return {88: "pianoroll", 3: "handwriting"}.get(card["event_size"], "speech")


def bound_of(card: Mapping[str, Any]) -> str:
    """What a score is."""
    return "exact" if card["structure"]["class"] == "rnn" else "ELBO"


def backend(name: str, server: str | None) -> serving.Answers:
    """The model in this process, or at a server."""
    return serving.Client(server, name) if server else serving.Local(name)


def read(path: Path, name: str, steps_per_quarter: int = 2) -> Iterator[Sequence]:
    """The sequences of a file that a model can score.

    Raises:
        ValueError: not a file, of another kind than the model's, or damaged.
    """
    if not path.is_file():
        raise ValueError(f"{path} is not a file")
    kind, ending = kind_of(zoo.card(name)), path.suffix.lower()
    endings = {"speech": audio.SUFFIXES, "pianoroll": midi.SUFFIXES}.get(kind, ())
    if ending in ARRAYS:
        found = _arrays(path)
    elif ending not in endings:
        raise ValueError(f"{path}: {name} reads {', '.join((*endings, *ARRAYS))}")
    elif kind == "speech":
        found = [audio.read_audio(path, serving.answers.SAMPLE_RATE) / np.float32(audio.FULL_SCALE)]
    else:
        found = [midi.read_midi(path, steps_per_quarter)]
    for index, values in enumerate(found):
        yield Sequence(str(path), index, values)


def _arrays(path: Path) -> list[np.ndarray]:
    """The sequences of an .npy or .npz file: `frames` and `length`, or one in each array."""
    if path.stat().st_size > MOST_BYTES:
        raise ValueError(f"{path}: above {MOST_BYTES} bytes; split it, or use srnn_tf.bulk")
    try:
        held = np.load(path, allow_pickle=False)
        arrays = {"": held} if path.suffix == ".npy" else dict(held)
    except Exception as error:  # numpy and zipfile raise nearly any type on damaged files
        raise ValueError(f"{path}: cannot be read as {path.suffix}: {error}") from error
    length = arrays.pop("length", None)
    found = []
    for name, array in arrays.items():
        if array.dtype.kind not in "biuf" or array.ndim not in (1, 2, 3) or not array.size:
            raise ValueError(
                f"{path}: {name or 'it'} must be numbers (T, D) or (N, T, D), or samples (S,); "
                f"holds {array.dtype} of shape {array.shape}"
            )
        found += list(array) if array.ndim == 3 else [array]
    if length is None:
        return found
    if length.shape != (len(found),) or length.dtype.kind not in "iu":
        raise ValueError(f"{path}: `length` must be {len(found)} integers; is {length.shape}")
    for number, one in zip(length.tolist(), found, strict=True):
        if not 1 <= number <= len(one):
            raise ValueError(f"{path}: a length of {number}; accepted are 1 to {len(one)}")
    return [one[:number] for number, one in zip(length.tolist(), found, strict=True)]


def score(answers: serving.Answers, sequences: list[Sequence]) -> serving.Scores:
    """Scores of sequences of one kind."""
    waves = {s.is_waveform for s in sequences}
    if len(waves) != 1:
        raise ValueError("recordings and frames cannot be scored together: their units differ")
    values = [s.values for s in sequences]
    return answers.score_waveform(values) if waves == {True} else answers.score(values)

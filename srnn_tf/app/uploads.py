"""Files that were dropped on the page: kept in memory, read for a model, never stored."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from srnn_tf.app import limits, models
from srnn_tf.data import modality
from srnn_tf.data.formats import audio
from srnn_tf.serving import drawing, inputs


class Upload(NamedTuple):
    """A file: its name, and its bytes."""

    name: str
    content: bytes


def take(path: str | os.PathLike | None) -> Upload:
    """Read a file that was sent, and remove it and its folder, if nothing else is in it.

    Raises:
        ValueError: there is none, it is empty, or larger than is accepted; it is not read then.
    """
    if path is None:
        raise ValueError("drop a file first")
    file = Path(path)
    name = shown(file.name)
    try:
        limits.check_bytes(file.stat().st_size, name)
        with file.open("rb") as opened:
            content = opened.read(limits.MOST_BYTES + 1)  # it may have grown
    except FileNotFoundError:
        raise ValueError(f"{name} is gone; drop it again") from None
    finally:
        with contextlib.suppress(OSError):
            file.unlink()
            file.parent.rmdir()
    limits.check_bytes(len(content), name)
    return Upload(name, content)


def shown(name: str) -> str:
    """The name of a file without what is no part of a name, and short.

    Example:
        >>> shown("a/../b\\n.mid")
        'b_.mid'
    """
    stem, ending = os.path.splitext(re.sub(r"[^\w .,()+-]", "_", os.path.basename(name)))
    return f"{stem[: limits.LONGEST_NAME] or 'file'}{ending[:10]}"


class Read(NamedTuple):
    """A sequence of a file, as a model reads it.

    Args:
        sequence: what is scored: frames (T, D), or samples (S,).
        frames: (T, D), in the units that are drawn and heard: nothing is standardized.
        primer: (T, D), the frames that the model continues.
        bpm: of music, the tempo that the file tells.
    """

    sequence: inputs.Sequence
    frames: np.ndarray
    primer: np.ndarray
    bpm: float | None


def read(upload: Any, opened: models.Opened) -> Read:
    """Read a file for a model.

    Raises:
        ValueError: there is no file, it is of another modality, damaged, silent or too long.
        ImportError: a package that reads it is not installed.
    """
    if not isinstance(upload, Upload):
        raise ValueError("drop a file first")
    published, card = opened.published, opened.published.card
    _check_ending(upload.name, opened)
    with _file(upload) as path:
        if inputs.modality_of(card).is_signal:
            _check_seconds(path, upload.name)
        sequences = list(inputs.read(path, published))
        if len(sequences) != 1:
            raise ValueError(f"{upload.name} holds {len(sequences)} sequences; one is accepted")
        (sequence,) = sequences
        inputs.check(sequence, card)
        primer = inputs.primer(path, published)
        bpm = drawing.tempo(path)
    sequence = sequence._replace(file=upload.name)
    values, scale = sequence.values, published.standardization
    if sequence.is_waveform:
        if not np.ptp(values):
            raise ValueError(
                f"{upload.name} is silent: all its samples are the same, there is nothing to score"
            )
        count = len(values) // card["event_size"]
        frames = values[: count * card["event_size"]].reshape(count, -1)
    else:
        frames = values if scale is None else scale.undo(values)
    limits.check_steps(len(frames), upload.name)
    return Read(sequence, frames, primer[-limits.MOST_TAKEN :], bpm)


@contextlib.contextmanager
def _file(upload: Upload) -> Iterator[Path]:
    """The file on disk, for as long as it is read; errors tell its name, and not where it lies."""
    with tempfile.TemporaryDirectory(prefix="srnn_tf-") as folder:
        path = Path(folder) / upload.name
        path.write_bytes(upload.content)
        try:
            yield path
        except (ValueError, ImportError, OSError) as error:
            message = str(error).replace(f"{folder}{os.sep}", "")
            kind = ImportError if isinstance(error, ImportError) else ValueError
            raise kind(message) from error


def endings_of(kind: str) -> tuple[str, ...]:
    """The endings of the files of a modality; arrays have no place on a page."""
    of = modality.MODALITIES.get(kind)
    endings = of.endings if of is not None and of.reader is not None else ()
    return tuple(ending for ending in endings if ending not in inputs.ARRAYS)


def _check_ending(name: str, opened: models.Opened) -> None:
    ending = os.path.splitext(name)[1].lower()
    if ending in endings_of(opened.kind):
        return
    model, accepted = opened.published.name, ", ".join(endings_of(opened.kind))
    message = f"{model} is a model of {models.word(opened.kind)} and reads {accepted or 'no files'}"
    for kind in modality.MODALITIES:
        if ending in endings_of(kind):
            raise ValueError(
                f"{name} is a file of {models.word(kind)}; {message}. Choose a model of "
                f"{models.word(kind)} for it"
            )
    raise ValueError(f"{name} is of a kind that is not read here; {message}")


def _check_seconds(path: Path, name: str) -> None:
    """Before a recording is decoded: few bytes may hold hours."""
    seconds = audio.seconds(path)
    if seconds > limits.MOST_SECONDS:
        told = f"lasts {seconds:,.0f} seconds" if np.isfinite(seconds) else "tells no length"
        raise ValueError(f"{name} {told}; up to {limits.MOST_SECONDS:.0f} are accepted: cut it")

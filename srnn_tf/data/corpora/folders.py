"""A folder of one's own recordings, MIDI files or strokes.

Folders train, valid and test in it are the parts; without them, files are split by their names.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from srnn_tf.data.corpora import base, speech
from srnn_tf.data.corpora.base import Corpus, Found, Item, Options, Record
from srnn_tf.data.corpora.splits import PARTS
from srnn_tf.data.formats import audio, strokes
from srnn_tf.data.formats.midi import SUFFIXES as MIDI
from srnn_tf.data.formats.midi import read_midi


def find(suffixes: tuple[str, ...], source: Path, options: Options) -> Found:
    """Items by their path without its ending."""
    found = base.items(base.files(source, suffixes), lambda name: name.rsplit(".", 1)[0])
    tops = {key.split("/")[0] if "/" in key else "" for key in found}
    if tops & set(PARTS):
        if tops != set(PARTS):
            raise ValueError(
                f"{source} holds files in {', '.join(sorted(t or 'itself' for t in tops))}; with "
                f"folders for the parts, all of {', '.join(PARTS)} and nothing else are needed"
            )
        parts = {p: [i for k, i in found.items() if k.startswith(f"{p}/")] for p in PARTS}
        return Found(parts, "by the folders train, valid and test")
    parts = base.by_hash({k: [i] for k, i in found.items()}, "folder", 0.1, 0.1, f"{source}: files")
    rule = "by file, ordered by the SHA-256 of 'folder:NAME': 10 % valid, 10 % test, the rest train"
    return Found(parts, rule)


def read_strokes(item: Item, options: Options) -> Iterator[Record]:
    """The moves of one file."""
    yield Record(item.key, *strokes.strokes_of(options, item.path))


def read_roll(item: Item, options: Options) -> Iterator[Record]:
    """The piano roll of one MIDI file."""
    yield Record(item.key, read_midi(item.path, options.steps_per_quarter).astype(np.uint8))


_OWN = "The terms of these files are their owner's."
CORPORA = {
    "audio": Corpus(
        "speech",
        functools.partial(find, audio.SUFFIXES),
        speech.read,
        "sequence",
        _OWN,
        ("sample_rate", "frame_size"),
    ),
    "pianoroll": Corpus(
        "pianoroll",
        functools.partial(find, MIDI),
        read_roll,
        "step",
        _OWN,
        ("steps_per_quarter",),
    ),
    "strokes": Corpus(
        "handwriting",
        functools.partial(find, strokes.SUFFIXES),
        read_strokes,
        "sequence",
        _OWN,
        ("std", "columns"),
    ),
}

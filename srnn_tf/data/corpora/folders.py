"""A folder of the user's files: recordings, MIDI files, strokes, or files of another modality.

If it has the folders train, valid and test, they are the parts. Otherwise files are split by the
hash of their names.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path

from srnn_tf.data import modality
from srnn_tf.data.corpora import base
from srnn_tf.data.corpora.base import Corpus, Found, Item, Options, Record
from srnn_tf.data.corpora.splits import PARTS

OWN = "The terms of these files are their owner's."


def find(suffixes: tuple[str, ...], source: Path, options: Options) -> Found:
    """Find the files with these suffixes; their names are their paths without the suffix."""
    items = base.items(base.files(source, suffixes), lambda name: name.rsplit(".", 1)[0])
    tops = {key.split("/")[0] if "/" in key else "" for key in items}
    if tops & set(PARTS):
        if tops != set(PARTS):
            raise ValueError(
                f"{source} holds files in {', '.join(sorted(t or 'itself' for t in tops))}; with "
                f"folders for the parts, all of {', '.join(PARTS)} and nothing else are needed"
            )
        parts = {p: [i for k, i in items.items() if k.startswith(f"{p}/")] for p in PARTS}
        return Found(parts, "by the folders train, valid and test")
    parts = base.by_hash({k: [i] for k, i in items.items()}, "folder", 0.1, 0.1, f"{source}: files")
    rule = "by file, ordered by the SHA-256 of 'folder:NAME': 10 % valid, 10 % test, the rest train"
    return Found(parts, rule)


def read(kind: str, item: Item, options: Options) -> Iterator[Record]:
    """The sequences of one file of a modality."""
    reader = modality.get(kind).reader
    assert reader is not None, kind  # `corpus` has looked
    sequences = reader(item.path, options)
    for i, (values, scale) in enumerate(sequences):
        yield Record(item.key if len(sequences) == 1 else f"{item.key}/{i:05d}", values, scale)


def corpus(
    kind: str, options: tuple[str, ...] = (), licence: str = OWN, unit: str | None = None
) -> Corpus:
    """A folder of files of a modality.

    Args:
        kind: the name of a modality with `endings` and a `reader`.
        options: the names of the options that its reader uses.
        licence: the licence of the data, a sentence.
        unit: the unit of a score, "step" for nats per step; the modality's by default.

    Raises:
        ValueError: the modality is unknown, or has no `endings` or no `reader`.

    Example:
        corpus("pianoroll", ("steps_per_quarter",)).unit  # step
    """
    of = modality.get(kind)
    if of.reader is None or not of.endings:
        raise ValueError(f"files of {kind} cannot be read: it has no `reader`, or no `endings`")
    return Corpus(
        kind,
        functools.partial(find, of.endings),
        functools.partial(read, kind),
        unit or of.unit,
        licence,
        options,
    )


CORPORA = {
    "audio": corpus("speech", ("sample_rate", "frame_size")),
    "pianoroll": corpus("pianoroll", ("steps_per_quarter",)),
    "strokes": corpus("handwriting", ("std", "columns")),
}


def name_of(kind: str) -> str | None:
    """The name of the corpus of a folder of files of a modality; None for other modalities.

    Example:
        >>> name_of("speech")
        'audio'
    """
    return {corpus.kind: name for name, corpus in CORPORA.items()}.get(kind)

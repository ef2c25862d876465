"""Sentences of UNIPEN (BBN): unipen_bbn_sentences.npz, or UNIPEN's original files."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from srnn_tf.core import reading
from srnn_tf.data.corpora import base
from srnn_tf.data.corpora.base import Corpus, Found, Item, Options, Record
from srnn_tf.data.corpora.splits import PARTS
from srnn_tf.data.formats import strokes

FILE = "unipen_bbn_sentences.npz"
_LARGEST = 1 << 28  # bytes of all arrays, unpacked; those published have 6 million


def find(source: Path, options: Options) -> Found:
    """Find the sentences; the file has UNIPEN's own parts, the tree is split by hash of writer."""
    path = source / FILE
    if path.is_file():
        size = path.stat().st_size
        parts = {part: [Item(part, path, size)] for part in PARTS}
        return Found(parts, "UNIPEN's own sets, no writer in two of them")
    if not ((source / "data").is_dir() and (source / "include").is_dir()):
        raise ValueError(f"{source} must hold {FILE}, or UNIPEN's folders data and include")
    writers: dict[str, list[Item]] = {}
    items = base.items(base.files(source / "data", (".dat",)), lambda name: name[: -len(".dat")])
    for key, item in items.items():
        writers.setdefault(key.rsplit("/", 1)[0], []).append(item)
    parts = base.by_hash(writers, "unipen", 0.1, 0.1, f"{source}: writers")
    rule = "by writer, ordered by the SHA-256 of 'unipen:FOLDER': 10 % valid, 10 % test, the rest"
    return Found(parts, f"{rule} train")


def files_of(item: Item) -> list[Path]:
    """The file of an item, and the files that it includes."""
    if item.path.suffix.lower() != ".dat":
        return [item.path]
    include = _include(item.path)
    try:
        return [item.path, *(include / name for name in strokes.included(item.path, include))]
    except (ValueError, OSError):  # said when it is read
        return [item.path]


def _include(path: Path) -> Path:
    return next(p for p in path.parents if p.name == "data").parent / "include"


def read(item: Item, options: Options) -> Iterator[Record]:
    """The pen moves of the sentences of a part, or of one file."""
    if item.path.suffix.lower() == ".dat":
        points = strokes.read_unipen(item.path, _include(item.path))
        yield Record(item.key, strokes.moves(points, item.path))
        return
    yield from read_npz(item.path, item.key)


def read_npz(path: Path, part: str) -> Iterator[Record]:
    """The sentences of one part of the `.npz` file, without their first row, which is not a move.

    Raises:
        ValueError: the file is another one, or damaged.
    """
    names = ("strokes", "lengths", "split", "source")
    try:
        reading.check_regular(path)
        with zipfile.ZipFile(path) as archive:
            reading.check_arrays(archive, _LARGEST)
        with np.load(path, allow_pickle=False) as content:
            rows, lengths, split, source = (content[name] for name in names)
    except Exception as error:  # of the zip reader, of NumPy's, or of the parsers of its headers
        raise ValueError(f"{path}: is not readable as {FILE} ({error})") from error
    _check(path, rows, lengths, split, source)
    ends = np.cumsum(lengths, dtype=np.int64)
    for i in np.flatnonzero(split == PARTS.index(part)):
        yield Record(str(source[i]), rows[ends[i] - lengths[i] + 1 : ends[i]])


def _check(path, rows, lengths, split, source) -> None:
    kinds = [a.dtype.kind for a in (rows, lengths, split, source)]
    count = len(lengths) if lengths.ndim == 1 else -1
    sound = rows.ndim == 2 and rows.shape[1:] == (3,) and rows.dtype == np.int16
    sound = sound and kinds[1] in "iu" and kinds[2] in "iu" and kinds[3] == "U"
    sound = sound and split.shape == source.shape == (count,) and count > 0
    if not sound or lengths.min() < 2 or int(lengths.sum(dtype=np.int64)) != len(rows):
        raise ValueError(f"{path}: its arrays are not those of {FILE}, or do not fit together")
    if len(set(source.tolist())) != count:
        raise ValueError(f"{path}: two sentences have one name in `source`")


CORPUS = Corpus(
    "handwriting",
    find,
    read,
    "sequence",
    "UNIPEN train_r01_v07, BBN: CC BY 4.0 (doi 10.5281/zenodo.1195803). Cite Guyon et al., 1994.",
    ("std",),
    files_of=files_of,
)

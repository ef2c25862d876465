"""Piano rolls: the four collections of Boulanger-Lewandowski et al., and Bach's chorales."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from srnn_tf.data.corpora.base import Corpus, Found, Item, Options, Record
from srnn_tf.data.corpora.splits import PARTS, Splits, check_edition
from srnn_tf.data.formats import pianoroll

# The names under which the files are in circulation.
FILES = {
    "nottingham": ("Nottingham.mat", "Nottingham.pickle"),
    "muse": ("MuseData.mat", "MuseData.pickle"),
    "jsb": ("JSB_Chorales.mat", "JSB Chorales.pickle"),
    "piano_midi": ("Piano_midi.mat", "Piano-midi.de.pickle"),
}


def read_pianoroll(path: str | os.PathLike, name: str, edition: str | None = None) -> Splits:
    """Read the piano rolls of one data set from a file and check which edition they are.

    Args:
        path: a `.mat`, `.pickle` or `.pkl` file. Reading a pickle runs none of its code.
        name: a key of `EDITIONS`.
        edition: the edition that the file must have. None accepts every known one; "any" accepts
            every file.

    Returns:
        `Splits` of uint8 arrays of shape (T_i, 88).

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the path is a folder, or the file is of another format, damaged, or of another
            edition.

    Example:
        read_pianoroll("Nottingham.mat", "nottingham").test[0].shape
    """
    rolls: dict[str, Any] = pianoroll.read_parts(path)
    counts = tuple(sum(len(roll) for roll in rolls[part]) for part in PARTS)
    return Splits(
        name=name, **rolls, edition=check_edition(name, counts, edition, path), source=str(path)
    )


def find(name: str, source: Path, options: Options) -> Found:
    """The parts of a file of piano rolls."""
    present = [source / file for file in FILES[name] if (source / file).is_file()]
    if len(present) != 1:
        raise ValueError(
            f"{source} must hold one of the files {', '.join(FILES[name])}; it holds "
            f"{' and '.join(p.name for p in present) or 'neither'}"
        )
    edition = read_pianoroll(present[0], name, options.edition).edition
    parts = {part: [Item(part, present[0], present[0].stat().st_size)] for part in PARTS}
    return Found(parts, "the file's own parts", edition=edition)


def read(name: str, item: Item, options: Options) -> Iterator[Record]:
    """The rolls of one part."""
    return _rolls(read_pianoroll(item.path, name, options.edition), item.key)


def _rolls(splits: Splits, part: str) -> Iterator[Record]:
    for i, roll in enumerate(getattr(splits, part)):
        yield Record(f"{part}/{i:05d}", roll)


def find_bach(source: Path | None, options: Options) -> Found:
    """The parts of the chorales in music21's corpus."""
    from srnn_tf.data.corpora.bach import load_bach

    parts = {part: [Item(part, Path("music21"), 0)] for part in PARTS}
    return Found(parts, "BWV number modulo 10: 0 is test, 1 is valid", edition=load_bach().edition)


def read_bach(item: Item, options: Options) -> Iterator[Record]:
    from srnn_tf.data.corpora.bach import load_bach

    return _rolls(load_bach(), item.key)


def _corpus(name: str, table5: tuple[float, str] | None = None) -> Corpus:
    licence = "Boulanger-Lewandowski et al., arXiv:1206.6392; the page states no licence."
    functions = (functools.partial(find, name), functools.partial(read, name))
    return Corpus("pianoroll", *functions, "step", licence, ("edition",), table5)


CORPORA = {
    "bach": Corpus(
        "pianoroll",
        find_bach,
        read_bach,
        "step",
        "Bach's chorales as encoded in music21's corpus (BSD).",
        needs_source=False,
    ),
    "nottingham": _corpus("nottingham", (23.5e6, "values")),
    "muse": _corpus("muse", (36.1e6, "values")),
    "jsb": _corpus("jsb"),
    "piano_midi": _corpus("piano_midi"),
}

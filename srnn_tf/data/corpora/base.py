"""`Corpus`, and functions that corpora share: finding files, lists of names, splits."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from srnn_tf.core.reading import MOST_JSON, read_bytes
from srnn_tf.data.corpora.splits import PARTS


class Item(NamedTuple):
    """A source file, or a part of one: the unit that is read, skipped or rejected.

    Args:
        key: its name, unique in the data set, without paths of this machine.
        path: the file.
        size: the size of the file in bytes.
    """

    key: str
    path: Path
    size: int


class Record(NamedTuple):
    """A sequence as it is stored.

    Args:
        key: unique in the data set.
        values: (n,) samples or (T, D) frames, in the dtype of its modality.
        scale: the factor by which `values` are multiplied.
    """

    key: str
    values: np.ndarray
    scale: float = 1.0


@dataclasses.dataclass(frozen=True)
class Options:
    """The options for reading a corpus. Each corpus accepts a subset, `Corpus.options`.

    Args:
        lists: the folder with the lists of names of the parts.
        sample_rate: the sample rate of the prepared audio, in Hz.
        frame_size: D, the number of samples in a step.
        permutation: a file with the order of the samples in a step.
        std: the divisor of dx and dy, in place of their standard deviation.
        columns: the columns of stroke arrays, as in "dx,dy,pen".
        steps_per_quarter: the steps in a quarter note, for MIDI files.
        edition: the published version that the files must have.
    """

    lists: Path | None = None
    sample_rate: int = 16000
    frame_size: int = 200
    permutation: Path | None = None
    std: float | None = None
    columns: str | None = None
    steps_per_quarter: int = 2
    edition: str | None = None


@dataclasses.dataclass
class Found:
    """The items of a corpus.

    Args:
        parts: the items of train, valid and test.
        rule: a description of the split.
        missing: (name, reason) for each name in a list that the source lacks.
        notes: remarks for the user, such as files that are in no list.
        edition: the published version, if known.
    """

    parts: dict[str, list[Item]]
    rule: str
    missing: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)
    edition: str = ""


@dataclasses.dataclass(frozen=True)
class Corpus:
    """How a corpus is found and read.

    Args:
        kind: the name of its modality: "speech", "handwriting", "pianoroll", or a registered one.
        find: a function from the source folder and options to `Found`.
        read: a function from an item and options to its records.
        unit: the unit of a score, "step" for nats per step.
        licence: the licence of the data, a sentence.
        options: the names of the options that it accepts.
        table5: its size in Table 5 of the paper: a number and the unit that it counts.
        needs_source: whether it is read from a folder.
        files_of: a function from an item to the files that it is read from.
    """

    kind: str
    find: Callable[[Path, Options], Found]
    read: Callable[[Item, Options], Iterator[Record]]
    unit: str
    licence: str
    options: tuple[str, ...] = ()
    table5: tuple[float, str] | None = None
    needs_source: bool = True
    files_of: Callable[[Item], list[Path]] = lambda item: [item.path]


def files(source: Path, suffixes: tuple[str, ...]) -> dict[str, Path]:
    """All files below a folder with these suffixes, in any case, by their relative path.

    Links to folders are followed.

    Raises:
        ValueError: there is no such file, or a link makes a folder appear twice.
        OSError: a folder cannot be read.
    """

    def fail(error):
        raise OSError(error.errno, f"{error.filename} cannot be read: {error.strerror}")

    paths, seen = {}, {}
    for folder, folders, names in os.walk(source, onerror=fail, followlinks=True):
        first = seen.setdefault(os.path.realpath(folder), folder)
        if first != folder:  # its files would be in two parts, or the walk would not end
            raise ValueError(f"{folder} and {first} are one folder; keep one of the two")
        folders[:] = [f for f in folders if not f.startswith(".")]
        for name in names:
            if name.lower().endswith(suffixes) and not name.startswith("."):
                path = Path(folder, name)
                paths[path.relative_to(source).as_posix()] = path
    if not paths:
        raise ValueError(f"{source} holds no file that ends in {', '.join(suffixes)}")
    return dict(sorted(paths.items()))


def items(paths: dict[str, Path], name: Callable[[str], str]) -> dict[str, Item]:
    """Items by name; `name` maps the relative path of a file to its name.

    Raises:
        ValueError: two files have the same name.
    """
    result: dict[str, Item] = {}
    for relative, path in paths.items():
        key = name(relative)
        if key in result:
            raise ValueError(f"two files are {key}: {result[key].path} and {path}; keep one")
        # What is no file, such as a link that leads nowhere, fails when it is read.
        result[key] = Item(key, path, path.stat().st_size if path.is_file() else 0)
    return result


def audio_name(relative: str) -> str:
    """The name of an utterance: the file name without folders and suffix."""
    return relative.rsplit("/", 1)[-1].split(".")[0]


def hashed(names: Iterable[str], salt: str) -> list[str]:
    """The names in an arbitrary order that is the same on every machine."""

    def digest(name):
        return hashlib.sha256(f"{salt}:{name}".encode("utf-8", "surrogateescape")).digest()

    return sorted(names, key=digest)


def by_hash(
    groups: dict[str, list[Item]], salt: str, valid: float, test: float, what: str
) -> dict[str, list[Item]]:
    """Split groups of items (a speaker, a form, or a file) into parts; a group stays in one part.

    The groups are ordered by the SHA-256 of "salt:name". The first share `valid` of them is valid,
    the next share `test` is test, at least one group each.

    Args:
        groups: the items of each group.
        salt: a prefix of the names, for the hash.
        valid, test: shares of the groups.
        what: a description of the groups, for the error.

    Raises:
        ValueError: there are fewer groups than parts.
    """
    order = hashed(groups, salt)
    wanted = {"valid": valid, "test": test}
    counts = {part: max(1, round(len(order) * f)) for part, f in wanted.items() if f}
    if len(order) <= sum(counts.values()):
        raise ValueError(
            f"{what}: {len(order)} found; {sum(counts.values()) + 1} are needed, one for each part"
        )
    parts, at = {}, 0
    for part, count in counts.items():
        parts[part], at = order[at : at + count], at + count
    parts["train"] = order[at:]
    return {p: sorted(item for g in chosen for item in groups[g]) for p, chosen in parts.items()}


def read_list(path: Path) -> list[str]:
    """The names in a list, one per line.

    Raises:
        ValueError: the file does not exist or is empty, a name leaves the source folder, or a name
            occurs twice.
    """
    if not path.is_file():
        raise ValueError(f"{path} does not exist; it lists the files of a part, a name a line")
    text = read_bytes(path, MOST_JSON).decode("utf-8", "surrogateescape")
    names = [line.strip() for line in text.splitlines() if line.strip()]
    if not names:
        raise ValueError(f"{path} lists no names")
    seen = set()
    for name in names:
        if name.startswith(("/", "~")) or "\\" in name or ".." in name.split("/"):
            raise ValueError(f"{path} lists {name!r}, which leads out of the source")
        if name in seen:
            raise ValueError(f"{path} lists {name!r} twice")
        seen.add(name)
    return names


def by_lists(
    by_name: dict[str, Any], lists: dict[str, Path], name: Callable[[str], str] = str
) -> tuple[dict[str, list[Any]], list[tuple[str, str]], list[str]]:
    """Split by lists of names: the items of each part, the missing names, and the unlisted ones.

    Args:
        by_name: the items by name.
        lists: the list file of each part.
        name: a function from an entry of a list to a name.

    Raises:
        ValueError: a list is invalid, or a name is in two lists.
    """
    parts, missing, seen = {}, [], {}
    for part, path in lists.items():
        parts[part] = []
        for entry in read_list(path):
            key = name(entry)
            if key in seen:
                raise ValueError(f"{entry!r} is listed by {seen[key]} and by {path}")
            seen[key] = path
            if key in by_name:
                parts[part].append(by_name[key])
            else:
                missing.append((key, f"{path.name} lists it, but it is not in the source"))
    unlisted = sorted(set(by_name) - set(seen))
    note = f"{len(unlisted)} are in no list and left out, the first is {unlisted[:1]}"
    return parts, missing, [note] if unlisted else []


def lists_of(options: Options, names: dict[str, str]) -> dict[str, Path]:
    """The list of each part in the folder that the user gave."""
    folder = options.lists
    assert folder is not None  # those who call this have looked
    return {part: folder / name for part, name in names.items()}


def check_parts(parts: dict[str, list[Item]], what: object) -> None:
    """Check that each part has an item.

    Raises:
        ValueError: a part has none.
    """
    for part in PARTS:
        if not parts.get(part):
            raise ValueError(f"{what}: nothing is left for the part {part}")

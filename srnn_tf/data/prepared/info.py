"""The description of a prepared data set, `dataset_info.json`, and the sizes in the paper."""

from __future__ import annotations

import importlib.metadata
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from srnn_tf.core import reading
from srnn_tf.core.registry import unknown
from srnn_tf.data import corpora, modality
from srnn_tf.data.corpora import Found, Options
from srnn_tf.data.corpora.splits import PARTS, Splits
from srnn_tf.data.formats.standardization import Standardization
from srnn_tf.data.prepared import records, schema
from srnn_tf.data.prepared.sequences import Stored, View

FILE, INDEX = "dataset_info.json", "index.json"
FORMAT = 1  # to be raised with every change of the files
_SHOWN = 20  # of what was skipped
_TOLERANCE = 0.005  # Table 5 prints three digits


def make(
    name: str, reports: dict[str, Any], listing: Found, options: Options, skipped: list[list[str]]
) -> dict[str, Any]:
    """The content of `dataset_info.json`, without the checksum of the index.

    Args:
        name: the name of the corpus.
        reports: the reports of the shards, in order.
        listing: the items of the corpus.
        options: the options with which they were read.
        skipped: (name, reason) for each item that was left out.

    Raises:
        ValueError: a part has no sequence, or the signal is constant.
    """
    corpus = corpora.get(name)
    kind = modality.get(corpus.kind)
    frame = kind.width or options.frame_size
    entries = {part: _entries(reports, part) for part in PARTS}
    counts = {part: _counts(part, entries[part], frame) for part in PARTS}
    standardization = _standardization(name, entries["train"], options)
    content = {
        "format": FORMAT,
        "name": name,
        "kind": corpus.kind,
        "unit": f"nats per {corpus.unit}",
        "edition": listing.edition,
        "split_rule": listing.rule,
        "licence": corpus.licence,
        "frame_size": frame,
        "dtype": kind.dtype,
        "sample_rate": options.sample_rate if kind.is_signal else None,
        "mean": list(standardization.mean),
        "std": list(standardization.std),
        "permutation": standardization.permutation and list(standardization.permutation),
        "source": {
            "files": len({item.path for items in listing.parts.values() for item in items}),
            "bytes": sum({i.path: i.size for p in listing.parts.values() for i in p}.values()),
        },
        "skipped": sorted(skipped),
        "notes": listing.notes,
        "parts": counts,
        "shards": {
            file: {"bytes": report["bytes"], "sha256": report["sha256"]}
            for file, report in reports.items()
        },
        "made_with": versions(corpus.kind),
    }
    return content


def _entries(reports, part) -> list[records.Entry]:
    chosen = [r["entries"] for file, r in reports.items() if file.startswith(f"{part}-")]
    return [records.Entry(*entry) for entries in chosen for entry in entries]


class NothingToLearn(ValueError):
    """A training part without variance, whose shards a later run cannot use."""


def _counts(part: str, entries: list[records.Entry], frame: int) -> dict[str, int]:
    steps = [entry.size // frame for entry in entries]
    if not any(steps):
        raise ValueError(f"the part {part} has no sequence of at least one step of {frame} values")
    values = sum(entry.size for entry in entries)
    # What is shorter than a step is stored, and no sequence.
    return {"sequences": sum(map(bool, steps)), "steps": sum(steps), "values": values}


def _standardization(name: str, entries: list[records.Entry], options: Options) -> Standardization:
    """Mean and standard deviation of the training part: of all samples, or of each column."""
    kind = modality.get(corpora.get(name).kind)
    if not kind.standardized:
        return Standardization()
    columns = len(entries[0].sums)
    means, stds = [], []
    for c in range(columns):
        # Sums of whole numbers, added exactly: the order of the files does not matter.
        count = sum(entry.size // columns for entry in entries)
        mean = math.fsum(e.sums[c] * e.scale for e in entries) / count
        square = math.fsum(e.squares[c] * e.scale**2 for e in entries) / count
        means.append(mean)
        stds.append(math.sqrt(max(0.0, square - mean * mean)))
    as_is = kind.unscaled
    if not all(stds[as_is:]):
        raise NothingToLearn(f"{name}: {kind.constant}")
    if options.std is not None:
        stds = [options.std] * columns
    mean, std = (0.0,) * as_is + (*means[as_is:],), (1.0,) * as_is + (*stds[as_is:],)
    return Standardization(mean, std, permutation_of(name, options))


PERMUTED = ("perm_timit", "perm_speech_commands")


def permutation_of(name: str, options: Options) -> tuple[int, ...] | None:
    """The order of the samples in a step, for data sets that permute them.

    Raises:
        ValueError: the file does not contain a permutation of 0 to D - 1.
    """
    if name not in PERMUTED:
        return None
    path = options.permutation or Path(__file__).with_name("permutation_200.txt")
    try:
        text = reading.read_bytes(path, reading.MOST_JSON).decode("ascii")
        order = tuple(int(word) for word in text.split())
    except (OSError, ValueError) as error:
        raise ValueError(f"permutation={path} cannot be read as numbers ({error})") from error
    if sorted(order) != list(range(options.frame_size)):
        raise ValueError(
            f"permutation={path} holds {len(order)} numbers; accepted are 0 to "
            f"{options.frame_size - 1} in some order"
        )
    return order


def versions(kind: str) -> dict[str, str]:
    """The versions of this package and of the libraries that decode a modality."""
    own = {"srnn_tf": importlib.metadata.version("srnn-tf")}
    return own | modality.get(kind).versions()


def read(path: Path) -> dict[str, Any]:
    """Read and check a folder's `dataset_info.json`.

    Raises:
        ValueError: the folder is not a prepared data set, is damaged, or is of another version.
    """
    if not (path / FILE).is_file():
        raise ValueError(f"{path} is not a prepared data set: it holds no {FILE}")
    content = records.read_json(path / FILE)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        received = content.get("format") if isinstance(content, dict) else None
        raise ValueError(f"{path / FILE} is of format {received!r}; this version reads {FORMAT}")
    wrong = schema.wrong_field(content)
    if wrong is not None:
        reason = (
            f"{path / FILE} is damaged: its {wrong} is {reading.shortened(content.get(wrong), 200)}"
        )
        raise ValueError(reason + (_unregistered(content) if wrong == "name" else ""))
    for file, expected in content["shards"].items():
        shard, size = path / file, expected["bytes"]
        if not shard.is_file() or shard.stat().st_size != size:
            raise ValueError(f"{shard} is missing or is not of {size} bytes; prepare again")
    return content


def _unregistered(content: dict[str, Any]) -> str:
    """What to do about a name that is not known: the folder may be of a corpus of one's own."""
    near = unknown("data set", content.get("name"), corpora.CORPORA)
    return f": {near}; a corpus of your own is known once `data.register_corpus` has run"


def verify(path: Path) -> None:
    """Compare every file with its checksum.

    Raises:
        ValueError: a checksum differs.
    """
    content = read(path)
    expected = {file: shard["sha256"] for file, shard in content["shards"].items()}
    for file, digest in {**expected, INDEX: content["index_sha256"]}.items():
        if records.checksum(path / file) != digest:
            raise ValueError(f"{path / file} differs from its checksum; prepare again")


def load(name: str | None, path: Path, down_sample: int = 1) -> Splits:
    """Load a prepared folder; its sequences stay on disk until they are sliced.

    Args:
        name: the data set that it must contain; None for any.
        path: the folder.
        down_sample: k. Above 1 each sequence is read as its k interleaved parts.

    Raises:
        ValueError: the folder contains another data set, or is damaged.
    """
    content = read(path)
    if name not in (None, content["name"]):
        raise ValueError(f"path={path} holds {content['name']}, not {name}")
    kind, frame = modality.get(content["kind"]), content["frame_size"]
    permutation = content["permutation"]
    if down_sample != 1 and (not kind.is_signal or permutation is not None or down_sample < 1):
        raise ValueError(f"down_sample={down_sample!r} is for speech that is not permuted, from 1")
    standardization = Standardization(
        *(tuple(content[k]) for k in ("mean", "std")), permutation and tuple(permutation)
    )
    view = View(frame, content["dtype"], standardization, down_sample, kind.unscaled)
    parts: dict[str, Any] = {part: [] for part in PARTS}
    for file, entries in _index(path, content).items():
        sequences = [Stored(path / file, *entry[1:], view=view) for entry in entries]
        parts[file.split("-")[0]] += [sequence for sequence in sequences if len(sequence)]
    return Splits(
        content["name"],
        **parts,
        edition=content["edition"] or "prepared",
        source=str(path),
        kind=kind.name,
        standardization=standardization,
        sample_rate=content["sample_rate"],
    )


def _index(path: Path, content: dict[str, Any]) -> dict[str, list[list[Any]]]:
    """Where the sequences are, checked."""
    if not (path / INDEX).is_file():
        raise ValueError(f"{path / INDEX} is missing; prepare again")
    if records.checksum(path / INDEX) != content["index_sha256"]:
        raise ValueError(f"{path / INDEX} differs from its checksum; prepare again")
    index = records.read_json(path / INDEX)
    if not schema.is_index(index, content):
        raise ValueError(f"{path / INDEX} is damaged: it does not fit the shards")
    return index


def describe(content: dict[str, Any]) -> str:
    """The statistics of a prepared data set, with its size in Table 5 of the paper."""
    frame, total = content["frame_size"], {"sequences": 0, "steps": 0, "values": 0}
    lines = [
        f"{content['name']} {content['edition']}".rstrip() + f": {content['kind']}, frames of "
        f"{frame} values, scores in {content['unit']}",
        f"  split: {content['split_rule']}",
    ]
    for part in PARTS:
        counts = content["parts"][part]
        for key in total:
            total[key] += counts[key]
        lines.append(_line(part, counts, content))
    lines.append(_line("total", total, content))
    mean, std = ("/".join(f"{v:.6g}" for v in content[k]) for k in ("mean", "std"))
    lines.append(f"  standardized by mean {mean}, standard deviation {std} of the training part")
    lines += [f"  note: {note}" for note in content["notes"]]
    lines += [f"  {line}" for line in skipped_lines(content["skipped"])]
    lines.append(f"  {_table5(content['name'], total, frame)}")
    lines.append(f"  licence: {content['licence']}")
    return "\n".join(lines)


def skipped_lines(skipped: Sequence[Sequence[str]]) -> list[str]:
    """Lines that describe what was skipped; long lists are shortened."""
    lines = [f"skipped: {key}: {reason}" for key, reason in skipped[:_SHOWN]]
    more = len(skipped) - _SHOWN
    return lines + ([f"skipped: {more} more, all of them in {FILE}"] if more > 0 else [])


def _line(part: str, counts: dict[str, int], content: dict[str, Any]) -> str:
    rate = content["sample_rate"]
    hours = f"  {counts['values'] / rate / 3600:8.2f} hours" if rate else ""
    return f"  {part:<5} {counts['sequences']:>7} sequences {counts['steps']:>10} steps{hours}"


def _table5(name: str, total: dict[str, int], frame: int) -> str:
    printed = corpora.get(name).table5
    if printed is None:
        return "not a data set of the paper: its Table 5 has no size to compare with"
    number, unit = printed
    size = total["steps"] * (frame if unit == "values" else 1)
    same = abs(size - number) <= _TOLERANCE * number
    text = f"Table 5 of the paper: {number / 1e6:g}M {unit}; here {size / 1e6:.3g}M: "
    text += "match" if same else "mismatch"
    if unit == "values":
        text += f" (it counts values: steps x {frame})"
    if name == "muse" and not same:
        text += "; the rolls in circulation have 34.5M, all of them"
    return text

"""IAM-OnDB: lineStrokes/a01/a01-000/a01-000u-01.xml, one file per line of text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from srnn_tf.data.corpora import base
from srnn_tf.data.corpora.base import Corpus, Found, Item, Options, Record
from srnn_tf.data.formats import strokes

PAPER_STD = 56.04462  # what the paper's code divides moves by


def find(source: Path, options: Options) -> Found:
    """Find the lines; split by form, by the paper's two lists if given, otherwise by hash."""
    folder = source / "lineStrokes"
    if not folder.is_dir():
        raise ValueError(f"{source} must hold the folder lineStrokes of IAM-OnDB; it does not")
    items = base.items(base.files(folder, (".xml",)), base.audio_name)
    forms: dict[str, list[Item]] = {}
    for key, item in items.items():
        forms.setdefault(key.rsplit("-", 1)[0], []).append(item)
    if options.lists is None:
        parts = base.by_hash(forms, "iam_ondb", 0.05, 0.1, f"{source}: forms")
        rule = "by form, ordered by the SHA-256 of 'iam_ondb:FORM': 5 % valid, 10 % test, the rest"
        return Found(parts, f"{rule} train")
    lists = base.lists_of(options, {"train": "train.txt", "test": "valid.txt"})
    listed, missing, notes = base.by_lists(forms, lists)
    chosen = {lines[0].key.rsplit("-", 1)[0]: lines for lines in listed["train"]}
    what = f"{source}: forms of train.txt"
    # Without enough of them the missing ones are the error.
    parts = base.by_hash(chosen, "iam_ondb", 0.05, 0, what) if len(chosen) > 1 else {}
    parts["test"] = sorted(item for lines in listed["test"] for item in lines)
    rule = (
        "the form list valid.txt is test; of train.txt, the 5 % of forms with the least SHA-256 of "
        "'iam_ondb:FORM' are valid"
    )
    return Found(parts, rule, missing, notes)


def read(item: Item, options: Options) -> Iterator[Record]:
    """The moves of one line."""
    yield Record(item.key, strokes.moves(strokes.read_iam(item.path), item.path))


CORPUS = Corpus(
    "handwriting",
    find,
    read,
    "sequence",
    "IAM On-Line Handwriting Database, University of Bern: non-commercial research only; do not "
    "pass these files on.",
    ("lists", "std"),
    (7.63e6, "steps"),
)

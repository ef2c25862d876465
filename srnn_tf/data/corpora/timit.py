"""TIMIT: TRAIN|TEST/DRn/SPEAKER/{SA,SI,SX}n.WAV, NIST SPHERE or RIFF, 16 kHz."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from srnn_tf.data.corpora import base, speech
from srnn_tf.data.corpora.base import Corpus, Found, Item, Options, Record


def find(source: Path, options: Options) -> Found:
    """Find the sentences; 5 % of the files of TRAIN are valid, by the hash of their names."""
    items = base.items(base.files(source, (".wav",)), _timit_name)
    groups: dict[str, dict[str, list[Item]]] = {"TRAIN": {}, "TEST": {}}
    for key, item in items.items():
        folder = key.split("/")[0]
        if folder not in groups:
            raise ValueError(
                f"{item.path} is neither below TRAIN nor below TEST; TIMIT is laid out as "
                "TRAIN|TEST/DRn/SPEAKER/SENTENCE.WAV"
            )
        groups[folder][key] = [item]
    if not groups["TEST"]:
        raise ValueError(f"{source} holds no folder TEST with files in it")
    parts = base.by_hash(groups["TRAIN"], "timit", 0.05, 0, f"{source}: files of TRAIN")
    parts["test"] = sorted(item for group in groups["TEST"].values() for item in group)
    counts, notes = (len(groups["TRAIN"]), len(groups["TEST"])), []
    if counts != (4620, 1680):
        notes = [f"TIMIT has 4620 and 1680 files in TRAIN and TEST; here are {counts}"]
    rule = "TEST is test; of TRAIN, the 5 % with the least SHA-256 of 'timit:NAME' are valid"
    return Found(parts, rule, notes=notes)


def _timit_name(relative: str) -> str:
    """TRAIN/DR1/FCJF0/SA1, wherever below the source and in whatever case."""
    names = relative.upper().split("/")
    while len(names) > 2 and names[0] not in ("TRAIN", "TEST"):
        names = names[1:]
    return "/".join([*names[:-1], names[-1].split(".")[0]])


def read(item: Item, options: Options) -> Iterator[Record]:
    return speech.read(item, options, expected=16000)


TIMIT = Corpus(
    "speech",
    find,
    read,
    "sequence",
    "TIMIT is licensed by the Linguistic Data Consortium (LDC93S1); do not pass these files on.",
    ("frame_size",),
    (1.54e6, "steps"),
)

PERM_TIMIT = Corpus(
    "speech",
    find,
    read,
    "sequence",
    TIMIT.licence,
    ("frame_size", "permutation"),
    TIMIT.table5,
)

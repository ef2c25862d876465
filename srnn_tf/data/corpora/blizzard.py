"""Blizzard 2013: a tree of MP3 files, one a chapter, at 44.1 kHz."""

from __future__ import annotations

from pathlib import Path

from srnn_tf.data.corpora import base, speech
from srnn_tf.data.corpora.base import Corpus, Found, Options


def find(source: Path, options: Options) -> Found:
    """Find the recordings; split by the paper's lists if given, otherwise by chapter."""
    paths = base.files(source, (".mp3",))
    items = base.items(paths, lambda relative: relative.rsplit("/", 1)[-1][: -len(".mp3")])
    if options.lists is not None:
        names = {part: f"{part}_file_list.txt" for part in ("train", "valid", "test")}
        lists = base.lists_of(options, names)
        # The paper's lists name the files that its code made of the chapters.
        parts, missing, notes = base.by_lists(
            items, lists, lambda entry: entry.removesuffix(".t7").removesuffix(".wav")
        )
        return Found(parts, "by the lists given", missing, notes)
    parts = base.by_hash(
        {k: [i] for k, i in items.items()}, "blizzard", 0.05, 0.05, f"{source}: files"
    )
    rule = "by chapter, ordered by the SHA-256 of 'blizzard:NAME': 5 % valid, 5 % test, the rest"
    return Found(parts, f"{rule} train")


CORPUS = Corpus(
    "speech",
    find,
    speech.read,
    "8,000 samples",
    "The data of the Blizzard Challenge 2013 are licensed to its participants; do not pass "
    "these files on.",
    ("lists", "sample_rate", "frame_size"),
    (90.5e6, "steps"),
)

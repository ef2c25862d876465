"""Spoken commands: flac/*.flac and the lists train.txt, valid.txt, test.txt; 16 kHz."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from srnn_tf.data.corpora import base, speech
from srnn_tf.data.corpora.base import Corpus, Found, Options


def find(source: Path, options: Options) -> Found:
    """Find the recordings; split by the lists beside them."""
    items = base.items(base.files(source / "flac", (".flac",)), base.audio_name)
    lists = {part: source / f"{part}.txt" for part in ("train", "valid", "test")}
    parts, missing, notes = base.by_lists(items, lists, base.audio_name)
    return Found(parts, "by the lists beside the files", missing, notes)


CORPUS = Corpus(
    "speech",
    find,
    speech.read,
    "sequence",
    "Spoken commands of Picovoice's speech-to-intent benchmark: Apache-2.0.",
    ("sample_rate", "frame_size"),
)

PERMUTED = dataclasses.replace(CORPUS, options=(*CORPUS.options, "permutation"))

"""VCTK: wav48/pNNN/pNNN_NNN.wav, in 0.92 wav48_silence_trimmed/pNNN/pNNN_NNN_mic1.flac."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from srnn_tf.data.corpora import base, speech
from srnn_tf.data.corpora.base import Corpus, Found, Item, Options, Record

_FOLDERS = {"wav48": 48000, "wav48_silence_trimmed": 48000, "wav16": 16000}


def find(source: Path, options: Options) -> Found:
    """Find the recordings; split by the paper's lists if given, otherwise by speaker."""
    present = [name for name in _FOLDERS if (source / name).is_dir()]
    notes = []
    if len(present) > 1 and "wav16" in present:
        present.remove("wav16")
        notes = [f"its folder wav16 is left out; {', '.join(present)} is read"]
    if len(present) != 1:
        raise ValueError(
            f"{source} must hold one of the folders {', '.join(_FOLDERS)}; it holds "
            f"{', '.join(present) or 'none of them'}"
        )
    paths = base.files(source / present[0], (".wav", ".flac"))
    # Version 0.92 has two microphones; the first is the one of 0.80.
    paths = {k: p for k, p in paths.items() if not p.stem.endswith("_mic2")}
    items = base.items(paths, lambda relative: base.audio_name(relative).removesuffix("_mic1"))
    edition = {"wav48": "0.80", "wav48_silence_trimmed": "0.92"}.get(present[0], "")
    if options.lists is not None:
        names = {part: f"{part}_files_list.txt" for part in ("train", "valid", "test")}
        lists = base.lists_of(options, names)
        parts, missing, more = base.by_lists(items, lists, base.audio_name)
        return Found(parts, "by the lists given", missing, notes + more, edition)
    speakers: dict[str, list[Item]] = {}
    for key, item in items.items():
        speakers.setdefault(key.split("_")[0], []).append(item)
    parts = base.by_hash(speakers, "vctk", 0.1, 0.1, f"{source}: speakers")
    rule = "by speaker, ordered by the SHA-256 of 'vctk:SPEAKER': 10 % valid, 10 % test, the rest"
    return Found(parts, f"{rule} train", notes=notes, edition=edition)


def read(item: Item, options: Options) -> Iterator[Record]:
    folder = next(p.name for p in item.path.parents if p.name in _FOLDERS)
    return speech.read(item, options, expected=_FOLDERS[folder])


CORPUS = Corpus(
    "speech",
    find,
    read,
    "sample",
    "CSTR VCTK Corpus, University of Edinburgh: CC BY 4.0 (0.92), ODC-By 1.0 (0.80).",
    ("lists", "sample_rate", "frame_size"),
    (12.6e6, "steps"),
)

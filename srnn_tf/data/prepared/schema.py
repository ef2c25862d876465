"""The schema of the JSON files of a prepared data set, which are untrusted input."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

from srnn_tf.data import corpora, modality
from srnn_tf.data.corpora.splits import PARTS

_SHARD = re.compile(rf"({'|'.join(PARTS)})-\d{{5}}-of-\d{{5}}\.tfrecord")
MOST_VALUES = 1 << 20  # of a frame
SCALES = (1e-30, 2.0**25)  # of a stored number, which has 16 bits: sums of squares stay finite
STDS = (1e-30, 2.0**40)
_MOST = 1 << 40  # numbers of a sequence, samples a second, bytes: above it, it is no such thing


def wrong_field(content: dict[str, Any]) -> str | None:
    """The first invalid field of `dataset_info.json`, or None."""
    frame: Any = content.get("frame_size")
    if not _whole(frame, least=1) or frame > MOST_VALUES:
        return "frame_size"
    checks = {
        "name": lambda v: isinstance(v, str) and v in corpora.CORPORA,
        "kind": lambda v: isinstance(v, str) and v == corpora.get(content["name"]).kind,
        "frame_size": lambda v: v == (modality.get(content["kind"]).width or v),
        "dtype": lambda v: v == modality.get(content["kind"]).dtype,
        **{key: _text for key in ("unit", "edition", "split_rule", "licence", "index_sha256")},
        "sample_rate": lambda v: v is None or _whole(v, least=1),
        "mean": lambda v: _numbers(v, frame),
        "std": lambda v: _numbers(v, frame) and min(v) > 0,
        "permutation": lambda v: v is None or _permutation(v, frame),
        "skipped": lambda v: isinstance(v, list) and all(_pair(p) for p in v),
        "notes": lambda v: isinstance(v, list) and all(_text(n) for n in v),
        "parts": lambda v: isinstance(v, dict) and all(_counts(v.get(part)) for part in PARTS),
        "shards": lambda v: isinstance(v, dict) and all(_shard(*s) for s in v.items()),
    }
    return next((key for key, sound in checks.items() if not sound(content.get(key))), None)


def is_index(index: Any, content: dict[str, Any]) -> bool:
    """Whether every entry, [name, offset, size, scale], lies within its shard."""
    if not isinstance(index, dict) or set(index) != set(content["shards"]):
        return False
    width = np.dtype(content["dtype"]).itemsize
    return all(
        isinstance(entries, list)
        and all(_entry(entry, content["shards"][file]["bytes"], width) for entry in entries)
        for file, entries in index.items()
    )


def _entry(entry: Any, shard_bytes: int, width: int) -> bool:
    if not isinstance(entry, list) or len(entry) != 4 or not _text(entry[0]):
        return False
    _, offset, size, scale = entry
    whole = _whole(offset) and _whole(size, least=1) and _number(scale)
    return whole and SCALES[0] <= scale <= SCALES[1] and offset + size * width <= shard_bytes


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _whole(value: Any, least: int = 0) -> bool:
    return type(value) is int and least <= value <= _MOST


def _number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) <= _MOST and math.isfinite(value)


def _numbers(value: Any, frame: int) -> bool:
    return isinstance(value, list) and len(value) in (1, frame) and all(map(_number, value))


def _permutation(value: Any, frame: int) -> bool:
    whole = isinstance(value, list) and all(_whole(v) for v in value)
    return whole and sorted(value) == list(range(frame))


def _pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_text, value))


def _counts(value: Any) -> bool:
    keys = ("sequences", "steps", "values")
    return isinstance(value, dict) and all(_whole(value.get(key)) for key in keys)


def _shard(file: str, value: Any) -> bool:
    known = isinstance(value, dict) and _whole(value.get("bytes")) and _text(value.get("sha256"))
    return known and _SHARD.fullmatch(file) is not None

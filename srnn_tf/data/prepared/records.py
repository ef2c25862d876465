"""Shards: TFRecord files of sequences, written whole or not at all, read without being loaded."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from srnn_tf.core.files import replacing
from srnn_tf.data.corpora.base import Record

_HEAD = 12  # bytes in front of a record: its length and a checksum
_TAIL = 4
_CHUNK = 1 << 20  # numbers squared at once


class Entry(NamedTuple):
    """Where a sequence is in a shard, and the sums that its statistics are made of.

    Args:
        key: its name.
        offset: of its first number, in bytes.
        size: how many numbers.
        scale: of a number.
        sums, squares: of the stored numbers, per column; whole numbers, so that the statistics do
            not depend on the order in which they are added.
    """

    key: str
    offset: int
    size: int
    scale: float
    sums: list[int]
    squares: list[int]


def write_shard(path: Path, records: Iterable[Record], columns: int) -> list[Entry]:
    """Write records to a TFRecord file of `tf.train.Example`s and tell where each is.

    The features of an example: `id`, `values` (the numbers' bytes, little-endian), `scale`.

    Args:
        path: the file.
        records: int16 or uint8 arrays.
        columns: width of the frames that statistics are told apart by; 1 for samples.

    Raises:
        OSError: it cannot be written, for instance because the disk is full.
        ValueError: an error of a reader of `records`.
    """
    entries, position = [], 0
    with replacing(path) as temporary:
        try:
            with tf.io.TFRecordWriter(os.fsencode(temporary)) as writer:
                for record in records:
                    values = np.ascontiguousarray(record.values)
                    payload = values.astype(values.dtype.newbyteorder("<")).tobytes()
                    example = _example(record, payload)
                    offset = position + _HEAD + example.index(payload)
                    entries.append(_entry(record, offset, columns))
                    writer.write(example)
                    position += _HEAD + len(example) + _TAIL
        except tf.errors.OpError as error:
            raise OSError(None, error.message) from error
        # What is lost with a failing disk must not be taken for written.
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
            written = os.fstat(file.fileno()).st_size
        if written != position:
            raise OSError(None, f"{written} of {position} bytes were written")
    return entries


def _example(record: Record, payload: bytes) -> bytes:
    def of(value):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))

    scale = tf.train.Feature(float_list=tf.train.FloatList(value=[record.scale]))
    key = record.key.encode("utf-8", "surrogateescape")
    features = {"id": of(key), "values": of(payload), "scale": scale}
    example = tf.train.Example(features=tf.train.Features(feature=features))
    return example.SerializeToString(deterministic=True)


def _entry(record: Record, offset: int, columns: int) -> Entry:
    rows = record.values.reshape(-1, columns)
    sums, squares = np.zeros([columns], np.int64), np.zeros([columns], np.int64)
    for start in range(0, len(rows), _CHUNK):
        chunk = rows[start : start + _CHUNK].astype(np.int64)
        sums += chunk.sum(axis=0)
        squares += (chunk * chunk).sum(axis=0)
    key, size = record.key, record.values.size
    return Entry(key, offset, size, record.scale, sums.tolist(), squares.tolist())


def checksum(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file atomically; the same value gives the same bytes."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        ValueError: it is not one.
        OSError: it cannot be read.
    """
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: not JSON ({error})") from error


def say(text: str) -> None:
    """Progress, on standard error, so that output can be piped."""
    print(printable(text), file=sys.stderr, flush=True)


def printable(text: str) -> str:
    """The text with what is no text escaped: names of files may be any bytes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")

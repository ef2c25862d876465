"""Shards: TFRecord files of sequences, written atomically."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from srnn_tf.core import lazy, reading
from srnn_tf.core.files import replacing
from srnn_tf.data.corpora.base import Record

if TYPE_CHECKING:
    import tensorflow as tf
else:  # much of what imports this module does not need it
    tf = lazy.module("tensorflow")

_HEAD = 12  # bytes in front of a record: its length and a checksum
_TAIL = 4
_MOST_JSON = 1 << 28  # bytes; an index has about 60 for a sequence
_CHUNK = 1 << 20  # numbers squared at once


class Entry(NamedTuple):
    """The position of a sequence in a shard, and the sums for its statistics.

    Args:
        key: its name.
        offset: the position of its first value, in bytes.
        size: its number of values.
        scale: the factor by which stored values are multiplied.
        sums, squares: the sums of the stored values and of their squares, per column. They are
            integers, so that statistics do not depend on the order of summation.
    """

    key: str
    offset: int
    size: int
    scale: float
    sums: list[int]
    squares: list[int]


def write_shard(path: Path, records: Iterable[Record], columns: int) -> list[Entry]:
    """Write records to a TFRecord file of `tf.train.Example`s, and return their entries.

    The features of an example are `id`, `values` (bytes, little-endian) and `scale`.

    Args:
        path: the file.
        records: the records, with int16 or uint8 arrays.
        columns: the number of columns with separate statistics; 1 for samples.

    Raises:
        OSError: the file cannot be written, for instance because the disk is full.
        ValueError: a reader of `records` failed.
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
            # It tells the temporary path, which is of no use to a reader, and then the reason.
            raise OSError(str(error.message).rpartition("; ")[2]) from error
        # What is lost with a failing disk must not be taken for written.
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
            written = os.fstat(file.fileno()).st_size
        if written != position:
            raise OSError(f"{written} of {position} bytes were written")
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
        ValueError: the file is not JSON.
        OSError: it cannot be read.
    """
    try:
        return reading.read_json(path, _MOST_JSON)
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from error


def say(text: str) -> None:
    """Print progress on standard error, so that output can be piped."""
    print(printable(text), file=sys.stderr, flush=True)


def printable(text: str) -> str:
    """The text with undecodable bytes escaped: file names may be any bytes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")

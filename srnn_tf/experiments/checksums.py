"""Checksums and identities inside the files of a run, so that no damage is read in silence.

A JSON object ends with the SHA-256 of the file, in which that stands as zeros. Any other file (HDF5
and .npz files may be longer than their content) ends with the identity of its run as JSON, and with
a line that has the length of the identity and the SHA-256 of all before.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

from srnn_tf.core import reading

KEY = "sha256"
_ZEROS = "0" * 64
_IN_JSON = re.compile(rb'"sha256": "([0-9a-f]{64})"\n\}\n\Z')
_HEAD = "\nsrnn_tf checksum 1 {:08d} "
_LINE = re.compile(rb"\nsrnn_tf checksum 1 ([0-9]{8}) ([0-9a-f]{64})\n")
_LENGTH = len(_HEAD.format(0)) + 64 + 1
_LONGEST = 1 << 16  # bytes of an identity


class Sealed(NamedTuple):
    """What the end of a file says.

    Args:
        digest: the SHA-256 of the content, without the identity and the checksum.
        identity: of the run; None for a file without.
    """

    digest: str
    identity: dict[str, Any] | None


def json_text(values: dict[str, Any]) -> str:
    """The JSON text of values, with its checksum.

    Example:
        >>> json_text({"step": 3}).count("sha256")
        1
    """
    text = json.dumps({**values, KEY: _ZEROS}, indent=2) + "\n"
    digest = hashlib.sha256(text.encode()).hexdigest()
    return text[: -len(_ZEROS) - 4] + text[-len(_ZEROS) - 4 :].replace(_ZEROS, digest)


def read_json(path: Path, required: bool = False) -> tuple[dict[str, Any], bool]:
    """Read a JSON object, and say whether it had a checksum.

    Args:
        path: the file.
        required: whether a file without a checksum is an error.

    Raises:
        ValueError: the file is damaged.
    """
    content = reading.read_bytes(path, reading.MOST_JSON)
    found = _IN_JSON.search(content)
    if found:
        start, end = found.span(1)
        zeros = content[:start] + _ZEROS.encode() + content[end:]
        if hashlib.sha256(zeros).hexdigest() != found[1].decode():
            raise ValueError(f"{path} is damaged: its SHA-256 is not the one in it")
    elif required:
        raise ValueError(f"{path} is damaged, or of an earlier version: it has no checksum")
    try:
        values = reading.parse_json(content, finite=False)
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path} must be a JSON object; received {type(values).__name__}")
    return {k: v for k, v in values.items() if k != KEY}, found is not None


def append(path: Path, identity: dict[str, Any] | None) -> None:
    """Append an identity and the checksum to a file."""
    tail = b"" if identity is None else json.dumps(identity).encode()
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    head = tail + _HEAD.format(len(tail)).encode()
    digest.update(head)
    with open(path, "ab") as file:  # one write, to a file that a reader already takes as it is
        file.write(head + digest.hexdigest().encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def verify(path: Path, required: bool = False) -> Sealed:
    """Compare a file with its checksum.

    Args:
        path: the file.
        required: whether a file without a checksum is an error.

    Raises:
        ValueError: the file is damaged.
        OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        file.seek(max(0, size - _LENGTH))
        line = _LINE.fullmatch(file.read(_LENGTH))
        if line is None:
            if required:
                raise ValueError(f"{path} is damaged, or of an earlier version: it has no checksum")
            file.seek(0)
            return Sealed(hashlib.file_digest(file, "sha256").hexdigest(), None)
        end = size - _LENGTH - int(line[1])
        if end < 0 or int(line[1]) > _LONGEST:
            raise ValueError(f"{path} is damaged: an identity of {int(line[1])} bytes")
        file.seek(0)
        digest = hashlib.sha256()
        _update(digest, file, end)
        content = digest.hexdigest()
        tail = file.read(int(line[1]))
        digest.update(tail + _HEAD.format(len(tail)).encode())
        if digest.hexdigest() != line[2].decode():
            raise ValueError(f"{path} is damaged: its SHA-256 is not the one in it")
    return Sealed(content, json.loads(tail) if tail else None)


def _update(digest: Any, file: Any, size: int) -> None:
    while size > 0:
        chunk = file.read(min(size, 1 << 20))
        if not chunk:
            return  # cut off meanwhile: the digest is another one
        digest.update(chunk)
        size -= len(chunk)

"""Whether an Ogg file is one whole recording, which libsndfile does not tell.

It takes the last page that is there for the end, and reads the first of several recordings alone.
"""

from __future__ import annotations

import os
from pathlib import Path

from srnn_tf.core.files import place_of

_HEAD = 27  # bytes of a page in front of the table of its segments
_FIRST, _LAST = 2, 4  # marks of the first and the last page of a stream
_SKELETON = b"fishead\0"  # a stream that describes the others


def check(path: str | Path) -> None:
    """Refuse a file that is cut off, or holds several recordings.

    Raises:
        OSError: it cannot be read.
        ValueError: as said.
    """
    begun: set[int] = set()
    ended: set[int] = set()
    streams = 0
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        while True:
            at = file.tell()
            head = file.read(_HEAD)
            if len(head) < _HEAD or head[:4] != b"OggS":
                break
            table = file.read(head[26])
            following = at + _HEAD + head[26] + sum(table)
            serial = int.from_bytes(head[14:18], "little")
            if head[5] & _FIRST:
                begun.add(serial)
                streams += file.read(len(_SKELETON)) != _SKELETON
            if head[5] & _LAST and following <= size:
                ended.add(serial)
            file.seek(following)
    if place_of(path, b"OggS", at + 4) >= 0:
        raise ValueError(f"{path}: is damaged: what is at byte {at} is no page of Ogg")
    if streams > 1:
        raise ValueError(f"{path}: holds {streams} recordings in one file; split it")
    if at > size or not begun <= ended:
        raise ValueError(f"{path}: cut off: the last page of its stream is not there")

"""Whether an Ogg file is one whole recording, which libsndfile does not tell.

It takes the last page that is there for the end, goes on after pages that are damaged or missing,
and reads the first of several recordings alone.
"""

from __future__ import annotations

import zlib
from pathlib import Path

from srnn_tf.core.reading import place_of

_HEAD = 27  # bytes of a page in front of the table of its segments
_FIRST, _LAST = 2, 4  # marks of the first and the last page of a stream
_SKELETON = b"fishead\0"  # a stream that describes the others
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def check(path: str | Path) -> None:
    """Refuse a file that is cut off or damaged, or holds several recordings.

    Raises:
        OSError: it cannot be read.
        ValueError: as said.
    """
    next_page: dict[int, int] = {}  # of each stream
    unfinished: set[int] = set()
    streams = 0
    with open(path, "rb") as file:
        while True:
            at, head = file.tell(), file.read(_HEAD)
            if len(head) < _HEAD or head[:4] != b"OggS":
                break
            table = file.read(head[26])
            body = file.read(sum(table))
            if len(body) < sum(table):
                raise ValueError(_cut_off(path))
            serial, page = (int.from_bytes(head[i : i + 4], "little") for i in (14, 18))
            if head[5] & _FIRST:
                unfinished.add(serial)
                next_page[serial] = page
                streams += not body.startswith(_SKELETON)
            told = int.from_bytes(head[22:26], "little")
            if next_page.get(serial) != page or told != _checksum(head, table + body):
                raise ValueError(f"{path}: is damaged: the page of Ogg at byte {at} is not whole")
            next_page[serial] = page + 1 & 0xFFFFFFFF
            if head[5] & _LAST:
                unfinished.discard(serial)
    if place_of(path, b"OggS", at + 4) >= 0:
        raise ValueError(f"{path}: is damaged: what is at byte {at} is no page of Ogg")
    if streams > 1:
        raise ValueError(f"{path}: holds {streams} recordings in one file; split it")
    if unfinished or head[:4] == b"OggS":
        raise ValueError(_cut_off(path))


def _cut_off(path) -> str:
    return f"{path}: cut off: the last page of its stream is not there"


def _checksum(head: bytes, rest: bytes) -> int:
    """CRC-32 as Ogg has it: that of zlib with the bits of all bytes the other way around."""
    content = (head[:22] + bytes(4) + head[26:] + rest).translate(_REVERSED)
    bits = zlib.crc32(content, 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{bits:032b}"[::-1], 2)

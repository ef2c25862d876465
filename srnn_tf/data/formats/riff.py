"""How many bytes of samples a WAV file tells of, and how many are there.

libsndfile reads what is there of a file that is cut off. Nor does it read a file whose header was
never brought up to date after the samples had been written, as programs leave it that write to a
pipe or were stopped.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

FORMS = (b"RIFF", b"RIFX", b"RF64")
_MOST = 0xFFFFFFFF  # of a size of 32 bits
# A size that is not known is written as 0, or a little below, or at, what 31 or 32 bits can hold:
# 0x7ffff000 (SoX), 0x7fffffd4 (arecord), 0xffffffff (ffmpeg), each less some headers.
_UNKNOWN = ((0x7FFFF000, 0x80000000), (0xFFFFF000, _MOST))


class Samples(NamedTuple):
    """The chunk of samples.

    Args:
        told: bytes of samples, as the header has it; None if it says that it does not know.
        there: bytes that follow the header.
        patches: the sizes that they should be, by their places in the file; none where the file
            is right as it is.
    """

    told: int | None
    there: int
    patches: dict[int, bytes]


def samples_of(path: str | Path) -> Samples | None:
    """The chunk of samples of a WAV file; None for another file, or one without such a chunk.

    Raises:
        OSError: it cannot be read.
        ValueError: another file follows it.
    """
    with open(path, "rb") as file:
        size, head = os.fstat(file.fileno()).st_size, file.read(12)
        if head[:4] not in FORMS or len(head) < 12:
            return None
        order = "big" if head[:4] == b"RIFX" else "little"
        whole, wide = int.from_bytes(head[4:8], order), None
        while True:
            at, chunk = file.tell(), file.read(8)
            if len(chunk) < 8:
                return None
            told = int.from_bytes(chunk[4:], order)
            if chunk[:4] == b"data":
                break
            if chunk[:4] == b"ds64" and head[:4] == b"RF64":
                sizes = file.read(16)
                whole, wide = (int.from_bytes(sizes[i : i + 8], "little") for i in (0, 8))
            file.seek(at + 8 + told + told % 2)
        start, there = at + 8, size - (at + 8)
        if wide is not None and told == _MOST:
            told = wide if wide < 2**63 else 0
        if told == 0 and whole + 8 <= start or _is_unknown(told) and told > there:
            patches = {}
            if told == 0 and there <= _MOST - start:
                patches = {4: (start + there - 8).to_bytes(4, order)}
                patches[at + 4] = there.to_bytes(4, order)
            return Samples(None, there, patches)
        file.seek(max(start, whole + 8 + whole % 2))
        if file.read(4) in FORMS:
            raise ValueError(f"{path}: holds several recordings, one after another; split it")
    return Samples(told, there, {})


def _is_unknown(told: int) -> bool:
    return any(low <= told <= high for low, high in _UNKNOWN)


class _Patched(io.RawIOBase):
    """A file some bytes of which are others."""

    def __init__(self, file: Any, patches: dict[int, bytes]) -> None:
        self.file, self.patches = file, patches

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        return self.file.seek(offset, whence)

    def tell(self) -> int:
        return self.file.tell()

    def readinto(self, buffer: Any, /) -> int:
        at = self.file.tell()
        count = self.file.readinto(buffer)
        view = memoryview(buffer).cast("B")
        for place, content in self.patches.items():
            for i, byte in enumerate(content, place - at):
                if 0 <= i < count:
                    view[i] = byte
        return count


@contextlib.contextmanager
def patched(path: str | Path, patches: dict[int, bytes]) -> Iterator[Any]:
    """The file as it would be with these bytes in their places; it is not changed.

    Raises:
        OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        yield _Patched(file, patches)

"""MP3 files whose first frame does not state their length.

libsndfile estimates the length of such a file from its size and the bit rate of its first frame,
and reads no further: it stops too early if the bit rate varies, and promises too many samples
otherwise. From a pipe it reads to the end, and a truncated last frame is an error.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

_MARK = 256  # bytes; the mark of a first frame lies in these
_FRAME = 4096  # bytes, more than any frame has


def tells_its_length(path: str | Path) -> bool:
    """Whether the first frame of an MP3 file states how many frames follow."""
    with open(path, "rb") as file:
        _skip_tags(file)
        start = file.read(_MARK)
    at = _xing(start)
    if at >= 0:
        return len(start) > at + 7 and bool(start[at + 7] & 1)  # the count is optional
    return b"VBRI" in start


def is_followed(path: str | Path) -> bool:
    """Whether more sound comes after what the first frame of an MP3 file tells of.

    libsndfile reads as many frames as the first one tells, of files that were joined the first.
    """
    with open(path, "rb") as file:
        _skip_tags(file)
        first, start = file.tell(), file.read(_MARK)
        at = _xing(start)
        if at < 0 or len(start) < at + 16 or start[at + 7] & 3 != 3:  # a count, then the bytes
            return False
        file.seek(first + int.from_bytes(start[at + 12 : at + 16]))
        _skip_tags(file)
        rest = file.read(_MARK)
    return rest[:2] == start[:2] or _xing(rest) >= 0


def _xing(start: bytes) -> int:
    """Where the mark of a Xing or Info frame is; -1 where there is none."""
    return max(start.find(mark, 0, _MARK) for mark in (b"Xing", b"Info"))


def _skip_silent_frame(file: BinaryIO) -> None:
    """Go past a Xing frame: it holds no sound, and makes libsndfile look for its place again."""
    at, start = file.tell(), file.read(_FRAME)
    mark = _xing(start)
    following = start.find(start[:2], mark + 8) if mark >= 0 else 0
    file.seek(at + max(following, 0))


def _skip_tags(file: BinaryIO) -> None:
    """Go to what follows the ID3v2 tags, such as the picture of a cover."""
    while True:
        at, head = file.tell(), file.read(10)
        if len(head) < 10 or head[:3] != b"ID3":
            file.seek(at)
            return
        size = 0
        for byte in head[6:]:  # seven bits of each
            size = size << 7 | byte & 0x7F
        file.seek(size + 10 * (head[5] >> 4 & 1), os.SEEK_CUR)


@contextlib.contextmanager
def streamed(soundfile: Any, path: str | Path) -> Iterator[Any]:
    """A `SoundFile` that reads a file from a pipe, from start to end.

    Raises:
        OSError: the file cannot be read.
        LibsndfileError: it is not an MP3 file.
    """
    errors: list[OSError] = []

    def feed(file, writing):
        with os.fdopen(writing, "wb") as pipe:
            try:
                shutil.copyfileobj(file, pipe)
            except BrokenPipeError:  # the reader has given up
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
            except OSError as error:
                errors.append(error)

    with open(path, "rb") as source:
        _skip_tags(source)  # libsndfile knows no MP3 behind a large one in a pipe
        _skip_silent_frame(source)
        reading, writing = os.pipe()
        thread = threading.Thread(target=feed, args=(source, writing), daemon=True)
        thread.start()
        try:
            with soundfile.SoundFile(reading, closefd=False) as file:
                yield file
        finally:
            os.close(reading)
            thread.join()
            if errors:
                raise errors[0]

"""MP3 files whose first frame does not tell how long they are.

For such a file libsndfile takes the length for what the size of the file and the bits of its first
frame come to, and reads no further: too little where bits vary, and more than there is elsewhere.
From a pipe it reads to the end, and a last frame that is cut off is an error.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_MARKS = (b"Xing", b"Info", b"VBRI")  # of a first frame that tells the length
_FRAME = 4096  # bytes, more than any frame has


def tells_its_length(path: str | Path) -> bool:
    """Whether the first frame of an MP3 file says how many follow."""
    with open(path, "rb") as file:
        while (head := file.read(10))[:3] == b"ID3" and len(head) == 10:
            size = 0
            for byte in head[6:]:  # seven bits of each
                size = size << 7 | byte & 0x7F
            file.seek(size + 10 * (head[5] >> 4 & 1), os.SEEK_CUR)
        start = head + file.read(_FRAME)
    return any(mark in start for mark in _MARKS)


@contextlib.contextmanager
def streamed(soundfile: Any, path: str | Path) -> Iterator[Any]:
    """A `SoundFile` that reads a file from a pipe, front to back, whatever its length."""
    reading, writing = os.pipe()

    def feed():
        with open(path, "rb") as file, os.fdopen(writing, "wb") as pipe:
            with contextlib.suppress(BrokenPipeError):  # the reader has given up
                shutil.copyfileobj(file, pipe)

    thread = threading.Thread(target=feed, daemon=True)
    thread.start()
    try:
        with soundfile.SoundFile(reading, closefd=False) as file:
            yield file
    finally:
        os.close(reading)
        thread.join()

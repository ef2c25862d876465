"""Atomic writes of files, and views of what is in them."""

import mmap
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """A context manager that yields a temporary path, which replaces `path` on success.

    Readers see the old file or the complete new one, never a part. A failed block leaves nothing.

    Args:
        path: the file to write; its folder must exist. The temporary path has the same suffix.

    Raises:
        FileNotFoundError: the folder of `path` does not exist.
        IsADirectoryError: `path` is a folder.
        OSError: it cannot be written, for instance because the disk is full.

    Example:
        with replacing("song.mid") as temporary:
            temporary.write_bytes(b"...")
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"path={path} is a folder; a file name is needed")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"path={path}: the folder {path.parent} does not exist")
    temporary = path.with_name(f".{secrets.token_hex(4)}.{path.name}")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise OSError(error.errno, f"cannot write {path}: {reason}") from error
    finally:
        temporary.unlink(missing_ok=True)


def place_of(path: str | os.PathLike, mark: bytes, start: int = 0) -> int:
    """Where a file holds some bytes first, from a place on; -1 where it does not.

    Args:
        path: the file, which is not loaded into memory.
        mark: the bytes.
        start: the first place that counts.

    Raises:
        OSError: it cannot be read.

    Example:
        place_of("song.flac", b"fLaC")  # 0
    """
    with open(path, "rb") as file:
        if not os.fstat(file.fileno()).st_size:  # an empty file cannot be mapped
            return -1
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return content.find(mark, start)

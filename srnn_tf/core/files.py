"""Atomic writes of files."""

from __future__ import annotations

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

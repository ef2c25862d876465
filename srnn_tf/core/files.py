"""Writes that leave the old content or the new, locks of folders, and what killed writers left."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import secrets
import shutil
import socket
import stat
import sys
import tempfile
import time
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

from filelock import lock_descriptor

# Temporary folders: of which target, and one of how many. A lock in them tells that one is in use.
_TEMPORARY = re.compile(r"\.srnn_tf-[0-9a-f]{8}-[0-9a-f]{8}")
_LOCK = ".srnn_tf-lock"
_DESCRIPTORS = re.compile(r"/proc/(\d+)(/task/\d+)?/fd")
_LINKS = 40  # the most links in a row, as in Linux
_UNSUPPORTED = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """A context manager that yields a temporary path, whose content `path` gets on success.

    Readers see the old file or the complete new one, never a part. A failed block leaves nothing. A
    new file keeps the mode of the old one. Links stay links: the file they lead to is written. A
    file with several names, a device or a FIFO is not replaced: it is written through, once its
    content is complete. A later call removes what a killed one left.

    Args:
        path: the file to write; its folder must exist. The temporary path has the same name.

    Raises:
        FileNotFoundError: the folder of `path` does not exist.
        IsADirectoryError: `path` is a folder.
        PermissionError: the file may not be written.
        OSError: it cannot be written, for instance because the disk is full; or it is a socket or a
            disk.

    Example:
        with replacing("song.mid") as temporary:
            temporary.write_bytes(b"...")
    """
    path = Path(path)
    output = _output(path)
    through, target, old = output.through, output.target, output.old
    folder = Path(tempfile.gettempdir()) if through else target.parent
    with _named(path), workspace(folder, target.name) as parent:
        temporary = parent / target.name
        yield temporary
        if through:
            _write_through(temporary, path, output.descriptor)
        elif old is not None and old.st_nlink > 1:
            _overwrite(temporary, target)
        else:
            if old is not None:
                # Only an administrator gives files away, and Windows has no such call.
                with contextlib.suppress(OSError, AttributeError):
                    os.chown(temporary, old.st_uid, old.st_gid)
                os.chmod(temporary, stat.S_IMODE(old.st_mode))
            _sync(temporary)
            os.replace(temporary, target)


def check_output(
    name: str, path: str | os.PathLike, inputs: Iterable[str | os.PathLike] = ()
) -> None:
    """Check that a file can be written, before the work that gives its content.

    Args:
        name: the name of the argument, for the error.
        path: the file.
        inputs: the files that are read, none of which may be the output.

    Raises:
        ValueError: it is one of the inputs, whatever names and links lead there.
        OSError: as in `replacing`, as far as that is known before.

    Example:
        check_output("--output", "scores.csv", ["chorale.mid"])
    """
    _output(Path(path))
    for given in inputs:
        same = os.path.realpath(path) == os.path.realpath(given)
        with contextlib.suppress(OSError):
            # Devices can be read and written: /dev/stdin and /dev/stdout are often one terminal.
            same = same or os.path.samefile(path, given)
            same = same and not _is_stream(os.stat(given).st_mode)
        if same:
            raise ValueError(f"{name}={path} is the input {given}; name another file")


class _Output(NamedTuple):
    """Where and how a file is written."""

    target: Path
    old: os.stat_result | None
    descriptor: int | None
    through: bool


def _output(path: Path) -> _Output:
    descriptor = _descriptor(path)
    with _named(path):
        old = None if descriptor is None and not path.exists() else os.stat(path)
        target = Path(os.path.realpath(path)) if path.is_symlink() else path
        if old is None and target.is_symlink():
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    if old is not None and stat.S_ISDIR(old.st_mode):
        raise IsADirectoryError(f"path={path} is a folder; a file name is needed")
    through = descriptor is not None or (old is not None and _is_stream(old.st_mode))
    if old is not None and not through:
        if not stat.S_ISREG(old.st_mode):
            what = "a socket" if stat.S_ISSOCK(old.st_mode) else "a disk"
            raise OSError(f"path={path} is {what}; a file, a device or a FIFO is needed")
        if not os.access(path, os.W_OK):
            raise PermissionError(f"path={path} may not be written: its mode does not allow it")
    if not through and not target.parent.is_dir():
        raise FileNotFoundError(f"path={path}: the folder {target.parent} does not exist")
    if not through and not os.access(target.parent, os.W_OK):
        raise PermissionError(f"path={path}: the folder {target.parent} may not be written")
    return _Output(target, old, descriptor, through)


@contextlib.contextmanager
def creating(path: str | os.PathLike) -> Iterator[Path]:
    """A context manager that yields a path for a new folder, which becomes `path` on success.

    A failed block leaves nothing. A later call removes what a killed one left.

    Args:
        path: the folder to create, in one that exists.

    Raises:
        FileExistsError: something is at `path`, be it a link that leads nowhere.
        FileNotFoundError: the folder of `path` does not exist.
        OSError: it cannot be written, for instance because the disk is full.

    Example:
        with creating("exported/1") as temporary:
            temporary.mkdir()
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"path={path}: the folder {path.parent} does not exist")
    _check_free(path)
    with _named(path), workspace(path.parent, path.name) as parent:
        yield parent / path.name
        _check_free(path)
        os.rename(parent / path.name, path)


def sweep(folder: str | os.PathLike, name: str | None = None) -> None:
    """Remove temporary folders of killed writers; those of processes that live stay.

    Args:
        folder: the folder that they are in.
        name: only those of this file or folder; of all by default.
    """
    begin = "" if name is None else _beginning(name)
    try:
        names = [n for n in os.listdir(folder) if _TEMPORARY.fullmatch(n) and n.startswith(begin)]
    except OSError:
        return  # what cannot be listed cannot be written either
    for temporary in names:
        path = Path(folder) / temporary
        with contextlib.suppress(OSError):
            if not (path / _LOCK).exists():
                path.rmdir()  # of one that was killed at once, or is about to make its lock
                continue
            with open(path / _LOCK, "a") as file:
                if lock_descriptor(file.fileno(), blocking=False):
                    shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def locked(path: str | os.PathLike, what: str, wait: float = 0.0) -> Iterator[None]:
    """A context manager that holds a lock file; the lock ends with the process, however it ends.

    Args:
        path: the lock file, in a folder that exists; it is removed at the end.
        what: what the lock is of, for the error.
        wait: the seconds to wait for another process.

    Raises:
        BlockingIOError: another process holds it; the error names it.
        OSError: the file cannot be written.

    Example:
        with locked("runs/f_rnn_bach/.lock", "runs/f_rnn_bach"):
            ...
    """
    deadline = time.monotonic() + wait
    while (file := _acquired(Path(path), what, deadline, wait)) is None:
        time.sleep(0.1)
    with file:
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                os.unlink(path)


@contextlib.contextmanager
def made(folder: str | os.PathLike) -> Iterator[None]:
    """A context manager that makes a folder and those it is in.

    Where the block fails, those that it made and that are empty are removed.

    Raises:
        OSError: the folder cannot be made.

    Example:
        with made("runs/bach"), creating("runs/bach/1") as temporary:
            temporary.mkdir()
    """
    path = Path(folder)
    missing = [p for p in (path, *path.parents) if not os.path.lexists(p)]
    try:
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise type(error)(f"cannot make the folder {path}: {error.strerror}") from error
        yield
    except BaseException:
        with contextlib.suppress(OSError):  # of one that is not empty, all that it is in stay
            for empty in missing:
                empty.rmdir()
        raise


def _acquired(path: Path, what: str, deadline: float, wait: float) -> IO[Any] | None:
    """The lock file, held; None to try again."""
    file = open(path, "a+")  # noqa: SIM115  # is returned
    try:
        if not lock_descriptor(file.fileno(), blocking=False):
            raise BlockingIOError
        if not os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
            file.close()  # the last holder has just removed it
            return None
    except FileNotFoundError:
        file.close()
        return None
    except BlockingIOError:
        file.seek(0)
        holder = file.read().strip() or "another process"
        file.close()
        if time.monotonic() < deadline:
            return None
        waited = f"; waited {wait:g} s" if wait else ""
        raise BlockingIOError(f"{what} is in use by {holder}{waited}") from None
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            file.close()
            raise
        warnings.warn(f"{path} cannot be locked ({error.strerror})", stacklevel=3)
    began = time.strftime("%Y-%m-%d %H:%M:%S")
    holder = f"process {os.getpid()} on {socket.gethostname()}, since {began}\n"
    try:
        file.truncate(0)
        os.write(file.fileno(), holder.encode())  # unbuffered: closing must not try once more
    except OSError as error:  # the disk is full
        os.unlink(path)
        file.close()
        raise OSError(error.errno, f"cannot write {path}: {error.strerror}") from error
    return file


@contextlib.contextmanager
def workspace(folder: Path, name: str) -> Iterator[Path]:
    """A context manager that yields a temporary folder in `folder`, locked, removed at the end.

    A later call of the same name removes what a killed process left.

    Args:
        folder: the folder to make it in.
        name: what it is for.

    Raises:
        OSError: it cannot be made.

    Example:
        with workspace(Path("/tmp"), "programs") as temporary:
            (temporary / "part").touch()
    """
    sweep(folder, name)
    file, process = None, os.getpid()
    while file is None:
        path = folder / f"{_beginning(name)}{secrets.token_hex(4)}"
        path.mkdir()
        try:
            file = open(path / _LOCK, "w")  # noqa: SIM115  # is closed below
            if not _held(file) or not (path / _LOCK).exists():
                file.close()
                file = None
        except FileNotFoundError:
            file = None  # swept before it was locked
    try:
        yield path
    finally:
        if os.getpid() == process:  # and not a fork, which ends before it
            shutil.rmtree(path, ignore_errors=True)
        file.close()


def _held(file: IO[Any]) -> bool:
    """Whether this process has the lock, be it on a disk that has none, where none can be swept."""
    try:
        return lock_descriptor(file.fileno(), blocking=False)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
    return True


def _beginning(name: str) -> str:
    return f".srnn_tf-{hashlib.sha256(os.fsencode(name)).hexdigest()[:8]}-"


def _check_free(path: Path) -> None:
    if os.path.lexists(path):
        raise FileExistsError(f"{path} exists; name a folder that does not")


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """Errors of the system name the file that was to be written."""
    try:
        yield
    except OSError as error:
        if error.errno is None and str(path) in str(error):
            raise  # one of this package
        if error.errno:
            reason = os.strerror(error.errno)
            raise OSError(error.errno, f"cannot write {path}: {reason}") from error
        reason = str(error)
        if isinstance(error, shutil.Error) and isinstance(error.args[0], list):
            reason = error.args[0][0][-1]  # of the first file of a folder, as text
        raise OSError(f"cannot write {path}: {reason}") from error


def _is_stream(mode: int) -> bool:
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)


def _descriptor(path: Path) -> int | None:
    """The open file of this process that a path such as /dev/stdout stands for, or None."""
    for _ in range(_LINKS):
        match = _DESCRIPTORS.fullmatch(os.path.realpath(path.parent))
        if match and int(match[1]) == os.getpid() and path.name.isdecimal():
            return int(path.name)
        if not path.is_symlink():
            return None
        path = path.parent / os.readlink(path)
    return None


def _write_through(temporary: Path, path: Path, descriptor: int | None) -> None:
    if descriptor is not None:
        sys.stdout.flush()  # what was printed before comes before
        sys.stderr.flush()
    target = path if descriptor is None else os.dup(descriptor)
    with open(temporary, "rb") as source, open(target, "wb") as file:
        shutil.copyfileobj(source, file)


def _overwrite(temporary: Path, target: Path) -> None:
    """Copy into a file that has several names; where the disk is full it is left as it was."""
    with open(temporary, "rb") as source, open(target, "r+b") as file:
        old, size = (os.fstat(f.fileno()).st_size for f in (file, source))
        try:
            if size > old and hasattr(os, "posix_fallocate"):  # not on Windows and macOS
                os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                os.ftruncate(file.fileno(), old)
                raise
        shutil.copyfileobj(source, file)
        file.truncate(size)
        file.flush()
        os.fsync(file.fileno())


def _sync(path: Path) -> None:
    """Some disks tell that they are full only here."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())

"""Compiled programs of earlier processes: XLA's persistent cache, made safe and bounded in size.

XLA reads an entry as it finds it: a damaged one is an error, or ends the process, and a full disk
is an error. So it never sees the user's folder. Each process has a temporary folder of its own,
with links to the entries whose checksums are right; what it compiles is copied to the user's folder
when it ends. Without the environment variable `SRNN_TF_COMPILE_CACHE` nothing of this happens.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import importlib.abc
import importlib.metadata
import os
import platform
import re
import shutil
import stat
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

SWITCH = "SRNN_TF_COMPILE_CACHE"
FLAGS = "TF_XLA_FLAGS"
DIRECTORY = "--tf_xla_persistent_cache_directory="
# Of a GPU's kind the name of a folder says nothing.
_CPU = "--tf_xla_persistent_cache_device_types=CPU"
_READ_ONLY = "--tf_xla_persistent_cache_read_only=true"
# A flag that names the temporary folder of a process.
_INHERITED = re.compile(rf"{DIRECTORY}.*/\.srnn_tf-[0-9a-f-]+/programs$")
# The most bytes of all programs, of all versions. They are read when a process begins.
MOST = 100 << 20
_NAME = r"xla_compile_cache__\d+__\d+__XLA_CPU_JIT\.pb"
_ENTRY = re.compile(rf"{_NAME}\.[0-9a-f]{{32}}")  # with the checksum of its content
_OFF, _ON = ("", "0", "false", "off", "no"), ("1", "true", "on", "yes")
# What else a program depends on, beside the folder's names and what XLA compares by itself.
_SETTINGS = (FLAGS, "XLA_FLAGS", "TF_ENABLE_ONEDNN_OPTS")


def install(version: str) -> None:
    """Let TensorFlow, when it is imported, use the folder of `SWITCH`, if that is set.

    Args:
        version: that of this package: a later one does not read what an earlier one compiled.
    """
    if os.environ.get(SWITCH, "").lower() in _OFF or any(map(_is_ours, sys.meta_path)):
        return
    if "tensorflow" in sys.modules:  # too late only where it has worked already
        _set_flags(version)
    else:
        sys.meta_path.insert(0, _Finder(version))


def folder() -> Path:
    """The user's folder: the value of `SWITCH`, or one in the user's cache where that is 1."""
    given = os.environ[SWITCH]
    if given.lower() not in _ON:
        return Path(given).expanduser().absolute()
    if os.environ.get("SRNN_TF_CACHE"):
        return Path(os.environ["SRNN_TF_CACHE"]).absolute() / "programs"
    import platformdirs

    return platformdirs.user_cache_path("srnn_tf", appauthor=False) / "programs"


def _is_ours(finder: Any) -> bool:
    return isinstance(finder, _Finder)


class _Finder(importlib.abc.MetaPathFinder):
    """Finds nothing, but notices that TensorFlow is about to be imported."""

    def __init__(self, version: str):
        self.version = version

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: Any = None
    ) -> ModuleSpec | None:
        if fullname == "tensorflow" and self in sys.meta_path:
            sys.meta_path.remove(self)
            _set_flags(self.version)
        return None


def _set_flags(version: str) -> None:
    """Add to the user's flags. TensorFlow reads them when it does the first work."""
    given = os.environ.get(FLAGS, "").split()
    if any(map(_INHERITED.search, given)):  # of the process that started this one
        given = [f for f in given if not _INHERITED.search(f) and f not in (_CPU, _READ_ONLY)]
    os.environ[FLAGS] = " ".join(given)
    if DIRECTORY not in os.environ[FLAGS]:  # else the user has a cache already
        os.environ[FLAGS] = " ".join([*given, *_begin(version)])


def _begin(version: str) -> list[str]:
    """Prepare the folder of this process: the flags that name it; none if that is not possible."""
    from srnn_tf.core import files

    entered = contextlib.ExitStack()
    try:
        root = folder()
        kept = root / _kind(version)
        _make(root)
        kept.mkdir(mode=0o700, exist_ok=True)
        own = entered.enter_context(files.workspace(Path(tempfile.gettempdir()), "programs"))
        own.chmod(0o700)
        programs = own / "programs"
        programs.mkdir()
        _link(kept, programs)
        free = shutil.disk_usage(programs).free
    except (OSError, ValueError, RuntimeError) as error:
        entered.close()
        _warn(str(error))
        return []
    atexit.register(_end, os.getpid(), entered, root, kept, programs)
    # A program that cannot be written is an error to XLA.
    return [f"{DIRECTORY}{programs}", _CPU, *([] if free > 2 * MOST else [_READ_ONLY])]


def _kind(version: str) -> str:
    """The name of the folder for this version of both packages and this kind of CPU."""
    found = []
    for name in ("tensorflow", "tensorflow-cpu", "intel-tensorflow"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found.append(importlib.metadata.version(name))
    if not found:
        raise RuntimeError("the version of TensorFlow is not known")
    machine = [platform.system(), platform.machine(), platform.processor(), os.cpu_count()]
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as file:
        lines = [line for line in file if line.split(":")[0].strip() in ("model name", "flags")]
        machine += sorted(set(lines))
    machine += [os.environ.get(name) for name in _SETTINGS]
    kind = hashlib.sha256(repr(machine).encode()).hexdigest()[:12]
    return f"srnn_tf-{version}-tensorflow-{found[0]}-{kind}"


def _make(root: Path) -> None:
    """Make the user's folder, or check that no other user can write to it.

    Raises:
        PermissionError: another user can: programs are code that is run.
        OSError: it cannot be made.
    """
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not hasattr(os, "getuid"):
        return
    status = os.stat(root)
    if status.st_uid != os.getuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError(f"the folder {root} must be yours, and writable by you alone")


def _link(kept: Path, programs: Path) -> None:
    """Link the entries whose checksums are right; remove the others."""
    for path in sorted(_entries(kept), key=_used):  # of two of one name, the newer one stays
        name, _, checksum = path.name.rpartition(".")
        with contextlib.suppress(OSError):
            if path.is_symlink() or not path.is_file() or _checksum(path) != checksum:
                path.unlink()
                continue
            # Where the disk notes times of access, `_end` knows by them what XLA has read.
            with contextlib.suppress(OSError):
                os.utime(path, (0, _used(path)))
            with contextlib.suppress(FileNotFoundError):
                (programs / name).unlink()
            (programs / name).symlink_to(path)


def _end(pid: int, entered: contextlib.ExitStack, root: Path, kept: Path, programs: Path) -> None:
    """Keep what this process compiled, and remove what has not been used for longest."""
    if os.getpid() != pid:
        return  # a fork of it
    from srnn_tf.core import files

    with entered, contextlib.suppress(OSError):
        for path in programs.iterdir():
            with contextlib.suppress(OSError):
                if not re.fullmatch(_NAME, path.name):
                    continue  # one that was not written to its end
                if path.is_symlink():
                    if path.stat().st_atime > 0:
                        os.utime(path)
                elif path.stat().st_size <= MOST:
                    with files.replacing(kept / f"{path.name}.{_checksum(path)}") as temporary:
                        shutil.copyfile(path, temporary)
        _bound(root)


def _bound(root: Path) -> None:
    """Remove the entries of all versions that were used before others, until `MOST` are left."""
    entries = [path for kept in root.glob("srnn_tf-*") for path in _entries(kept)]
    total = 0
    for path in sorted(entries, key=_used, reverse=True):
        with contextlib.suppress(OSError):
            total += path.stat().st_size
            if total > MOST:
                path.unlink()
                path.parent.rmdir()  # if it was the last one


def _entries(kept: Path) -> list[Path]:
    return [path for path in kept.iterdir() if _ENTRY.fullmatch(path.name)]


def _used(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except OSError:
        return time.time()


def _checksum(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def _warn(why: str) -> None:
    warnings.warn(
        f"{SWITCH}={os.environ.get(SWITCH)} has no effect, and programs are compiled anew: {why}",
        RuntimeWarning,
        stacklevel=2,
    )

"""A command's stderr without TensorFlow's log."""

from __future__ import annotations

import contextlib
import importlib.abc
import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec
from typing import Any

LEVEL = "TF_CPP_MIN_LOG_LEVEL"


def install() -> None:
    """Let the first import of TensorFlow, wherever it is, print nothing unless it fails.

    With a `TF_CPP_MIN_LOG_LEVEL` below 3 it prints what it always prints.
    """
    if os.environ.get(LEVEL, "3") == "3" and "tensorflow" not in sys.modules and not _finders():
        sys.meta_path.insert(0, _Finder())


def uninstall() -> None:
    """Let TensorFlow print its log: to find out what is wrong with an installation."""
    for finder in _finders():
        sys.meta_path.remove(finder)


def _finders() -> list[Any]:
    return [finder for finder in sys.meta_path if isinstance(finder, _Finder)]


class _Finder(importlib.abc.MetaPathFinder):
    """Finds TensorFlow as it is found without this, once."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: Any = None
    ) -> ModuleSpec | None:
        if fullname != "tensorflow":
            return None
        uninstall()
        spec = importlib.util.find_spec(fullname)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def execute_quietly(module: Any) -> None:
            # Of what comes after the import the level is obeyed; of the import itself it is not.
            os.environ.setdefault(LEVEL, "3")
            with silenced():
                execute(module)

        setattr(spec.loader, "exec_module", execute_quietly)  # noqa: B010  # is no attribute to ty
        return spec


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """A context manager that keeps what libraries in C write to stderr, and shows it on an error.

    `sys.stderr` alone would not do: they write to the descriptor.
    """
    try:
        sys.stderr.flush()
        kept = os.dup(2)
    except (OSError, ValueError, AttributeError):  # no stderr, as under pythonw
        yield
        return
    with tempfile.TemporaryFile() as log:
        os.dup2(log.fileno(), 2)
        try:
            yield
        except Exception:
            _restore(kept)
            kept = -1
            log.seek(0)
            with contextlib.suppress(OSError), open(2, "wb", closefd=False) as stderr:
                shutil.copyfileobj(log, stderr)
            raise
        finally:
            if kept >= 0:
                _restore(kept)


def _restore(kept: int) -> None:
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.flush()
    os.dup2(kept, 2)
    os.close(kept)

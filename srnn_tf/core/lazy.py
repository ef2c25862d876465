"""Imports on first use, so that what needs no TensorFlow does not wait for it."""

from __future__ import annotations

import importlib
import types
from collections.abc import Callable, Mapping
from typing import Any


class _Module(types.ModuleType):
    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self.__name__), name)


def module(name: str) -> Any:
    """A module that is imported when an attribute of it is first read.

    For the type checker, import it under `TYPE_CHECKING` as usual.

    Example:
        >>> module("math").floor(2.5)
        2
    """
    return _Module(name)


def attributes(
    package: str, names: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Make `__getattr__` and `__dir__` of a package whose names are imported on first use.

    Args:
        package: the `__name__` of the package.
        names: from each name to the module that defines it; a name that is a module itself, to
            that module.

    Example:
        >>> getattr_, dir_ = attributes("srnn_tf.core", {"shortened": "srnn_tf.core.reading"})
        >>> getattr_("shortened")("text")
        "'text'"
    """

    def __getattr__(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        source = importlib.import_module(names[name])
        value = source if names[name] == f"{package}.{name}" else getattr(source, name)
        vars(importlib.import_module(package))[name] = value  # found at once from now on
        return value

    def __dir__() -> list[str]:
        return sorted({*vars(importlib.import_module(package)), *names})

    return __getattr__, __dir__

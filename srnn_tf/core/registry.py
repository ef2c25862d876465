"""Registries: from names to classes, and from instances to configs and back."""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

MODULE = "module"  # in a config: where a class of a third party is defined
Base = TypeVar("Base")
# Arguments of Keras' layers that those of this package set themselves.
_OF_KERAS = ("activity_regularizer", "autocast")
MANY = 40  # names, above which an error does not list them all


def register(kind: str, registry: dict[str, type[Base]], base: type[Base]) -> Callable[..., Any]:
    """Make the public `register` of a registry: a function and a class decorator.

    Args:
        kind: the kind of the classes, for errors.
        registry: a dict from names to classes.
        base: the base class of all classes.

    Example:
        >>> known = {}
        >>> @register("number", known, int)("mine")
        ... class Mine(int): pass
        >>> known["mine"] is Mine
        True
    """

    def add(name: str, cls: type | None = None) -> Any:
        """Register a class under a name; without a class, return a decorator.

        Configs contain the name and the module of the class. Import that module before you load
        them.

        Args:
            name: letters, digits and underscores.
            cls: the class.

        Raises:
            ValueError: the name is taken or invalid, or the class has another base class.
        """
        if cls is None:
            return functools.partial(add, name)
        if not isinstance(name, str) or not name.isidentifier():
            raise ValueError(
                f"the name of a {kind} must be letters, digits and underscores; received {name!r}"
            )
        if not isinstance(cls, type) or not issubclass(cls, base):
            raise ValueError(f"a {kind} must be a subclass of {base.__name__}; received {cls!r}")
        if registry.get(name, cls) is not cls and not _same(registry[name], cls):
            raise ValueError(f"the {kind} {name!r} is registered already: {registry[name]!r}")
        registry[name] = cls
        return cls

    return add


def _same(one: type, other: type) -> bool:
    """Whether both are the same class, from a module that was imported again."""
    return (one.__module__, one.__qualname__) == (other.__module__, other.__qualname__)


def unknown(kind: str, name: object, known: Iterable[str]) -> ValueError:
    """The error for an unknown name; it suggests the nearest known one."""
    known = sorted(known)
    near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.4)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    shown = ", ".join(known) if len(known) <= MANY else f"{len(known)} of them"
    return ValueError(f"unknown {kind} {name!r}.{hint} Known: {shown}")


def describe(registry: Mapping[str, type], instance: Any) -> dict[str, Any]:
    """The config of an instance: its constructor arguments and, under `class`, its name."""
    names = [name for name, cls in registry.items() if cls is type(instance)]
    if not names:
        raise ValueError(
            f"{type(instance).__name__} is not registered, and could not be saved; `register` it. "
            f"Registered: {', '.join(registry)}"
        )
    config = {"class": names[0], **instance.get_config()}
    module = type(instance).__module__
    # Of a third party, what must be imported to know the name.
    return config if module.split(".")[0] == __name__.split(".")[0] else {**config, MODULE: module}


def create(kind: str, registry: Mapping[str, type], config: Any, base: type) -> Any:
    """An instance from a config of `describe` or from a name; an instance of `base` as it is."""
    if isinstance(config, base):
        return config
    if not isinstance(config, (str, Mapping)):
        raise ValueError(
            f"`{kind}` must be a {base.__name__}, a name or a config; "
            f"received {type(config).__name__}"
        )
    config = {"class": config} if isinstance(config, str) else dict(config)
    name, module = config.pop("class", None), config.pop(MODULE, None)
    if name not in registry and module is not None:
        raise ValueError(
            f"the {kind} {name!r} is defined in the module {module!r}, which is not imported; "
            f"import it first (in commands: --import {module})"
        )
    if name not in registry:
        raise unknown(kind, name, registry)
    cls = registry[str(name)]
    check_arguments(f"the {kind} {name!r}", cls, config)
    return cls(**config)


def check_arguments(owner: str, cls: type, config: Mapping[str, Any]) -> None:
    """Check the keys of a config against the constructor of its class.

    Raises:
        ValueError: it is no mapping; a key is unknown, and the error suggests the nearest known
            one; or a required one is missing.
    """
    if not isinstance(config, Mapping):
        raise ValueError(f"{owner} must be a dict of arguments; received {config!r}")
    known, required = _arguments(cls)
    for key in config:
        if key not in known:
            raise unknown(f"argument of {owner}", key, {*known})
    missing = [name for name in required if name not in config]
    if missing:
        received = ", ".join(config) or "none"
        raise ValueError(f"{owner} needs `{'`, `'.join(missing)}`; received {received}")


def _arguments(cls: type) -> tuple[list[str], list[str]]:
    """The arguments of a constructor, and those without a default.

    Where it passes further ones on, those of the base class are its own too.
    """
    known: list[str] = []
    required: list[str] | None = None
    for base in cls.__mro__:
        if base is object or "__init__" not in vars(base):
            continue
        parameters = list(inspect.signature(vars(base)["__init__"]).parameters.values())[1:]
        named = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
        known += [p.name for p in named if p.name not in _OF_KERAS]
        if required is None:  # what a base class requires, a constructor above it may give
            required = [p.name for p in named if p.default is p.empty]
        if all(p.kind != p.VAR_KEYWORD for p in parameters):
            break
    return known, required or []

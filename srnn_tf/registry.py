"""Names to classes and back: how structures, emissions and likelihoods are written to a config."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

MANY = 40  # names, above which an error does not list them all


def unknown(kind: str, name: str, known: Iterable[str]) -> ValueError:
    """The error for a name that is not known, with the nearest one that is."""
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
            f"{type(instance).__name__} is not registered; registered: {', '.join(registry)}"
        )
    return {"class": names[0], **instance.get_config()}


def create(kind: str, registry: Mapping[str, type], config: Any, base: type) -> Any:
    """An instance from what `describe` returned, from a name, or the instance of `base` itself."""
    if isinstance(config, base):
        return config
    if not isinstance(config, (str, Mapping)):
        raise ValueError(
            f"`{kind}` must be a {base.__name__}, a name or a config; "
            f"received {type(config).__name__}"
        )
    config = {"class": config} if isinstance(config, str) else dict(config)
    name = config.pop("class", None)
    if name not in registry:
        raise unknown(kind, name, registry)
    return registry[name](**config)

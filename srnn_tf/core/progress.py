"""Progress, shown on stderr where that is a terminal and nowhere else."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TypeVar

Item = TypeVar("Item")


def track(items: Iterable[Item], label: str, total: int | None = None) -> Iterable[Item]:
    """The same items; a bar shows how many of them were taken.

    Args:
        items: what is worked on, one after another.
        label: what is done, shown before the bar.
        total: the number of items, if they have no length.

    Example:
        for path in track(paths, "reading"):
            ...
    """
    from rich import progress
    from rich.console import Console

    console = Console(stderr=True)
    hidden = not console.is_terminal
    return progress.track(items, label, total, console=console, disable=hidden, transient=True)


def tell(line: str) -> None:
    """Print a line on what was done, for someone who watches."""
    if sys.stderr is not None and sys.stderr.isatty():
        print(line, file=sys.stderr, flush=True)

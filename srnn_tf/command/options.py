"""Options that several commands share."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

FILE = click.Path(path_type=Path)
name = click.argument("name")
server = click.option(
    "--server",
    metavar="ADDRESS",
    help="TensorFlow Serving, host:8500 (gRPC) or http://host:8501; this process by default.",
)
timeout = click.option(
    "--timeout",
    default=60.0,
    show_default=True,
    help="The timeout of a request to the server, in seconds.",
)
batch_size = click.option(
    "--batch-size",
    default=32,
    type=click.IntRange(min=1),
    show_default=True,
    help="The most sequences to score at once; fewer take less memory.",
)
steps_per_quarter = click.option(
    "--steps-per-quarter",
    default=2,
    show_default=True,
    help="Frames in a quarter note, for MIDI files.",
)
data = click.option("--data", help="The prepared folder, or the file of piano rolls.")
edition = click.option("--edition", help='A known edition of the piano rolls, or "any".')


def importing(command: click.Command) -> click.Command:
    """Add `--import MODULE` to a command, or to each command of a group."""
    if isinstance(command, click.Group):
        for part in command.commands.values():
            importing(part)
        return command
    option = click.Option(
        ["--import", "modules"],
        multiple=True,
        metavar="MODULE",
        is_eager=True,
        expose_value=False,
        callback=lambda context, option, names: import_modules(names),
        help="Your own module, imported first to register its classes; repeatable.",
    )
    command.params.append(option)
    return command


def import_modules(names: Sequence[str]) -> None:
    """Import modules by name, also from the working folder.

    Raises:
        ImportError: a module cannot be imported; the error names it.
    """
    if names and os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise ImportError(f"--import {name}: {error}") from error

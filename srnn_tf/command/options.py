"""Arguments that several commands have."""

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
    help="host:8500 (gRPC) or http://host:8501 of TensorFlow Serving; this process by default.",
)
timeout = click.option(
    "--timeout",
    default=60.0,
    show_default=True,
    help="Seconds that a server may take for a request.",
)
batch_size = click.option(
    "--batch-size",
    default=32,
    type=click.IntRange(min=1),
    show_default=True,
    help="The most sequences that are scored at once: fewer take less memory.",
)
steps_per_quarter = click.option(
    "--steps-per-quarter",
    default=2,
    show_default=True,
    help="Of MIDI files: frames in a quarter note.",
)
data = click.option("--data", help="The prepared folder, or the file of piano rolls.")
edition = click.option("--edition", help='Of piano rolls: a known edition, or "any".')


def importing(command: click.Command) -> click.Command:
    """A command with `--import MODULE`; of a group, each of its commands."""
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
        help="Of your own, imported first, since it registers what it adds; repeatable.",
    )
    command.params.append(option)
    return command


def import_modules(names: Sequence[str]) -> None:
    """Import modules by name, those of the working folder too.

    Raises:
        ImportError: one cannot be imported; the error says which.
    """
    if names and os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise ImportError(f"--import {name}: {error}") from error

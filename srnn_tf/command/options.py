"""Arguments that several commands have."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

FILE = click.Path(path_type=Path)
name = click.argument("name")
server = click.option(
    "--server",
    metavar="ADDRESS",
    help="Ask TensorFlow Serving at host:8500 (gRPC) or http://host:8501; by default the model is "
    "loaded into this process.",
)
timeout = click.option(
    "--timeout",
    default=60.0,
    show_default=True,
    help="The seconds that a server may take for a request.",
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
    help="The frames in a quarter note of a MIDI file.",
)
data = click.option(
    "--data",
    metavar="PATH",
    help="The data of the recipe: the folder that `srnn-tf data prepare` made. Of nottingham, "
    "muse, piano_midi and jsb also the .mat or .pickle file; of music the folder that holds these "
    "four files; bach comes with music21 and needs none.",
)
edition = click.option(
    "--edition",
    help="The published version that a file of piano rolls must be; every known one is accepted "
    'by default, with "any" unknown ones too.',
)


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
        help="Import a module of your own first, which registers what it adds; repeatable.",
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


class _Filled(click.ParamType):
    """A type whose text is not empty: Python would take it for the working folder, or for none."""

    def __init__(self, of: click.ParamType):
        self.of, self.name = of, of.name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value in ("", b"") or str(value).isspace():
            self.fail(f"must not be empty; received {value!r}", param, ctx)
        return self.of.convert(value, param, ctx)


def refusing_empty(command: click.Command) -> None:
    """Let all paths, addresses and names of a command, or of those of a group, refuse no text."""
    if isinstance(command, click.Group):
        for part in command.commands.values():
            refusing_empty(part)
    for param in command.params:
        if isinstance(param.type, (click.Path, click.types.StringParamType)):
            param.type = _Filled(param.type)

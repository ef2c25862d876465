"""Arguments that several commands have."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from srnn_tf.command import quiet

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
        # A shell that completes a word does not wait for a module.
        callback=lambda context, option, names: (
            None if context.resilient_parsing else import_modules(names)
        ),
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


def verbosely(command: click.Command) -> click.Command:
    """A command with `--verbose`; of a group, each of its commands."""
    if isinstance(command, click.Group):
        for part in command.commands.values():
            verbosely(part)
    command.params.append(
        click.Option(
            ["-v", "--verbose"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=lambda context, option, value: quiet.uninstall() if value else None,
            help="Print the log of TensorFlow too.",
        )
    )
    return command


class _Filled(click.ParamType):
    """A type whose text is not empty: Python would take it for the working folder, or for none."""

    def __init__(self, of: click.ParamType, known: Callable[[], Iterable[str]] = tuple):
        self.of, self.name, self.known = of, of.name, known

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value in ("", b"") or str(value).isspace():
            self.fail(f"must not be empty; received {value!r}", param, ctx)
        return self.of.convert(value, param, ctx)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        try:
            names = sorted(name for name in self.known() if name.startswith(incomplete))
        except (OSError, ValueError):
            names = []  # a shell has no place for the error; the command itself will tell it
        return [*map(CompletionItem, names), *self.of.shell_complete(ctx, param, incomplete)]


def _published() -> Iterable[str]:
    from srnn_tf import zoo

    return zoo.names(published=True)


def _recipes() -> dict[str, Any]:
    from srnn_tf import recipes

    return recipes.RECIPES


def _corpora() -> Iterable[str]:
    from srnn_tf.data import corpora

    return corpora.CORPORA


# What a shell completes, of commands and their parameters.
_KNOWN: dict[str, Callable[[], Iterable[str]]] = {
    **dict.fromkeys(("info name", "score name", "sample name", "anomalies name"), _published),
    **dict.fromkeys(("export model", "bulk model", "evaluate runs", "publish run"), _published),
    "train name": _recipes,
    "prepare name": _corpora,
    "list dataset": lambda: {recipe.dataset for recipe in _recipes().values()},
    "list model": lambda: {recipe.model for recipe in _recipes().values()},
}


def refusing_empty(command: click.Command) -> None:
    """Let all paths, addresses and names of a command, or of those of a group, refuse no text."""
    if isinstance(command, click.Group):
        for part in command.commands.values():
            refusing_empty(part)
    for param in command.params:
        if isinstance(param.type, (click.Path, click.types.StringParamType)):
            known = _KNOWN.get(f"{command.name} {param.name}", tuple)
            param.type = _Filled(param.type, known)

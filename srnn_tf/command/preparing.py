"""`srnn-tf data`: corpora prepared for training, and what a prepared one holds."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import click

from srnn_tf.data import corpora
from srnn_tf.data.prepared import info, records
from srnn_tf.data.prepared.preparation import prepare as run

HELP = {
    "lists": "Folder of the lists that make the parts (vctk, blizzard, iam_ondb).",
    "sample_rate": "Of the prepared audio, in Hz; 16000 by default.",
    "frame_size": "Samples of a step; 200 by default.",
    "permutation": "File of the order of a step's samples (perm_timit, perm_speech_commands).",
    "std": "What pen moves are divided by; their own by default, 56.04462 in the paper's code.",
    "columns": "Of stroke arrays, as in dx,dy,pen.",
    "steps_per_quarter": "Steps in a quarter note, of MIDI files; 2 by default.",
    "edition": 'Of piano rolls: a known edition, or "any".',
}


@click.group()
def data() -> None:
    """Prepare a corpus, or tell what a prepared one holds.

    Example: srnn-tf data list
    """


@data.command("list")
def list_corpora() -> None:
    """List the corpora that can be prepared."""
    print("\n".join(corpora.CORPORA))


@data.command("info")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--verify", is_flag=True, help="Compare all files with their checksums.")
def show_info(path: Path, verify: bool) -> None:
    """Statistics of a prepared folder, beside those of the paper."""
    if verify:
        info.verify(path)
    _show(path)


def _corpus_options(command: Any) -> Any:
    """An option for each field of `corpora.Options`."""
    for field in reversed(dataclasses.fields(corpora.Options)):
        kind = {"int": int, "float | None": float}.get(field.type, str)
        name = "--" + field.name.replace("_", "-")
        command = click.option(name, field.name, type=kind, help=HELP[field.name])(command)
    return command


@data.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
@click.argument("name")
@click.option("--source", help="The folder that the corpus was unpacked to.")
@click.option("--out", required=True, help="The folder to make.")
@click.option("--workers", default=1, show_default=True, help="Processes that read.")
@click.option("--skip-bad", is_flag=True, help="Go on without bad files, and list them.")
@click.option("--runner", help="Of Apache Beam, such as DirectRunner; further options go to it.")
@_corpus_options
@click.pass_context
def prepare(
    context: click.Context,
    name: str,
    source: str | None,
    out: str,
    workers: int,
    skip_bad: bool,
    runner: str | None,
    **settings: Any,
) -> None:
    """Read the corpus NAME and write it for training."""
    if context.args and not runner:
        raise click.UsageError(f"unrecognized arguments: {' '.join(context.args)}")
    _show(run(name, source, out, workers, skip_bad, runner, context.args, **settings))


def _show(path: Path) -> None:
    print(records.printable(info.describe(info.read(path))))

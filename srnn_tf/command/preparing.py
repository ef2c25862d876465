"""`srnn-tf data`: corpora prepared for training, and what a prepared one holds."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import click

from srnn_tf.command import options
from srnn_tf.data import corpora
from srnn_tf.data.prepared import info, records
from srnn_tf.data.prepared.preparation import prepare as run

HELP = {
    "lists": "The folder of the lists that make the parts (vctk, blizzard, iam_ondb).",
    "sample_rate": "The sample rate of the prepared audio, in Hz; 16000 by default.",
    "frame_size": "The samples of a step; 200 by default.",
    "permutation": "The file of the order of a step's samples (perm_timit, perm_speech_commands).",
    "std": "The number that pen moves are divided by; by default their standard deviation, in the "
    "paper's code 56.04462.",
    "columns": "The order of the columns of stroke arrays, as in dx,dy,pen.",
    "steps_per_quarter": "The steps in a quarter note of a MIDI file; 2 by default.",
    "edition": "The published version that a file of piano rolls must be; every known one is "
    'accepted by default, with "any" unknown ones too.',
}


@click.group()
def data() -> None:
    """Prepare a corpus, or tell what a prepared one holds.

    Example: srnn-tf data list
    """


@data.command("list")
def list_corpora() -> None:
    """List the corpora that can be prepared.

    Example: srnn-tf data list
    """
    print("\n".join(corpora.CORPORA))


@data.command("info")
@click.argument("path", type=options.FILE)
@click.option("--verify", is_flag=True, help="Compare all files with their checksums first.")
def show_info(path: Path, verify: bool) -> None:
    """Print the statistics of a prepared folder, and the paper's.

    PATH is the folder that `srnn-tf data prepare` wrote.

    Example: srnn-tf data info prepared/timit
    """
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
@click.option(
    "--out",
    required=True,
    help="The folder to make; the same command goes on with it.",
)
@click.option("--workers", default=1, show_default=True, help="The processes that read files.")
@click.option("--skip-bad", is_flag=True, help="Go on without bad files, and list them.")
@click.option(
    "--runner",
    help="Read by Apache Beam, with this runner, such as DirectRunner; further options go to it.",
)
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
    """Read a corpus and write it for training.

    NAME is one of `srnn-tf data list`, or of a module of your own. Each corpus takes only the
    options that it knows.

    Example: srnn-tf data prepare timit --source /corpora/TIMIT --out prepared/timit
    """
    if context.args and not runner:
        raise click.UsageError(f"unrecognized arguments: {' '.join(context.args)}")
    _show(run(name, source, out, workers, skip_bad, runner, context.args, **settings))


def _show(path: Path) -> None:
    print(records.printable(info.describe(info.read(path))))

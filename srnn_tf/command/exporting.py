"""`srnn-tf export`: a folder that TensorFlow Serving serves."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import click

from srnn_tf import zoo
from srnn_tf.command import options
from srnn_tf.core import checks, files, packages

if TYPE_CHECKING:
    from srnn_tf.model import SequenceModel


@click.command()
@click.argument("model")
@click.argument("out", type=options.FILE)
@click.option(
    "--version",
    type=int,
    help="The version: of a published model the newest by default, of a .keras file 1.",
)
def export(model: str, out: Path, version: int | None) -> None:
    """Write a model to where TensorFlow Serving finds it.

    MODEL is a published model, as `srnn-tf list` names it, every file of which is compared with
    its checksum, or a .keras file of your own. OUT is a folder that exists; what is written is
    OUT/MODEL/VERSION, which must not.

    Example: srnn-tf export f_rnn_bach .
    """
    if not out.is_dir():
        raise FileNotFoundError(f"{out} is not a folder; make it first")
    if not os.access(out, os.W_OK):
        raise PermissionError(f"the folder {out} may not be written")
    own = model.lower().endswith(".keras")
    if own:
        packages.require(f"export of {model}", "tensorflow_serving")
    loaded = _own(Path(model)) if own else None
    if version is not None:
        checks.sizes(version=version)
    folder = None if own else zoo.folder(model, version)
    target = out / (f"{model}/{folder.name}" if folder else f"{Path(model).stem}/{version or 1}")
    if os.path.lexists(target):
        raise FileExistsError(f"{target} exists; published versions are never replaced")
    from srnn_tf.serving import export as exports

    with files.made(target.parent):
        if folder is None:
            exports.export(loaded, target)
        else:
            with files.creating(target) as part:
                shutil.copytree(folder, part)
    print(f"wrote {target}")


def _own(file: Path) -> SequenceModel:
    """The model of a file that Keras saved."""
    if not file.is_file():
        raise FileNotFoundError(f"{file} is not a file")
    return zoo.read(file)

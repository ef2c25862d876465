"""`srnn-tf export`: a folder that TensorFlow Serving serves."""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path

import click
import keras

from srnn_tf import export as exports
from srnn_tf import zoo
from srnn_tf.command import options
from srnn_tf.model import SequenceModel


@click.command()
@click.argument("model")
@click.argument("out", type=options.FILE)
@click.option("--version", type=int, help="Of a published model; the newest by default.")
def export(model: str, out: Path, version: int | None) -> None:
    """Put MODEL where TensorFlow Serving finds it, as OUT/MODEL/VERSION.

    MODEL is the name of a published one, every file of which is compared with its checksum, or a
    .keras file of your own.

    Example: srnn-tf export f_rnn_bach /srv/models
    """
    if not out.is_dir():
        raise FileNotFoundError(f"{out} is not a folder")
    if model.endswith(".keras"):
        target = _own(Path(model), out, 1 if version is None else version)
    else:
        folder = zoo.folder(model, version)
        target = out / model / folder.name
        _fresh(target)
        part = target.parent / f".{secrets.token_hex(4)}.{target.name}"
        try:
            shutil.copytree(folder, part)
            os.replace(part, target)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    print(f"wrote {target}")


def _own(file: Path, out: Path, version: int) -> Path:
    if not file.is_file():
        raise FileNotFoundError(f"{file} is not a file")
    loaded = keras.saving.load_model(file, compile=False)
    if not isinstance(loaded, SequenceModel):
        raise ValueError(f"{file} holds a {type(loaded).__name__}; a SequenceModel is needed")
    target = out / file.stem / str(version)
    _fresh(target)
    return exports.export(loaded, target)


def _fresh(target: Path) -> None:
    if target.exists():
        raise FileExistsError(f"{target} exists; published versions are never replaced")
    target.parent.mkdir(exist_ok=True)

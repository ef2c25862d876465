"""`srnn-tf export`: a folder that TensorFlow Serving serves."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import click

from srnn_tf import zoo
from srnn_tf.command import options
from srnn_tf.core import checks, files, packages


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

    MODEL is a published name, one of those of `srnn-tf list`, every file of which is compared with
    its checksum; or a .keras file, the folder of a run or an exported folder of your own. OUT is a
    folder, made if need be; what is written is OUT/NAME/VERSION, which must not exist. NAME is that
    of the model, of a file or folder its own.

    Example: srnn-tf export f_rnn_bach .
    """
    if os.path.lexists(out) and not out.is_dir():
        raise NotADirectoryError(f"{out} is not a folder")
    if out.is_dir() and not os.access(out, os.W_OK):
        raise PermissionError(f"the folder {out} may not be written")
    if version is not None:
        checks.sizes(version=version)
    of_its_own = Path(model).is_file() or (Path(model) / "run.json").is_file()
    published = zoo.open(model, None if of_its_own else version)
    folder = published.folder if published.source in ("name", "export") else None
    number = folder.name if folder is not None and folder.name.isdecimal() else version or 1
    if folder is None:
        packages.require(f"export of {model}", "tensorflow_serving")
    target = out / published.name / str(number)
    if os.path.lexists(target):
        raise FileExistsError(f"{target} exists; published versions are never replaced")
    with files.made(target.parent):
        if folder is None:
            _export(published, target)
        else:
            with files.creating(target) as part:
                shutil.copytree(folder, part)
    print(f"wrote {target}")


def _export(published: zoo.Published, target: Path) -> None:
    """Export a model that is no SavedModel yet."""
    from srnn_tf.core.registry import describe
    from srnn_tf.objectives import OBJECTIVES
    from srnn_tf.serving import export as exports

    model, details = published.load(), dict(published.details)
    if "compile" in details:
        objective = describe(OBJECTIVES, model.objective)
        details["compile"] = {**details["compile"], "objective": objective}
    rate = published.card["sample_rate"]
    exports.export(model, target, published.standardization, rate, details)

"""Keep the weights of an unfinished run outside its folder.

    srnn-tf publish --keep RUN_DIR  # to zoo/runs/NAME, after the folder: small enough to commit
    srnn-tf publish --restore NAME --out RUN_DIR

The best weights so far are kept in float16, with the settings and scores of the run. A restored run
can be evaluated and published. `train` continues from these weights at their update with a fresh
optimizer. So it does not repeat the original run.
"""

from __future__ import annotations

import dataclasses
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from srnn_tf.core.files import creating, replacing
from srnn_tf.experiments import checkout, checksums, provenance, runs
from srnn_tf.serving import export
from srnn_tf.zoo import artifacts

KEPT = checkout.KEPT
BEGUN = provenance.BEGUN  # of a warm-started run


def keep(folder: str, root: Path = KEPT) -> Path:
    """Write `root/NAME`, where NAME is the name of the run's folder.

    Raises:
        ValueError: the folder has no run, or no weights yet.
    """
    run = runs.Run.open(folder)
    values = export.half(run.best_model())
    contents = {name: run.read_json(name) for name in _files(run.folder)}
    contents.get(runs.DATA, {}).pop("path", None)  # of this machine
    out = dataclasses.replace(run, folder=root / run.folder.resolve().name, checked=True)
    runs.make_folder(out.folder)
    with replacing(out.folder / "weights.npz") as temporary:
        arrays: dict[str, Any] = {str(i): value for i, value in enumerate(values)}
        np.savez_compressed(temporary, **arrays)
        checksums.append(temporary, run.identity)
    for name, content in contents.items():
        out.write_json(name, content)
    out.write()
    return out.folder


def restore(name: str, folder: str, root: Path = KEPT) -> Path:
    """Create a run's folder from kept weights.

    Raises:
        FileExistsError: the folder exists.
        ValueError: nothing is kept under the name, or the weights are damaged or of another run.
    """
    kept, out = root / name, Path(folder)
    if not (kept / "run.json").is_file():
        names = sorted(p.name for p in root.glob("*") if (p / "run.json").is_file())
        raise ValueError(f"nothing is kept as {name!r}; kept: {', '.join(names) or 'nothing'}")
    if os.path.lexists(out):
        raise FileExistsError(f"--out={out} exists; name a folder that does not")
    first = runs.Run.open(str(kept), add_checksums=False)  # a checkout is not changed
    model, path = first.build(), kept / "weights.npz"
    try:
        identity = checksums.verify(path, first.checked).identity
        if identity is not None and identity != first.identity:
            raise ValueError(f"it is of the run {identity}; this one is {first.identity}")
        with np.load(path) as arrays:
            values = [arrays[str(i)] for i in range(len(arrays.files))]
        for variable, value in zip(artifacts.weights(model).values(), values, strict=True):
            variable.assign(value.astype(np.float32))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is damaged or of another run: {error}") from error
    contents = {name: first.read_json(name) for name in _files(kept)}
    model.step.assign(first.best()[1])
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise type(error)(f"cannot make the folder {out.parent}: {error.strerror}") from error
    with creating(out) as temporary:
        temporary.mkdir()
        run = dataclasses.replace(first, folder=temporary, checked=True)
        for file, content in contents.items():
            run.write_json(file, content)
        for file in runs.WEIGHTS:
            runs.save_weights(model, temporary / file, run)
        run.write()
    return out


def _files(folder: Path) -> list[str]:
    return ["best.json", *(name for name in (BEGUN, runs.DATA) if (folder / name).is_file())]

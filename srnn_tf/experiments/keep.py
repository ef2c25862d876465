"""Keep the weights of an unfinished run outside its folder.

    srnn-tf publish --keep RUN_DIR  # to zoo/runs/NAME, after the folder: small enough to commit
    srnn-tf publish --restore NAME --out RUN_DIR

The best weights so far are kept in float16, with the settings and scores of the run. A restored run
can be evaluated and published. `train` continues from these weights at their update with a fresh
optimizer. So it does not repeat the original run.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from srnn_tf.core.files import replacing
from srnn_tf.experiments import checkout, provenance, runs
from srnn_tf.serving import export
from srnn_tf.zoo import artifacts

KEPT = checkout.KEPT
FILES = ("run.json", "best.json")
BEGUN = provenance.BEGUN  # of a warm-started run


def keep(folder: str, root: Path = KEPT) -> Path:
    """Write `root/NAME`, where NAME is the name of the run's folder.

    Raises:
        ValueError: the folder has no run, or no weights yet.
    """
    run = runs.Run.open(folder)
    values = export.half(run.best_model())
    out = root / run.folder.name
    out.mkdir(parents=True, exist_ok=True)
    with replacing(out / "weights.npz") as temporary:
        arrays: dict[str, Any] = {str(i): value for i, value in enumerate(values)}
        np.savez_compressed(temporary, **arrays)
    for name in _files(run.folder):
        with replacing(out / name) as temporary:
            shutil.copyfile(run.folder / name, temporary)
    return out


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
    if out.exists():
        raise FileExistsError(f"--out={out} exists; name a folder that does not")
    model = runs.Run.open(str(kept)).build()
    try:
        with np.load(kept / "weights.npz") as arrays:
            values = [arrays[str(i)] for i in range(len(arrays.files))]
        for variable, value in zip(artifacts.weights(model).values(), values, strict=True):
            variable.assign(value.astype(np.float32))
    except (OSError, KeyError, ValueError) as error:
        raise ValueError(f"{kept / 'weights.npz'} is damaged or of another run: {error}") from error
    model.step.assign(runs.read_json(kept / "best.json")["step"])
    out.mkdir(parents=True)
    for file in _files(kept):
        shutil.copyfile(kept / file, out / file)
    for file in ("best.weights.h5", "checkpoint.weights.h5"):
        runs.save_weights(model, out / file)
    return out


def _files(folder: Path) -> list[str]:
    return [*FILES, *([BEGUN] if (folder / BEGUN).is_file() else [])]

"""A small model, trained and published once, and what tests of the zoo do with it."""

import dataclasses
import fcntl
import functools
import json
import os
import re
import shutil

import pytest

from srnn_tf import command, data, recipes
from srnn_tf.experiments import evaluate, runs
from srnn_tf.zoo import artifacts, store
from tests import harness

NAME = "f_srnn_jsb"


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A small recipe, trained, evaluated and published: its root, run and data."""
    recipe = recipes.get(NAME)
    structure = {**recipe.structure, "units": 6, "embedding_size": 6, "latent_size": 3}
    changed = {"structure": structure, "window": 5, "batch_size": 4, "candidates": {}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(recipes.RECIPES, NAME, dataclasses.replace(recipe, **changed))
        yield shared(tmp_path_factory.getbasetemp())


@functools.cache  # of all files of tests that a process runs
def shared(base):
    """What `made` returns, made once by the workers of a run, who then read it."""
    root = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder = root / "published"
    with (root / "published.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "done").exists():
            shutil.rmtree(folder, ignore_errors=True)  # of a worker that failed
            made(folder)
            (folder / "done").touch()
    splits = data.load("jsb", str(folder / "JSB_Chorales.mat"), "any")
    return folder / "root", folder / "run", splits


def made(folder):
    folder.mkdir()
    file = harness.write_mat(folder / "JSB_Chorales.mat", lengths=(13, 13, 13))
    options = ["--data", file, "--edition", "any"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "EPOCH", 10)
        patch.setattr(evaluate.baselines, "all_of", lambda splits: {"none": -1e9})
        command.main(["train", NAME, "--out", str(folder / "run"), *options, "--steps", "20"])
        command.main(
            ["evaluate", str(folder / "run"), *options, "--num-samples", "3", "--bounds-on", "2"]
        )
        root = folder / "root"
        root.mkdir()
        command.main(["publish", str(folder / "run"), "--root", str(root)])


@pytest.fixture(autouse=True)
def only_here(monkeypatch, tmp_path):
    """No root of the machine, nothing registered, an empty cache."""
    monkeypatch.setattr(store, "_registered", [])
    monkeypatch.setattr(store, "published", lambda: {})
    monkeypatch.setenv("SRNN_TF_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SRNN_TF_ZOO", raising=False)
    monkeypatch.delenv("SRNN_TF_ZOO_URL", raising=False)


@pytest.fixture
def copy(small, tmp_path):
    """A root of one's own, to damage."""
    return shutil.copytree(small[0], tmp_path / "root")


def change(path, **values):
    """Change keys of a JSON file; a card then has no checksum, as those published long ago."""
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    if path.name == artifacts.CARD:
        path.with_name(artifacts.CARD_SHA256).unlink(missing_ok=True)


def change_run(path, **values):
    """Change a file of a run, with a checksum that fits."""
    runs.write_json(path, runs.read_json(path) | values)


def make_old(folder):
    """Take the checksums from a run's folder, as earlier versions wrote it."""
    for path in folder.glob("*.json"):
        values = runs.read_json(path)
        values.pop("run", None)
        if path.name == "run.json":
            del values["format"]
        path.write_text(json.dumps(values, indent=2) + "\n")
    for path in folder.glob("*.h5"):
        content = path.read_bytes()
        last = re.search(rb"\nsrnn_tf checksum 1 (\d{8}) \w{64}\n\Z", content)
        path.write_bytes(content[: last.start() - int(last[1])])

"""A recipe small enough to be trained in a test."""

import dataclasses

import pytest

from srnn_tf import recipes
from srnn_tf.experiments import runs
from tests import harness

NAME = "rnn_hier_jsb"


@pytest.fixture
def arguments(tmp_path, monkeypatch):
    """The recipe at a size for tests, and its data."""
    recipe = recipes.get(NAME)
    small = {"units": 6, "embedding_size": 6}
    changed = dataclasses.replace(
        recipe,
        structure={**recipe.structure, **small},
        emission={**recipe.emission, **small},
        window=5,
        batch_size=4,
    )
    monkeypatch.setitem(recipes.RECIPES, NAME, changed)
    monkeypatch.setattr(runs, "EPOCH", 2)
    file = harness.write_mat(tmp_path / "JSB_Chorales.mat", lengths=(18, 18))
    return [NAME, "--data", file, "--edition", "any", "--steps", "4"]

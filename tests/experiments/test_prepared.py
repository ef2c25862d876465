"""The zoo's commands on prepared folders: speech in streams, handwriting line by line."""

import dataclasses
import json

import pytest

from srnn_tf import command, recipes
from srnn_tf.experiments import runs, train
from tests import corpora as mini

SMALL = {"units": 5, "embedding_size": 4, "latent_size": 3, "hidden_size": 4}
CHANGES = {"f_rnn_unipen": {}, "f_srnn_speech_commands": {"window": 8, "batch_size": 2}}


@pytest.mark.slow
@pytest.mark.parametrize("name", CHANGES)
def test_train_and_evaluate(name, tmp_path, monkeypatch, capsys):
    recipe = recipes.get(name)
    structure = {k: SMALL.get(k, v) for k, v in recipe.structure.items()}
    changes = {"structure": structure, "candidates": {}, **CHANGES[name]}
    monkeypatch.setitem(recipes.RECIPES, name, dataclasses.replace(recipe, **changes))
    monkeypatch.setattr(runs, "EPOCH", 2)
    path = str(mini.prepared(recipe.dataset, tmp_path))
    arguments = [name, "--data", path, "--steps", "3", "--out", str(tmp_path / "run")]
    train.main(arguments)
    found = json.loads((tmp_path / "run" / "result.json").read_text())
    assert found["unit"] == "nats per sequence"
    capsys.readouterr()
    command.main(["evaluate", str(tmp_path / "run"), "--data", path])
    printed, bound = capsys.readouterr().out.splitlines(), "ELBO" if "srnn" in name else "exact"
    for protocol in ("paper", "full"):
        head = f"nats per sequence, protocol {protocol}, {bound}, "
        (line,) = [x for x in printed if x.startswith("test: ") and head in x]
        value = float(line.split()[1])
        assert value == pytest.approx(found[protocol], abs=1e-3 * abs(found[protocol]))
    baselines = [line for line in printed if "protocol full, exact: " in line]
    assert len(baselines) == (1 if "unipen" in name else 2)

"""Runs that begin with the weights of another, in longer windows, at another learning rate."""

import json

import numpy as np
import pytest

from srnn_tf import artifacts
from tests import test_zoo_modes
from zoo import pages, provenance, runs, train

arguments = test_zoo_modes.arguments


@pytest.fixture
def first(arguments, tmp_path):
    train.main([*arguments[:-1], "4", "--out", str(tmp_path / "first"), "--no-test"])
    return runs.Run.open(str(tmp_path / "first"))


def values(run):
    return [v.numpy() for v in artifacts.weights(run.best_model()).values()]


def test_a_run_begins_with_the_weights_of_another(first, arguments, tmp_path, capsys):
    words = ["--begin-with", str(first.folder), "--window", "3", "--learning-rate", "2e-6"]
    command = [*arguments[:-1], "4", *words, "--out", str(tmp_path / "second"), "--no-test"]
    train.main(command)
    second = runs.Run.open(str(tmp_path / "second"))
    assert (second.window, second.learning_rate) == (3, 2e-6)
    pairs = list(zip(values(first), values(second), strict=True))
    assert all(np.abs(a - b).max() < 2e-5 for a, b in pairs)  # 4 updates of 2e-6 at most
    assert any((a != b).any() for a, b in pairs)
    begun = json.loads((second.folder / provenance.BEGUN).read_text())
    assert begun == provenance.training(first) and begun["begun_with"] is None
    assert float(first.build().kl_schedule(0)) < 1.0
    if second.build().latent_size:
        assert float(second.build().kl_schedule(0)) == 1.0
    # The same command goes on without the run that it began with.
    held = second.folder / "run.json"
    first.folder.rename(tmp_path / "moved")
    train.main(command)
    assert "ended at step 4 of 4" in capsys.readouterr().out and held.is_file()


def test_what_a_run_cannot_begin_with(first, arguments, tmp_path, capsys):
    def fails(message, *words):
        with pytest.raises(SystemExit) as stopped:
            train.main([*arguments[:-1], "4", *words, "--out", str(tmp_path / "new")])
        error = capsys.readouterr().err
        assert stopped.value.code == 2 and message in error and error.startswith("error: ")

    fails("holds no run", "--begin-with", str(tmp_path))
    fails("must be above the last one, 1e-06; received 1e-07", "--learning-rate", "1e-7")
    fails("`--window` must be at least 1; received 0", "--window", "0")
    held = json.loads((first.folder / "run.json").read_text())
    (first.folder / "run.json").write_text(json.dumps({**held, "recipe": "f_rnn_bach"}))
    fails("is a run of f_rnn_bach", "--begin-with", str(first.folder))
    (first.folder / "run.json").write_text(json.dumps(held))
    (first.folder / "best.weights.h5").unlink()
    fails("holds no best.weights.h5 yet", "--begin-with", str(first.folder))
    assert not list((tmp_path / "new").iterdir())  # the folder is not lost to a run that failed
    with pytest.raises(ValueError, match="--window=9: f_rnn_unipen trains on whole sequences"):
        runs.Run.create(str(tmp_path / "third"), "f_rnn_unipen", 4, 0, [], window=9)


def test_the_page_says_what_a_run_began_with(first):
    begun = provenance.training(first)
    training = {**begun, "begun_with": begun, "window": 200, "candidates_not_tried": []}
    training |= {"minutes": 3, "machine": "a machine"}
    card = {"training": training, "validation": {"value": -2.0}, "unit": "nats", "seeds": None}
    text = pages.training(card)
    assert text.startswith(f"Begun with the weights of update {begun['best_update']} of another")
    assert "Then, in windows of 200 frames, 4 updates (the recipe has" in text

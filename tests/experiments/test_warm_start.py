"""Runs that begin with the weights of another, in longer windows, at another learning rate."""

from pathlib import Path

import numpy as np
import pytest

from srnn_tf import command as app
from srnn_tf import recipes
from srnn_tf.experiments import keep, pages, provenance, runs
from srnn_tf.zoo import artifacts


@pytest.fixture
def first(arguments, tmp_path):
    app.main(["train", *arguments[:-1], "4", "--out", str(tmp_path / "first"), "--no-test"])
    return runs.Run.open(str(tmp_path / "first"))


def values(run):
    return [v.numpy() for v in artifacts.weights(run.best_model()).values()]


def test_a_run_begins_with_the_weights_of_another(first, arguments, tmp_path, capsys):
    words = ["--begin-with", str(first.folder), "--window", "3", "--learning-rate", "2e-6"]
    command = [*arguments[:-1], "4", *words, "--out", str(tmp_path / "second"), "--no-test"]
    app.main(["train", *command])
    second = runs.Run.open(str(tmp_path / "second"))
    assert (second.window, second.learning_rate) == (3, 2e-6)
    pairs = list(zip(values(first), values(second), strict=True))
    assert all(np.abs(a - b).max() < 2e-5 for a, b in pairs)  # 4 updates of 2e-6 at most
    assert any((a != b).any() for a, b in pairs)
    begun = second.read_json(provenance.BEGUN)
    assert begun == provenance.training(first) and begun["begun_with"] is None
    # The same command goes on, wherever the first run lies now.
    first.folder.rename(tmp_path / "moved")
    command[command.index(str(first.folder))] = str(tmp_path / "moved")
    app.main(["train", *command])
    assert "ended at step 4 of 4" in capsys.readouterr().out
    before = provenance.seconds(second)
    provenance.Clock(second).write(4)  # another start adds to it
    assert before < provenance.seconds(second) < before + 5.0
    keep.keep(str(second.folder), tmp_path / "kept")
    again = keep.restore("second", str(tmp_path / "again"), tmp_path / "kept")
    assert runs.Run.open(str(again)).read_json(provenance.BEGUN) == begun


@pytest.mark.parametrize(("begin_with", "weight"), [(None, 0.2), ("0", 1.0)])
def test_the_weight_of_the_kl_has_grown_where_a_run_begins_with_another(begin_with, weight):
    recipe = recipes.get("vrnn_jsb")
    run = runs.Run(Path(), recipe, 100, seed=0, begin_with=begin_with)
    assert float(run.build().objective.kl_weight(0)) == pytest.approx(weight)


def test_what_a_run_cannot_begin_with(first, arguments, tmp_path, capsys):
    def fails(message, *words):
        with pytest.raises(SystemExit) as stopped:
            app.main(["train", *arguments[:-1], "4", *words, "--out", str(tmp_path / "new")])
        error = capsys.readouterr().err
        assert stopped.value.code == 2 and message in error and error.startswith("error: ")

    fails("holds no run", "--begin-with", str(tmp_path))
    for rate in ("1e-7", "inf", "nan"):
        fails("must be finite and above the last one, 1e-06; received", "--learning-rate", rate)
    fails("`--window` must be at least 1; received 0", "--window", "0")
    held = runs.read_json(first.folder / "run.json")
    for change in ({"recipe": "f_rnn_bach"}, {"frames": [1, 2, 3]}):
        runs.write_json(first.folder / "run.json", {**held, **change})
        fails("must be a run of {'recipe': 'rnn_hier_jsb'", "--begin-with", str(first.folder))
    runs.write_json(first.folder / "run.json", held)
    for name in ("checkpoint.weights.h5", "best.json", "best.weights.h5"):
        (first.folder / name).rename(tmp_path / name)
        fails(f"holds no {name}", "--begin-with", str(first.folder))
        (tmp_path / name).rename(first.folder / name)
    assert not (tmp_path / "new").exists()
    with pytest.raises(ValueError, match="f_rnn_unipen trains on whole sequences; received 9"):
        runs.Run.create(str(tmp_path / "third"), "f_rnn_unipen", 4, 0, [], window=9)


def test_the_page_says_what_a_run_began_with(first):
    begun = provenance.training(first)
    training = {**begun, "begun_with": begun, "window": 200, "candidates_not_tried": []}
    training |= {"minutes": 3, "machine": "a machine", "learning_rate": 1e-5}
    card = {"training": training, "validation": {"value": -2.0}, "unit": "nats", "seeds": None}
    text = pages.training(card)
    assert text.startswith(
        f"Warm start from the weights of update {begun['best_update']} of another"
    )
    assert "Then 4 updates (the recipe has" in text
    assert (
        "Frames of a window: 200 (recipe: 5). First learning rate: 1e-05 (recipe: 0.001)." in text
    )
    chain = {**training, "begun_with": {**begun, "begun_with": begun}}
    assert pages.training({**card, "training": chain}).count("Warm start from") == 2
    whole = {**training, "window": None, "window_of_recipe": None}
    assert "window" not in pages.training({**card, "training": whole})

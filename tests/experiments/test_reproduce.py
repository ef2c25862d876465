"""The run of a published card, started again."""

import json
import shlex

import pytest

from srnn_tf import zoo
from srnn_tf.experiments import runs
from tests import publishing
from zoo import reproduce

small, only_here = publishing.small, publishing.only_here


def change(name, version=None, **training):
    card = zoo.card(name, version)
    return {**card, "training": {**card["training"], **training}}


def test_the_command_of_published_models(capsys):
    reproduce.main(["rnn_hier_nottingham", "--print", "--data", "N.mat"])
    assert shlex.split(capsys.readouterr().out) == shlex.split(
        "srnn-tf train rnn_hier_nottingham --out runs/rnn_hier_nottingham --no-test --data N.mat "
        "--steps 2000 --seed 0 --dtype float32 --batch-size 4"
    )
    reproduce.main(["rnn_hier_speech_commands", "--version", "1", "--print"])
    assert "--steps 700 --seed 0 --dtype mixed_bfloat16 --batch-size 1" in capsys.readouterr().out


def test_every_departure_is_an_option():
    card = change(
        "f_srnn_bach", schedule=20_000, updates=4000, best_update=2000, learning_rate=3e-5,
        learning_rate_of_recipe=1e-3, window=200, window_of_recipe=50, transpose=6,
        transpose_of_recipe=None, openings=3, candidate=None, without=["jsb", "muse"],
    )  # fmt: skip
    recipe = reproduce.recipes.get("f_srnn_bach")
    card["training"] |= {f"{key}_of_recipe": getattr(recipe, key) for key in reproduce.DEPARTURES}
    words = " ".join(reproduce.arguments(card, "out"))
    for wanted in ("--steps 20000", "--patience 4", "--learning-rate 3e-05", "--window 200",
                   "--transpose 6", "--openings 3", "--without jsb --without muse"):  # fmt: skip
        assert wanted in words


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["rnn_hier_speech_commands", "--version", "2"], "was begun with the weights of another"),
        (["f_srnn_nottingham"], "was stopped by hand at update 6,000 of 20,000"),
        (["rnn_hier_timit"], "is a substitute: reproduce rnn_hier_speech_commands"),
        (["f_rnn_bch"], "Did you mean 'f_rnn_bach'?"),
    ],
)
def test_what_cannot_be_reproduced(words, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        reproduce.main([*words, "--print"])
    error = capsys.readouterr().err
    assert stopped.value.code == 2 and message in error and error.count("\n") == 1


def test_a_recipe_that_has_changed_is_an_error():
    card = change("f_rnn_bach", batch_size_of_recipe=7)
    with pytest.raises(ValueError, match=r"has changed since: batch_size 7 \(now 16\)"):
        reproduce.arguments(card, "out")


def test_a_run_has_the_weights_of_the_published_one(small, tmp_path, monkeypatch):
    root, folder, _ = small
    monkeypatch.setattr(runs, "EPOCH", 10)
    held = json.loads((folder / "best.json").read_text())
    file = str(folder.parent / "JSB_Chorales.mat")
    original = reproduce.command.main
    monkeypatch.setattr(
        reproduce.command, "main", lambda words: original([*words, "--edition", "any"])
    )
    out = tmp_path / "again"
    reproduce.main([publishing.NAME, "--root", str(root), "--data", file, "--out", str(out)])
    found = json.loads((out / "best.json").read_text())
    assert found["step"] == held["step"]
    assert found["valid"] == pytest.approx(held["valid"], rel=1e-5)

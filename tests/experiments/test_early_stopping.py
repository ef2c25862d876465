"""Runs that end when the validation split has not got better for a while."""

import pytest

from srnn_tf import command as app
from srnn_tf.experiments import evaluate, pages, runs


@pytest.fixture
def looks(monkeypatch):
    """The validation scores to come; the test split always scores -9."""
    values = []
    monkeypatch.setattr(
        evaluate, "by_set", lambda *a, **k: {"all": values.pop(0) if values else -9.0}
    )
    return values


def test_a_run_ends_after_so_many_looks_without_a_better_one(arguments, looks, tmp_path, capsys):
    looks[:] = [-3.0, -2.0, -2.5, -2.0]
    command = [*arguments[:-1], "40", "--out", str(tmp_path / "run"), "--patience", "2"]
    app.main(["train", *command])
    run = runs.Run.open(str(tmp_path / "run"))
    assert (run.steps, run.patience, run.updates(), run.best()) == (40, 2, 8, (-2.0, 4))
    assert (run.folder / "result.json").is_file()
    # The same command again does not train on.
    looks.clear()
    app.main(["train", *command])
    assert run.updates() == 8 and "ended at step 8 of 40" in capsys.readouterr().out


def test_a_better_look_starts_the_count_again(arguments, looks, tmp_path):
    looks[:] = [-3.0, -4.0, -2.0, -4.0, -1.0, -1.5]
    options = ["--out", str(tmp_path / "run"), "--patience", "2", "--no-test"]
    app.main(["train", *arguments[:-1], "12", *options])
    run = runs.Run.open(str(tmp_path / "run"))
    assert run.updates() == 12 and not (run.folder / "result.json").exists()


def test_a_damaged_best_json_is_named(arguments, tmp_path):
    run = runs.Run.create(str(tmp_path), arguments[0], 4, 0, [])
    assert run.best() == (float("-inf"), 0)
    with pytest.raises(ValueError, match="holds no checkpoint"):
        run.updates()
    run.write_json("best.json", {"valid": -1.0})
    with pytest.raises(ValueError, match="best.json holds no score `valid` and `step`"):
        run.best()


def test_the_page_says_that_a_run_ended_early():
    training = {"updates": 8, "schedule": 40, "updates_of_recipe": 20_000, "best_update": 4}
    training |= {"batch_size": 4, "batch_size_of_recipe": 16, "seed": 0, "precision": "float32"}
    training |= {"minutes": 1, "machine": "2 CPU cores", "candidates_not_tried": []}
    card = {"training": training, "validation": {"value": -2.0}, "unit": "nats", "seeds": None}
    text = pages.training(card)
    assert text.startswith("8 updates (of a schedule of 40 that was not completed; the recipe has")
    training["schedule"] = 8
    assert pages.training(card).startswith("8 updates (the recipe has 20,000)")

"""The zoo: names, recipes, and the two commands from end to end."""

import dataclasses
import json
from pathlib import Path

import keras
import numpy as np
import pytest

from srnn_tf import command as app
from srnn_tf import data, objectives, recipes, zoo
from srnn_tf.experiments import evaluate, provenance, runs
from tests import harness

NAME, STEPS = "f_srnn_jsb", 5


def test_a_shorter_run_takes_the_same_course():
    recipe = recipes.get(NAME)
    whole = objectives.KLSchedule(**recipe.scaled_kl_schedule(recipe.steps))
    short = objectives.KLSchedule(**recipe.scaled_kl_schedule(recipe.steps // 10))
    assert whole == objectives.KLSchedule(**recipe.kl_schedule)
    for step in range(0, recipe.steps, 2000):
        assert float(short(step // 10)) == pytest.approx(float(whole(step)))
    assert float(whole(0)) == pytest.approx(0.2) and float(whole(recipe.steps)) == 1.0
    built = runs.Run(Path(), recipe, 100, seed=0).build()
    assert built.objective.kl_schedule.increment == pytest.approx(0.02)


def test_build_is_the_recipe():
    model, recipe = zoo.build("rnn_flat_bach", seed=3), recipes.get("rnn_flat_bach")
    assert (model.event_size, model.frame_size, model.seed) == (88, 1, 3)
    assert model.window == recipe.window and model.steps_per_frame == 88
    assert model.structure.options["num_layers"] == 3


@pytest.fixture(scope="module")
def small():
    """The recipe at a size for tests, evaluated eagerly."""
    recipe = recipes.get(NAME)
    structure = {**recipe.structure, "units": 6, "embedding_size": 6, "latent_size": 3}
    changed = dataclasses.replace(
        recipe, structure=structure, window=5, batch_size=4, reported="-1.0, protocol paper, ELBO"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(recipes.RECIPES, NAME, changed)
        patch.setattr(runs, "EPOCH", 2)
        compile = runs.SequenceModel.compile
        patch.setattr(
            runs.SequenceModel, "compile", lambda *a, **k: compile(*a, run_eagerly=True, **k)
        )
        yield changed


@pytest.fixture(scope="module")
def finished(small, tmp_path_factory):
    """The folder of a run of 5 updates, its data file, and what was printed."""
    folder = tmp_path_factory.mktemp("zoo")
    file = harness.write_mat(folder / "JSB_Chorales.mat", lengths=(18, 18))
    arguments = ["--data", file, "--edition", "any"]
    out = folder / "run"
    app.main(["train", NAME, "--out", str(out), *arguments, "--steps", str(STEPS), "--seed", "4"])
    return out, arguments


def load(folder, name):
    return json.loads((folder / name).read_text())


def test_train_writes_a_whole_run(finished):
    folder, _ = finished
    files = {file.name for file in folder.iterdir()}
    wanted = {"run.json", "best.json", "data.json", "result.json", "clock.json", "logs"}
    assert files == wanted | {"checkpoint.weights.h5", "best.weights.h5"}
    run, best, result = (load(folder, f"{name}.json") for name in ("run", "best", "result"))
    wanted = {"recipe": NAME, "steps": STEPS, "seed": 4, "frames": [36, 36, 36]}
    assert run.pop("format") == runs.FORMAT and len(run.pop("sha256")) == 64
    assert run == {**wanted, "dtype": "float32"}
    assert best["protocol"] == "paper" and 0 < best["step"] <= STEPS
    assert best["machine"] == provenance.machine()
    spent = provenance.seconds(runs.Run.open(str(folder)))
    assert spent == load(folder, "clock.json")["seconds"] > 0.0
    assert result["unit"] == "nats per step" and {"paper", "full"} <= set(result)
    assert all(-88 * np.log(2) * 2 < result[p] < 0 for p in ("paper", "full"))
    valid, loss = (dict(harness.scalars(folder, f"epoch_{name}")) for name in ("valid", "loss"))
    assert list(loss) == list(valid) == [2, 4, STEPS]
    assert valid[best["step"]] == pytest.approx(best["valid"], rel=1e-6)


def test_a_run_holds_the_model_it_says(finished, small):
    folder, arguments = finished
    run = runs.Run.open(str(folder))
    last, best = run.build(), run.best_model()
    runs.load_weights(last, run.checkpoint)
    assert int(last.step) == STEPS and int(last.optimizer.iterations) == STEPS
    rate = float(last.optimizer.learning_rate)
    assert rate == pytest.approx(small.final_learning_rate, rel=1e-3)
    splits = data.load("jsb", arguments[1], edition="any")
    held = load(folder, "best.json")
    assert int(best.step) == held["step"]
    assert evaluate.score(best, splits.valid, "paper") == pytest.approx(held["valid"], rel=1e-5)
    assert evaluate.score(last, splits.valid, "paper") <= held["valid"] + 1e-5
    scores = load(folder, "result.json")
    for protocol in ("paper", "full"):
        score = evaluate.score(best, splits.test, protocol)
        assert score == pytest.approx(scores[protocol], rel=1e-5)


def test_evaluate_prints_unit_protocol_and_bound(finished, capsys):
    folder, arguments = finished
    app.main(["evaluate", str(folder), *arguments])
    printed, scores = capsys.readouterr().out, load(folder, "result.json")
    for protocol in ("paper", "full"):
        line = f"test: {scores[protocol]:.4f} nats per step, protocol {protocol}, ELBO"
        assert line in printed
    assert f"{NAME}, weights of step {load(folder, 'best.json')['step']} of {STEPS}" in printed


def test_first_steps_that_were_not_learned_are_told(finished):
    def scores(paper, full):
        return {
            protocol: {"exact": evaluate.Score(value, None, None, 1)}
            for protocol, value in (("paper", paper), ("full", full))
        }

    run = runs.Run.open(str(finished[0]))
    said = evaluate.of_openings(run, scores(-5.7253, -8.2613))
    assert "2.5360 nats per step below protocol paper" in said and "`--openings 2`" in said
    assert not evaluate.of_openings(run, scores(-5.7, -6.1))  # less than 0.5, and than a tenth
    assert not evaluate.of_openings(run, scores(-8.3, -5.7))
    learned = dataclasses.replace(run, openings=2)
    assert not evaluate.of_openings(learned, scores(-5.7253, -8.2613))


def test_bounds_prints_a_row_of_all_bounds(finished, capsys):
    folder, arguments = finished
    app.main(["evaluate", "--table", str(folder), *arguments, "--num-samples", "3"])
    head, _, row = capsys.readouterr().out.splitlines()[-3:]
    assert "ELBO, paper | IWAE-3, paper | FIVO-3, paper | ELBO, full" in head
    name, _, *cells = [cell.strip() for cell in row.strip("|").split("|")]
    scores, found = load(folder, "result.json"), [float(cell) for cell in cells]
    assert name == NAME and found[::3] == [round(scores[p], 4) for p in ("paper", "full")]
    model, test = (
        runs.Run.open(str(folder)).best_model(),
        data.load("jsb", arguments[1], "any").test,
    )
    for cells, protocol in ((found[1:3], "paper"), (found[4:], "full")):
        for cell, bound in zip(cells, ("iwae", "fivo"), strict=True):
            score = evaluate.score(model, test, protocol, bound=bound, num_samples=3)
            assert cell == pytest.approx(score, abs=1e-4)


def test_the_same_command_again_only_scores(finished, capsys):
    folder, arguments = finished
    before = load(folder, "result.json"), (folder / "checkpoint.weights.h5").read_bytes()
    command = [NAME, "--out", str(folder), *arguments, "--steps", str(STEPS), "--seed", "4"]
    app.main(["train", *command])
    assert (load(folder, "result.json"), (folder / "checkpoint.weights.h5").read_bytes()) == before
    printed = capsys.readouterr().out
    assert f"ended at step {STEPS} of {STEPS}" in printed
    assert "the paper's code: -1.0, protocol paper, ELBO" in printed


@pytest.mark.parametrize("flat", [False, True])
def test_score_is_total_nats_over_scored_steps(flat):
    case = harness.cases(structure="rnn", cell="lstm", likelihood="bernoulli", flat=flat)[0]
    model, sequences = harness.build(case, window=3), harness.rolls((4, 7, 1), width=3, density=0.5)
    for protocol, unscored in (("full", 0.0), ("paper", 1 / 3 if flat else 1.0)):
        total = sum(float(model.log_prob(s[None], protocol=protocol)[0]) for s in sequences)
        expected = total / (12 - 3 * unscored)
        found = evaluate.score(model, sequences, protocol, batch_size=2)
        assert found == pytest.approx(expected, rel=1e-5)
    assert evaluate.bound_name(model) == "exact"


WRONG = {
    "name": (
        ["train", "f_srn_jsb"],
        "unknown recipe or model part 'f_srn_jsb'. Did you mean 'f_srnn_jsb'?",
    ),
    "no data": (["train", NAME], "jsb is read from a file"),
    "missing file": (["train", NAME, "--data", "no.mat"], "no.mat"),
    "another kind": (["train", NAME, "--data", "README.md"], "README.md"),
    "steps": (["train", NAME, "MAT", "--steps", "0"], "`--steps` must be at least 1"),
    "seed": (["train", NAME, "MAT", "--seed", "-1"], "received -1"),
    "edition": (["train", NAME, "MAT", "--edition", "x"], "edition='x'"),
    "no run": (["evaluate", "EMPTY"], "holds no run"),
    "another run": (["train", NAME, "MAT", "--steps", "9", "--out", "RUN"], "another run"),
    "a file": (["train", NAME, "MAT", "--out", "RUN/run.json/x"], "cannot make the folder"),
    "no draws": (["table", "RUN", "MAT", "--num-samples", "0"], "`num_samples` must be"),
    "damage": (["evaluate", "DAMAGED", "MAT"], "best.weights.h5 is damaged"),
    "best.json": (["train", NAME, "MAT", "--steps", "9", "--out", "BEST"], "best.json"),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_a_wrong_command_is_one_line_and_status_2(mistake, finished, tmp_path, capsys):
    (command, *given), message = WRONG[mistake]
    folder, arguments = finished
    identity = {k: v for k, v in load(folder, "run.json").items() if k not in ("format", "sha256")}
    for name in ("damaged", "best"):
        (tmp_path / name).mkdir()
        steps = STEPS if name == "damaged" else 9
        (tmp_path / name / "run.json").write_text(json.dumps({**identity, "steps": steps}))
    (tmp_path / "damaged" / "best.weights.h5").write_text("no weights")
    (tmp_path / "best" / "best.json").write_text("{}")
    places = {"RUN": folder, "EMPTY": tmp_path, "DAMAGED": tmp_path / "damaged"}
    places |= {"BEST": tmp_path / "best"}
    line = []
    for word in given:
        for name, place in places.items():
            word = word.replace(name, str(place)) if word.startswith(name) else word
        line += arguments if word == "MAT" else [word]
    if command == "train" and "--out" not in line:
        line += ["--out", str(tmp_path / "out")]
    if mistake in ("another run", "best.json", "a file"):
        line += ["--seed", "4"]
    with pytest.raises(SystemExit) as error:
        app.main(["evaluate", "--table", *line] if command == "table" else [command, *line])
    errors = capsys.readouterr().err
    assert error.value.code == 2
    assert errors.startswith("error: ") and errors.count("\n") == 1 and message in errors


def test_words_that_click_refuses(capsys):
    for command, line in (("train", []), ("evaluate", ["x", "--split", "all"])):
        with pytest.raises(SystemExit) as error:
            app.main([command, *line])
        assert error.value.code == 2 and "error: " in capsys.readouterr().err


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="cannot make the folder .*file/run"):
        runs.Run.create(str(tmp_path / "file" / "run"), "f_rnn_bach", 5, 0, [])
    with pytest.raises(ValueError, match="`--steps` must be at least 1; received 0"):
        runs.Run.create(str(tmp_path), "f_rnn_bach", 0, 0, [])
    with pytest.raises(ValueError, match="seed.*; received -1"):
        runs.Run.create(str(tmp_path / "new"), "f_rnn_bach", 5, -1, []).build()
    assert not (tmp_path / "new" / "run.json").exists()  # else the folder is lost to seed 0


def test_a_folder_of_another_run(tmp_path):
    runs.Run.create(str(tmp_path), "f_rnn_bach", 5, 0, [1, 2, 3])
    runs.Run.create(str(tmp_path), "f_rnn_bach", 5, 0, [1, 2, 3])
    for change in (("f_rnn_jsb", 5, 0, [1, 2, 3]), ("f_rnn_bach", 5, 1, [1, 2, 3])):
        with pytest.raises(ValueError, match="holds another run, .*f_rnn_bach"):
            runs.Run.create(str(tmp_path), *change)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(ValueError, match="run.json is not valid JSON"):
        runs.Run.open(str(tmp_path))
    (tmp_path / "run.json").write_text(json.dumps({"steps": 3}))
    with pytest.raises(ValueError, match="run.json is not a run's"):
        runs.Run.open(str(tmp_path))
    with pytest.raises(ValueError, match="holds no run"):
        runs.Run.open(str(tmp_path / "elsewhere"))


def test_a_failed_write_does_not_end_in_a_half_run(small, tmp_path, monkeypatch):
    """A disk that fills up during training is an error of one line, and the run can go on."""
    run = runs.Run.create(str(tmp_path), NAME, STEPS, 0, [])
    model = run.build()
    runs.save_weights(model, run.checkpoint)

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(keras.Model, "save_weights", full)
    with pytest.raises(SystemExit) as error, runs.clear_errors():
        runs.save_weights(model, run.checkpoint)
    assert error.value.code == 2
    assert {file.name for file in tmp_path.iterdir()} == {"run.json", "checkpoint.weights.h5"}
    runs.load_weights(run.build(), run.checkpoint)

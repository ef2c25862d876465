"""The table of runs, and what is said of each."""

import json
import shlex

import pytest

from srnn_tf import recipes
from srnn_tf.experiments import runs
from srnn_tf.zoo import artifacts
from zoo import plan

PLAN = plan.read()


def test_the_table_holds_the_tables_of_the_paper():
    names = {p.recipe for p in PLAN.runs}
    models = "f_rnn f_srnn delta_rnn_random rnn_flat srnn_flat rnn_hier srnn_hier".split()
    for dataset in ("timit", "perm_timit", "vctk", "blizzard", "muse", "nottingham"):
        assert {f"{model}_{dataset}" for model in models} <= names
    assert {f"{m}_iam_ondb" for m in ("f_rnn", "f_srnn", "rnn_hier", "srnn_hier")} <= names
    assert {"vrnn_nottingham", "storn_nottingham", "fraccaro_srnn_nottingham"} <= names
    first = [p.recipe for p in PLAN.runs if p.priority == 1]
    assert first == ["rnn_hier_mlp_music", "f_rnn_music", "srnn_hier_mlp_music"]


@pytest.mark.parametrize("planned", PLAN.runs, ids=lambda p: p.name)
def test_every_row_is_a_run_that_can_be_started(planned, tmp_path):
    recipe = recipes.get(planned.recipe)
    assert recipe.dataset == planned.data and planned.hours > 0
    known = {"patience", "seed", "steps", "batch-size", "openings"}
    words = planned.arguments()
    given = dict(zip(words[::2], words[1::2], strict=True))
    assert {w.removeprefix("--") for w in given} <= known
    options = {k.removeprefix("--").replace("-", "_"): int(v) for k, v in given.items()}
    run = runs.Run.create(str(tmp_path / "run"), planned.recipe, seed=options.pop("seed", 0),
                          steps=options.pop("steps"), frames=[1], **options)  # fmt: skip
    assert (run.steps, run.seed, run.patience) == (planned.steps, planned.seed, planned.patience)
    assert run.openings == planned.openings
    assert (run.batch_size or recipe.batch_size) == planned.batch


def planned(steps=20, **changes):
    return plan.Planned(
        **{"name": "f_srnn_jsb", "data": "jsb", "steps": steps, "batch": 4, "seed": 0,
           "hours": 1.0, "priority": 1, **changes}
    )  # fmt: skip


def published(folder, seeds=None, **training):
    """A root with nothing but the card of a run of 20 updates."""
    held = {
        "updates": 20,
        "schedule": 20,
        "best_update": 20,
        "batch_size": 4,
        "seed": 0,
        **training,
    }
    card = {"format": artifacts.FORMAT, "files": dict.fromkeys(artifacts.FILES, "")}
    extra = folder / "root" / "f_srnn_jsb" / "1" / "assets.extra"
    extra.mkdir(parents=True)
    (extra / artifacts.CARD).write_text(json.dumps({**card, "training": held, "seeds": seeds}))
    return folder / "root"


OPTIONS = ("--patience", "2")
FILE = {"file": "JSB_Chorales.mat"}


def test_states_of_what_is_published(tmp_path):
    root, nowhere = published(tmp_path), tmp_path / "nowhere"
    assert plan.state(planned(), FILE, nowhere, root) == "done"
    assert plan.state(planned(10), FILE, nowhere, root) == "done"
    for other in (planned(21), planned(seed=1), planned(batch=16)):
        assert plan.state(other, FILE, nowhere, root) == "missing"
    assert plan.state(planned(21), {"obtain": "a disc"}, nowhere, root) == "waiting"


def test_states_of_a_folder(tmp_path):
    (tmp_path / "root").mkdir()
    begun = runs.Run.create(str(tmp_path / "f_srnn_jsb"), "f_srnn_jsb", 30, 0, [1], batch_size=4)

    def state(wanted):
        return plan.state(wanted, FILE, tmp_path, tmp_path / "root")

    assert state(planned(30)) == "running" and state(planned(31)) == "taken"
    begun.write_json("clock.json", {"seconds": 1.0, "step": 29})
    assert state(planned(30)) == "running"
    begun.write_json("clock.json", {"seconds": 1.0, "step": 30})
    assert state(planned(30)) == "trained"
    for other in (planned(30, seed=1), planned(30, batch=16), planned(30, options=OPTIONS)):
        assert state(other) == "taken"


@pytest.mark.parametrize(
    "other",
    [
        {"without": ["jsb"]},
        {"transpose": 3},
        {"candidate": "zforcing_0_0"},
        {"window": 7},
        {"openings": 2},
    ],
)
def test_another_training_is_not_the_planned_one(other, tmp_path):
    assert plan.state(planned(), FILE, tmp_path / "no", published(tmp_path, **other)) == "missing"


def test_openings_are_part_of_the_plan(tmp_path):
    wanted = planned(options=("--openings", "2"))
    root, folder = published(tmp_path), tmp_path / "runs"
    assert plan.state(wanted, FILE, folder, root) == "missing"
    runs.Run.create(str(folder / "f_srnn_jsb"), "f_srnn_jsb", 20, 0, [1], batch_size=4, openings=2)
    assert plan.state(wanted, FILE, folder, tmp_path / "none") == "running"
    assert plan.state(planned(), FILE, folder, tmp_path / "none") == "taken"
    assert plan.state(wanted, FILE, folder, published(tmp_path / "b", openings=2)) == "done"


def test_updates_of_a_warm_start_add_up(tmp_path):
    first = {"updates": 15, "begun_with": {"updates": 5, "begun_with": None}}
    root = published(tmp_path, updates=6, begun_with=first)
    assert plan.state(planned(26), FILE, tmp_path / "no", root) == "done"
    assert plan.state(planned(27), FILE, tmp_path / "no", root) == "missing"


def test_a_further_seed_that_stopped_early_is_done(tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "EPOCH", 5)
    seed = {"seed": 3, "updates": 20, "best_update": 10, "schedule": 30, "batch_size": 4}
    root = published(tmp_path, {"runs": [seed]})
    patient = planned(30, seed=3, options=OPTIONS)
    assert plan.state(patient, FILE, tmp_path / "no", root) == "done"
    assert plan.state(planned(30, seed=3), FILE, tmp_path / "no", root) == "missing"


def test_seeds_on_a_card_are_done(tmp_path):
    root = published(tmp_path, {"runs": [{"seed": 3, "updates": 20, "paper": -1.0}]})
    for wanted, found in ((planned(seed=3), "done"), (planned(21, seed=3), "missing")):
        assert plan.state(wanted, FILE, tmp_path / "no", root) == found
    assert plan.state(planned(seed=4), FILE, tmp_path / "no", root) == "missing"


@pytest.mark.parametrize(("best", "found"), [(10, "done"), (15, "missing")])
def test_early_stopping_ends_a_planned_run(best, found, tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "EPOCH", 5)
    root = published(tmp_path, schedule=30, best_update=best)
    patient = planned(30, options=("--patience", "2"))
    assert plan.state(patient, FILE, tmp_path / "no", root) == found
    assert plan.state(planned(30), FILE, tmp_path / "no", root) == "missing"


def test_commands_are_those_of_train(capsys):
    plan.main(["--data", "/d", "--runs", "out"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith(f"{len(PLAN.runs)} runs: ") and len(lines) == 2 * len(PLAN.runs) + 1
    (music,) = [x for x in lines if "srnn-tf train rnn_hier_mlp_music " in x]
    assert music.split() == shlex.split(
        "srnn-tf train rnn_hier_mlp_music --data /d/midi --out out/rnn_hier_mlp_music --steps 40000"
    )
    assert any("(obtain TIMIT" in line for line in lines)
    plan.main(["--state", "waiting"])
    assert all("obtain" in line for line in capsys.readouterr().out.splitlines()[1:-1:2])


def test_the_queue_is_json(capsys):
    plan.main(["--queue"])
    jobs = json.loads(capsys.readouterr().out)
    assert [job["name"] for job in jobs[:3]] == [p.recipe for p in PLAN.runs[:3]]
    (job,) = [j for j in jobs if j["run"] == "rnn_hier_mlp_nottingham_seed_2"]
    assert job == {
        "run": "rnn_hier_mlp_nottingham_seed_2",
        "name": "rnn_hier_mlp_nottingham",
        "data": "midi/Nottingham.mat",
        "options": ["--steps", "20000", "--seed", "2", "--openings", "2", "--patience", "8"],
    }
    (job,) = [j for j in jobs if j["run"] == "f_rnn_unipen"]
    assert job["prepare"] == ["unipen", "handwriting/unipen"] and job["data"] is None
    assert not [j for j in jobs if PLAN.data[recipes.get(j["name"]).dataset].get("obtain")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("run = [", "is not a table of runs"),
        ("run = []", "is not a table of runs: KeyError"),
        ('run = [{ name = "f_rnn_jsb", stepz = 3 }]\n[data]', "stepz"),
        ("run = [{row}]\n[data]", "the data 'jsb' of f_rnn_jsb are not in"),
        ("run = [{row}, {row}]\n[data]\njsb = {{}}", "the run f_rnn_jsb is there 2 times"),
    ],
)
def test_a_damaged_table_is_an_error(text, message, tmp_path):
    row = '{ name = "f_rnn_jsb", data = "jsb", steps = 1, batch = 1, seed = 0, hours = 1.0, '
    row += "priority = 1 }"
    path = tmp_path / "runs.toml"
    path.write_text(text.replace("{row}", row).replace("{{}}", "{}"))
    with pytest.raises(ValueError, match=message):
        plan.read(path)


def test_an_unknown_recipe_is_named():
    with pytest.raises(ValueError, match="unknown recipe 'f_rn_jsb'. Did you mean 'f_rnn_jsb'"):
        planned(name="f_rn_jsb")

"""The data set `music`, from its files to a published model."""

import dataclasses
import json

import numpy as np
import pytest
import scipy.io

from srnn_tf import command, data, recipes, zoo
from srnn_tf.data.corpora import bach, pooled_music
from srnn_tf.experiments import evaluate, provenance, runs, train
from tests import harness, publishing

only_here = publishing.only_here  # a fixture
NAME = "rnn_hier_mlp_music"
FILES = {"nottingham": "Nottingham.mat", "muse": "MuseData.mat", "jsb": "JSB_Chorales.mat"}
FILES["piano_midi"] = "Piano_midi.mat"
WITHOUT = ["--without", "bach"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Small files under the names of the four sets."""
    made = tmp_path_factory.mktemp("music")
    for i, file in enumerate(FILES.values()):
        harness.write_mat(made / file, seed=10 * i, lengths=(13 + i, 9, 6))
    return made


def test_music_is_its_sets(folder):
    music = data.load("music", folder, "any", without=["bach"])
    assert [*music.train.sets] == ["nottingham", "muse", "jsb", "piano_midi"]
    for name, file in FILES.items():
        one = data.load(name, folder / file, "any")
        for part in ("train", "valid", "test"):
            found = getattr(music, part).sets[name]
            for a, b in zip(found, getattr(one, part), strict=True):
                np.testing.assert_array_equal(a, b)
    assert music.train.transpose == 6 and music.valid.transpose == 0
    assert (music.event_size, music.kind) == (88, "pianoroll")
    assert music.remarks == ("without bach",) and "without bach" in music.describe()
    assert "muse any" in music.edition


def test_chorales_come_at_three_time_steps(folder, monkeypatch):
    monkeypatch.delenv("SRNN_TF_CACHE")  # made once on a machine, not once a test
    music, plain = data.load("music", folder, "any"), data.load("bach")
    assert [len(getattr(music, p).sets["bach"]) for p in ("train", "valid", "test")] == [
        len(getattr(plain, p)) for p in ("train", "valid", "test")
    ]
    assert music.remarks == ("bach is also seen at half and at double its time step",)
    views = music.train._views["bach"]
    chorales = {step: bach.load_chorales(step) for step in (1, 2, 4)}
    rolls = {step: dict(zip(c.names, c.rolls, strict=True)) for step, c in chorales.items()}
    names = [n for n in rolls[2] if bach.part_of(n) == "train"]
    for name, roll, (finer, coarser) in list(zip(names, plain.train, views, strict=True))[:40]:
        np.testing.assert_array_equal(roll, rolls[2][name])
        np.testing.assert_array_equal(finer, rolls[4][name])
        np.testing.assert_array_equal(coarser, rolls[1][name])
        np.testing.assert_array_equal(finer[::2][: len(roll)], roll)
    lengths = {len(sequence) for place, sequence in music.train.draw(0, 0) if place == 0}
    assert lengths <= {len(rolls[f][names[0]]) for f in (1, 2, 4)}


def test_what_another_set_is_tested_on_is_left_out(tmp_path):
    for i, file in enumerate(FILES.values()):
        harness.write_mat(tmp_path / file, seed=10 * i, lengths=(40, 50, 30))
    muse, jsb = (scipy.io.loadmat(tmp_path / FILES[name]) for name in ("muse", "jsb"))
    piece = muse["testdata"][0, 1] = muse["testdata"][0, 1] * (np.arange(88) > 8)
    jsb["traindata"][0, 2] = np.repeat(np.roll(piece, -5, axis=1), 2, axis=0)  # lower and slower
    for name, cells in (("muse", muse), ("jsb", jsb)):
        parts = {key: cell for key, cell in cells.items() if key.endswith("data")}
        scipy.io.savemat(tmp_path / FILES[name], parts)
    music = data.load("music", tmp_path, "any", without=["bach"])
    assert [len(s) for s in music.train.sets.values()] == [3, 3, 2, 3]
    assert [len(s) for s in music.test.sets.values()] == [3, 3, 3, 3]
    assert music.remarks[0] == (
        "left out of training, since another set's validation or test part has them: 1 of 3 of jsb"
    )


@pytest.fixture
def small(monkeypatch):
    """The recipe at a size for tests, evaluated eagerly; and one that is transposed."""
    for name in (NAME, "f_rnn_jsb", "f_rnn_jsb_transposed"):
        recipe = recipes.get(name)
        structure = {**recipe.structure, "units": 6, "embedding_size": 6, "num_layers": 1}
        emission = {**recipe.emission, **({"units": 4} if "mlp" in name else {})}
        changed = {"structure": structure, "emission": emission, "window": 5, "batch_size": 4}
        monkeypatch.setitem(recipes.RECIPES, name, dataclasses.replace(recipe, **changed))
    monkeypatch.setattr(runs, "EPOCH", 3)
    compile = runs.SequenceModel.compile
    monkeypatch.setattr(
        runs.SequenceModel, "compile", lambda *a, **k: compile(*a, run_eagerly=True, **k)
    )


@pytest.mark.slow
def test_from_files_to_a_published_model(small, folder, tmp_path, monkeypatch, capsys):
    options = ["--data", str(folder), "--edition", "any"]
    run, root = tmp_path / "run", tmp_path / "root"
    root.mkdir()
    command.main(
        ["train", NAME, *options, *WITHOUT, "--steps", "6", "--no-test", "--out", str(run)]
    )
    printed = capsys.readouterr().out
    assert "valid_nottingham: " in printed and "valid_piano_midi: " in printed
    best = json.loads((run / "best.json").read_text())
    assert best["valid"] == pytest.approx(np.mean([*best["valid_of_sets"].values()]))
    assert json.loads((run / "run.json").read_text())["without"] == ["bach"]
    monkeypatch.setattr(evaluate.baselines, "all_of", lambda splits: {"none": -1e9})
    command.main(["evaluate", str(run), *options])
    assert "test, mean of sets: " in capsys.readouterr().out
    command.main(["publish", str(run), "--root", str(root)])
    card = zoo.card(NAME, root=root)
    scores = [of["full"]["exact"]["value"] for of in card["sets"].values()]
    assert card["test"]["full"]["exact"]["value"] == pytest.approx(np.mean(scores))
    assert {*card["sets"]} == {*FILES} and card["training"]["without"] == ["bach"]
    assert (card["training"]["transpose"], card["training"]["transpose_of_recipe"]) == (6, 6)
    for words in ("without bach", "nottingham any"):
        assert words in card["trained_on"]
    assert "jsb: Boulanger-Lewandowski" in card["data"]["terms"]
    page = (root / NAME / "README.md").read_text()
    assert "random number of semitones, at most 6." in page and "exact, muse alone" in page
    assert "unweighted mean of those of jsb, muse, nottingham, piano_midi" in page
    capsys.readouterr()
    monkeypatch.setenv("SRNN_TF_ZOO", str(root))
    command.main(["evaluate", NAME, *options])  # the card says what is left out
    assert f"the card: {card['test']['paper']['exact']['value']:.4f}" in capsys.readouterr().out


def test_a_transposed_run_has_a_name_of_its_own(small, folder, tmp_path, capsys):
    options = ["--data", str(folder / FILES["jsb"]), "--edition", "any"]
    run = tmp_path / "run"
    words = [*options, "--steps", "3", "--no-test", "--out", str(run)]
    command.main(["train", "f_rnn_jsb", *words, "--transpose", "6"])
    held = json.loads((run / "run.json").read_text())
    assert held["recipe"] == "f_rnn_jsb_transposed" and "transpose" not in held
    for same in (["f_rnn_jsb", "--transpose", "6"], ["f_rnn_jsb_transposed"]):
        command.main(["train", *same, *words])
        assert "ended at step 3 of 3" in capsys.readouterr().out
    for other in (["f_rnn_jsb"], ["f_rnn_jsb", "--transpose", "5"]):
        with pytest.raises(SystemExit):
            command.main(["train", *other, *words])
        assert "holds another run" in capsys.readouterr().err
    # It is published under the recipe's name, with what its card says of the training.
    told = provenance.training(runs.Run.open(str(run)))
    assert (told["transpose"], told["transpose_of_recipe"]) == (6, 6)


def test_stream_is_what_a_run_trains_on(small, folder, tmp_path):
    splits = data.load("jsb", folder / FILES["jsb"], "any")
    frames = [1, 1, 1]
    made = [
        runs.Run.create(str(tmp_path / f"{i}"), "f_rnn_jsb", 3, 0, frames, transpose=transpose)
        for i, transpose in enumerate((None, 0, 6, 3))
    ]
    wanted = [data.streams(splits.train, 4, 5, 0, semitones) for semitones in (0, 0, 6, 3)]
    for run, expected in zip(made, wanted, strict=True):
        found = train.stream(run, splits)
        for i in range(4):
            assert found[i]["frames"].tobytes() == expected[i]["frames"].tobytes()


BAD = {
    "no folder": ("{}/nowhere", [], "nowhere does not exist; music is read from a folder"),
    "a file": ("{}/Nottingham.mat", [], "is not a folder; music is read from a folder"),
    "no set": ("{}/empty", WITHOUT, "does not hold nottingham, muse, jsb, piano_midi"),
    "one missing": ("{}/three", WITHOUT, "muse (muse: MuseData.mat or MuseData.pickle); to leave"),
    "unknown": ("{}", ["--without", "mozart"], "without=['mozart'] are no sets of music; accepted"),
    "none left": (
        "{}",
        [word for name in ("bach", *FILES) for word in ("--without", name)],
        "leaves no set of music",
    ),
    "no path": (None, [], "music is read from a folder; pass path="),
    "speech": ("x", ["--transpose", "6"], "`--transpose` is for piano rolls, and f_rnn_timit is"),
    "strokes": ("x", ["--transpose", "6"], "f_rnn_unipen is of frames of 3 values"),
    "range": ("{}", ["--transpose", "25"], "`--transpose` must be an integer from 0 to 24; rec"),
    "plain": ("{}", ["--transpose", "0"], "does not go with f_rnn_jsb_transposed; without trans"),
    "one set": ("{}/JSB_Chorales.mat", WITHOUT, "without=['bach'] is for music; jsb is one data"),
}
NAMES = {"speech": "f_rnn_timit", "strokes": "f_rnn_unipen", "range": "f_rnn_jsb"}
NAMES |= {"plain": "f_rnn_jsb_transposed", "one set": "f_rnn_jsb"}


@pytest.mark.parametrize("case", BAD)
def test_train_refuses(case, folder, tmp_path, capsys):
    path, words, message = BAD[case]
    (folder / "empty").mkdir(exist_ok=True)
    if case == "one missing":
        (folder / "three").mkdir(exist_ok=True)
        for name, file in FILES.items():
            if name != "muse":
                (folder / "three" / file).write_bytes((folder / file).read_bytes())
    options = [] if path is None else ["--data", path.format(folder)]
    with pytest.raises(SystemExit) as error:
        command.main(
            ["train", NAMES.get(case, NAME), *options, *words, "--out", str(tmp_path / "run")]
        )
    assert error.value.code == 2 and message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_all_given_away_is_an_error(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(pooled_music, "repeated", lambda rolls, others: range(len(rolls)))
    with pytest.raises(ValueError, match="all training sequences of nottingham, muse, jsb, piano"):
        data.load("music", folder, "any", without=["bach"])

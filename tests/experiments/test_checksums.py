"""No damage to a run's folder is read in silence; folders of earlier versions go on."""

import dataclasses
import json
import os
import shutil
import threading
import warnings

import numpy as np
import pytest

from srnn_tf import command, data, recipes
from srnn_tf.experiments import checksums, publish, runs, train
from srnn_tf.zoo import artifacts
from tests import publishing
from tests.publishing import NAME, change_run, make_old

# Fixtures.
small = publishing.small
only_here = publishing.only_here
FILES = ("run.json", "best.json", "clock.json", "evaluation.json", *runs.WEIGHTS)


@pytest.fixture
def folder(small, tmp_path):
    """A run of one's own, to damage."""
    return shutil.copytree(small[1], tmp_path / "run")


@pytest.fixture(scope="module")
def model(small):
    return runs.Run.open(str(small[1])).build()


def read(folder, name, model):
    """What the package reads of a file."""
    run = runs.Run.open(str(folder))
    if name in runs.WEIGHTS:
        return runs.load_weights(model, folder / name, run)
    return run if name == "run.json" else run.read_json(name)


def flips(content, count, seed):
    """The content with one bit changed, at places of the whole file and of its end."""
    random = np.random.default_rng(seed)
    for i in range(count):
        end = i % 4 == 0  # where the checksum is
        place = random.integers(max(0, len(content) - 400) if end else 0, len(content))
        changed = bytearray(content)
        changed[place] ^= 1 << random.integers(8)
        yield place, bytes(changed)


def silent(folder, name, model, count):
    """The places of `count` changed bits of a file that are not noticed."""
    path, missed = folder / name, []
    content = path.read_bytes()
    for place, changed in flips(content, count, len(name)):
        path.write_bytes(changed)
        try:
            read(folder, name, model)
        except ValueError as error:
            assert name in str(error)
        else:
            missed.append(place)
    path.write_bytes(content)
    read(folder, name, model)
    return missed


@pytest.mark.parametrize("name", FILES)
def test_a_changed_bit_is_noticed(name, folder, model):
    assert silent(folder, name, model, 24) == []


@pytest.mark.slow
def test_100_of_100_changed_bits_are_noticed_in_every_file(folder, model):
    missed = {name: len(silent(folder, name, model, 100)) for name in FILES}
    print("".join(f"{name}: {100 - n} of 100 noticed\n" for name, n in missed.items()))
    assert not any(missed.values())


CHANGES = {
    "cut by a byte": lambda content: content[:-1],
    "cut by its checksum": lambda content: content[:-94],
    "cut in the middle": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "longer": lambda content: content + b"\n",
    "twice": lambda content: content + content,
    "a length": lambda content: content[:-74] + b"99999999" + content[-66:],
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", ["best.weights.h5", "best.json", "run.json"])
def test_other_damage_is_noticed(change, name, folder, model):
    path = folder / name
    path.write_bytes(CHANGES[change](path.read_bytes()))
    with pytest.raises(ValueError, match=name):
        read(folder, name, model)


def other(small, tmp_path, **change):
    """A run with the same shapes, and other settings."""
    run = dataclasses.replace(runs.Run.open(str(small[1])), folder=tmp_path / "other", **change)
    run.folder.mkdir()
    run.write()
    model = run.build()
    for name in runs.WEIGHTS:
        runs.save_weights(model, run.folder / name, run)
    run.write_json("best.json", {"valid": 0.0, "step": 3})
    return run


@pytest.mark.parametrize(
    "change",
    [{"recipe": "another"}, {"seed": 9}, {"steps": 21},
     {"frames": [1, 2, 3]}, {"batch_size": 2}, {"dtype": "mixed_bfloat16"}],
)  # fmt: skip
def test_files_of_another_run_are_refused(change, small, folder, model, tmp_path, monkeypatch):
    if "recipe" in change:
        change = {"recipe": dataclasses.replace(recipes.get(NAME), name="another")}
        monkeypatch.setitem(recipes.RECIPES, "another", change["recipe"])
    elsewhere = other(small, tmp_path, **change)
    for name in runs.WEIGHTS:
        shutil.copy(elsewhere.folder / name, folder / name)
        with pytest.raises(ValueError, match=f"{name} is .* it is of the run .*; this one is"):
            read(folder, name, model)
    shutil.copy(elsewhere.folder / "best.json", folder)
    with pytest.raises(ValueError, match="best.json is of another run"):
        runs.Run.open(str(folder)).best()
    shutil.copy(elsewhere.folder / "run.json", folder)
    # A run.json of elsewhere does not make other files its own.
    shutil.copy(small[1] / "best.weights.h5", folder)
    with pytest.raises(ValueError, match="it is of the run"):
        read(folder, "best.weights.h5", model)


def test_weights_are_read_by_keras_as_they_are(folder, model):
    model.load_weights(folder / "best.weights.h5")
    first = [v.numpy() for v in model.weights]
    run = runs.Run.open(str(folder))
    for a, b in zip(first, run.best_model().weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_folder_of_an_earlier_version_is_read_with_a_warning_once(folder, model, small):
    make_old(folder)
    old = {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}
    digest = artifacts.sha256(folder / "best.weights.h5")
    assert json.loads(old["evaluation.json"])["weights_sha256"] == digest
    with pytest.warns(UserWarning, match="earlier version, whose files had no checksums; they "):
        run = runs.Run.open(str(folder))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = runs.Run.open(str(folder))
    assert run == again and run.checked
    assert dataclasses.replace(run, folder=small[1]) == runs.Run.open(str(small[1]))
    for name, content in old.items():
        new = (folder / name).read_bytes()
        if name in runs.WEIGHTS:
            assert new.startswith(content) and len(new) > len(content)
        else:
            values, checked = checksums.read_json(folder / name)
            expected = json.loads(content)
            assert checked and {k: values[k] for k in expected} == expected
    assert publish.evaluation(run)["weights_sha256"] == run.best_weights()[1] == digest
    assert set(os.listdir(folder)) == set(os.listdir(small[1]))
    for name in FILES:
        assert silent(folder, name, model, 5) == []


@pytest.mark.parametrize("left", [0, 1, 3])
def test_checksums_that_were_added_in_part_are_added_again(left, folder, monkeypatch, model):
    make_old(folder)
    added, append = [], checksums.append

    def killed(path, identity):
        if len(added) == left:
            raise KeyboardInterrupt
        added.append(path)
        append(path, identity)

    with monkeypatch.context() as patch:
        patch.setattr(checksums, "append", killed)
        if left < 2:
            with pytest.raises(KeyboardInterrupt):
                runs.Run.open(str(folder))
        else:
            patch.setattr(runs.Run, "write", lambda self: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                runs.Run.open(str(folder))
    with pytest.warns(UserWarning, match="earlier version"):
        run = runs.Run.open(str(folder))
    assert run.checked and run.updates() == 20 and run.best_model() is not None


def test_a_folder_of_an_earlier_version_that_cannot_be_written(folder, monkeypatch):
    make_old(folder)
    before = {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}

    def refused(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(runs.files, "locked", refused)
    for _ in range(2):
        with pytest.warns(UserWarning, match="none can be added .*Permission denied"):
            run = runs.Run.open(str(folder))
        assert run.updates() == 20 and run.best_model() is not None and run.best()[1] > 0
    assert {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()} == before


def test_an_old_run_json_that_was_damaged_where_its_format_is(folder):
    content = (folder / "run.json").read_text()
    for old, new in (('"format"', '"fOrmat"'), ('"format": 2', '"format": 3')):
        (folder / "run.json").write_text(content.replace(old, new))
        with pytest.raises(ValueError, match="run.json is damaged"):
            runs.Run.open(str(folder))
    (folder / "run.json").write_text(content)
    change_run(folder / "run.json", format=3)
    with pytest.raises(ValueError, match="is of format 3; this version reads 2"):
        runs.Run.open(str(folder))


@pytest.fixture
def words(small, folder):
    """The command that trains the run of `folder`."""
    file = str(small[1].parent / "JSB_Chorales.mat")
    return ["train", NAME, "--data", file, "--edition", "any", "--steps", "20", "--no-test"]


def test_two_trainings_in_one_folder(folder, words, capsys):
    free, ready = threading.Event(), threading.Event()

    def hold():
        with runs.in_use(folder):
            ready.set()
            free.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    ready.wait()
    before = {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}
    with pytest.raises(SystemExit):
        command.main([*words, "--out", str(folder)])
    error = capsys.readouterr().err
    assert f"the run in {folder} is in use by process {os.getpid()} on " in error
    assert error.count("\n") == 1
    assert {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()} == before
    free.set()
    thread.join()
    command.main([*words, "--out", str(folder)])
    assert "ended at step 20 of 20" in capsys.readouterr().out
    assert not (folder / "train.lock").exists()


REFUSED = {
    "steps": ["--steps", "0"],
    "window": ["--window", "0"],
    "data": ["--data", "none.mat"],
    "rate": ["--learning-rate", "nan"],
    "candidate": ["--candidate", "none"],
    "batch": ["--batch-size", "99999"],
    "warm start": ["--begin-with", "nowhere"],
    "transpose": ["--transpose", "-1"],
    "openings": ["--openings", "99"],
}


@pytest.mark.parametrize("option", REFUSED)
@pytest.mark.parametrize("place", ["new/deep/run", "made"])
def test_a_refused_command_leaves_nothing(option, place, words, tmp_path, monkeypatch, capsys):
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "notes.txt").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    if option == "batch":  # accepted, but the memory is not there
        monkeypatch.setattr(train, "stream", lambda *a: (_ for _ in ()).throw(MemoryError("big")))
        with pytest.raises(SystemExit) as stopped:
            command.main([*words, *REFUSED[option], "--out", str(tmp_path / place)])
        assert stopped.value.code == 1
    else:
        with pytest.raises(SystemExit) as stopped:
            command.main([*words, *REFUSED[option], "--out", str(tmp_path / place)])
        assert stopped.value.code == 2 and capsys.readouterr().err.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("stage", ["build", "Keeper", "fit", "first validation"])
def test_a_failure_before_there_are_weights_leaves_nothing(
    stage, words, tmp_path, monkeypatch, capsys
):
    def fails(*args, **kwargs):
        raise OSError(28, "No space left on device")

    place = {
        "build": (runs.Run, "build"),
        "Keeper": (train, "Keeper"),
        "fit": (runs.SequenceModel, "fit"),
        "first validation": (runs, "save_weights"),
    }
    monkeypatch.setattr(*place[stage], fails)
    with pytest.raises(SystemExit):
        command.main([*words, "--validate-every", "1", "--out", str(tmp_path / "a" / "b")])
    assert "No space left on device" in capsys.readouterr().err
    assert not (tmp_path / "a").exists()


def test_the_folder_of_a_run_is_no_input(words, folder, small, tmp_path, capsys):
    link = tmp_path / "link"
    link.symlink_to(folder)
    prepared = tmp_path / "prepared"
    prepared.mkdir()
    for options, message in (
        (["--begin-with", str(folder), "--out", str(link)], "is --begin-with; name another folder"),
        (["--data", str(prepared), "--out", str(prepared)], "is --data; name another folder"),
        (["--out", ""], "--out must not be empty"),
    ):
        with pytest.raises(SystemExit):
            command.main([*words, *options])
        assert message in capsys.readouterr().err.replace("'--out': ", "--out ")
    assert not list(prepared.iterdir())


def test_an_evaluation_is_of_the_weights_that_it_scored(folder, small, monkeypatch):
    """A training that goes on replaces the best weights while they are scored."""
    from srnn_tf.experiments import evaluate

    run, splits = runs.Run.open(str(folder)), small[2]
    first, whole = runs.digest(folder / "best.weights.h5"), evaluate.whole

    def replaced(*args, **kwargs):
        model = run.build()
        runs.save_weights(model, folder / "best.weights.h5", run)
        return whole(*args, **kwargs)

    monkeypatch.setattr(evaluate, "whole", replaced)
    monkeypatch.setattr(evaluate.baselines, "all_of", lambda splits: {"none": -1e9})
    assert isinstance(splits, data.Splits)
    assert evaluate.evaluate_run(run, splits, 2, 1)["weights_sha256"] == first
    with pytest.raises(ValueError, match="is of other weights"):
        publish.evaluation(run)

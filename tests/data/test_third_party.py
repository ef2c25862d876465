"""A kind of data that this package does not know: registered, prepared, loaded, batched."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from srnn_tf import SequenceModel, data, plots, zoo
from srnn_tf.data import corpora, modality
from srnn_tf.data.corpora import folders
from srnn_tf.data.prepared import info
from srnn_tf.experiments import baselines
from srnn_tf.serving import inputs
from tests import counts
from tests.preparing import content


@pytest.fixture
def known(monkeypatch):
    """The registries, with the third party's modality and corpus until the test ends."""
    monkeypatch.setattr(modality, "MODALITIES", dict(modality.MODALITIES))
    monkeypatch.setattr(corpora, "CORPORA", dict(corpora.CORPORA))
    monkeypatch.setattr(corpora, "_MODULES", dict(corpora._MODULES))
    counts.register()


def rows(i):
    return np.random.default_rng(i).poisson(3.0, [20 + i, counts.WIDTH]).astype(np.uint8)


@pytest.fixture
def source(tmp_path):
    for i, part in enumerate(("train", "train", "valid", "test")):
        path = tmp_path / "source" / part / f"shop{i}.counts"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savetxt(path, rows(i), "%d")
    return tmp_path / "source"


def test_prepared_loaded_and_batched(known, source, tmp_path, capsys):
    assert "visits" in data.names()
    path = data.prepare("visits", source, tmp_path / "out")
    splits = data.load("visits", path)
    assert "visits (prepared)" in capsys.readouterr().out
    assert (splits.kind, splits.event_size, splits.sample_rate) == ("counts", counts.WIDTH, None)
    np.testing.assert_array_equal(splits.train[1], rows(1))
    np.testing.assert_array_equal(splits.test[0], rows(3))
    assert splits.standardization.undo(splits.valid[0]).tolist() == rows(2).tolist()
    batch = data.streams(splits.train, batch_size=2, num_steps=6)[0]
    assert batch["frames"].shape == (2, 6, counts.WIDTH)
    (whole,) = data.batches(splits.test, batch_size=1)
    np.testing.assert_array_equal(whole["frames"][0], rows(3))
    assert data.padded(splits.train, batch_size=2)[0]["mask"].sum() == 20 + 21
    found = info.read(path)
    assert (found["kind"], found["dtype"]) == ("counts", "|u1")
    assert found["unit"] == "nats per step"


def test_a_model_is_trained_on_it(known, source, tmp_path):
    splits = data.load("visits", data.prepare("visits", source, tmp_path / "out"))
    likelihood = {"class": "gaussian_mixture", "num_components": 2}
    model = SequenceModel(
        {"class": "rnn", "units": 4},
        {"class": "factorized", "event_size": counts.WIDTH, "likelihood": likelihood},
    )
    model.compile(jit_compile=False)
    history = model.fit(data.streams(splits.train, 2, 6), epochs=1, verbose=0)
    assert np.isfinite(history.history["loss"]).all()


def test_standardized_but_for_its_first_value(known, source, tmp_path):
    visits = dataclasses.replace(
        modality.get("counts"), name="marked", dtype="<i2", standardized=True, unscaled=1,
        reader=lambda path, options: [(counts.read(path, options)[0][0].astype(np.int16), 0.5)],
    )  # fmt: skip
    data.register_modality(visits)
    data.register_corpus("marks", folders.corpus("marked"))
    splits = data.load("marks", data.prepare("marks", source, tmp_path / "out"))
    train = np.concatenate([np.asarray(s) for s in splits.train])
    np.testing.assert_array_equal(train[:, 0], np.concatenate([rows(0), rows(1)])[:, 0])
    np.testing.assert_allclose(train[:, 1:].mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(train[:, 1:].std(axis=0), 1, atol=1e-6)


def test_a_file_is_read_for_scoring_as_it_is_prepared(known, source, tmp_path):
    test_standardized_but_for_its_first_value(known, source, tmp_path)
    splits = data.load("marks", tmp_path / "out")
    card = {"name": "x", "data": {"kind": "marked"}, "event_size": counts.WIDTH}
    card |= {"sample_rate": None}
    model = zoo.Published("x", card, lambda: splits.standardization, None, lambda: tmp_path)
    (sequence,) = inputs.read(source / "test" / "shop3.counts", model)
    np.testing.assert_array_equal(sequence.values, splits.test[0])
    del modality.MODALITIES["marked"]
    with pytest.raises(ValueError, match="x is of the modality 'marked', which is not registered"):
        list(inputs.read(source / "test" / "shop3.counts", model))


def test_baselines_and_pictures_are_looked_up(known, source, tmp_path, monkeypatch):
    splits = data.load("visits", data.prepare("visits", source, tmp_path / "out"))
    assert baselines.all_of(splits) == {}
    plots.draw(splits.kind, splits.test[0], tmp_path / "default.png")  # rows of values
    assert (tmp_path / "default.png").stat().st_size > 500
    monkeypatch.setitem(baselines.BASELINES, "counts", lambda splits: {"none": -1.0})
    monkeypatch.setitem(plots.PICTURES, "counts", lambda frames, path, *more: path.touch())
    assert baselines.all_of(splits) == {"none": -1.0}
    plots.draw(splits.kind, splits.test[0], tmp_path / "x.png")
    assert (tmp_path / "x.png").exists()


def test_a_bad_file_is_named(known, source, tmp_path):
    (source / "train" / "shop9.counts").write_text("1 2 3\n")
    with pytest.raises(ValueError, match=r"shop9.counts: has shape \(1, 3\)"):
        data.prepare("visits", source, tmp_path / "out")


# Imported by the main process alone: a worker knows of it from its task.
SCRIPT = """
from srnn_tf import data
if __name__ == "__main__":
    import mine
    data.prepare("own_visits", {source!r}, {out!r}, workers=2)
"""
MODULE = """
import dataclasses
from srnn_tf import data
from srnn_tf.data.corpora import folders
from tests import counts
counts.register()
def find(source, options):
    return folders.find((".counts",), source, options)
data.register_corpus("own_visits", dataclasses.replace(folders.corpus("counts"), find=find))
"""


def test_workers_import_the_module_that_registers_it(source, tmp_path, known):
    (tmp_path / "mine.py").write_text(MODULE)
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(source=str(source), out=str(tmp_path / "two")))
    root = str(Path(counts.__file__).parents[1])
    env = os.environ | {"PYTHONPATH": os.pathsep.join([root, str(tmp_path)])}
    subprocess.run([sys.executable, script], env=env, check=True, timeout=300)
    data.register_corpus("own_visits", folders.corpus("counts"))
    one = data.prepare("own_visits", source, tmp_path / "one")
    assert content(one) == content(tmp_path / "two")


@pytest.mark.parametrize(
    ("name", "corpus", "message"),
    [
        ("timit", None, "the data set 'timit' is registered already"),
        ("music", None, "the data set 'music' is registered already"),
        ("../x", None, "`name` must be letters, digits and _; received '../x'"),
        (3, None, "`name` must be letters, digits and _; received 3"),
        ("mine", "speech", "`corpus` must be a Corpus; received 'speech', without kind"),
        ("mine", {"kind": "cuonts"}, "unknown modality 'cuonts'. Did you mean 'counts'?"),
    ],
)
def test_corpora_that_are_refused(name, corpus, message, known):
    good = corpora.get("visits")
    if corpus is None:
        corpus = good
    elif corpus != "speech":
        corpus = dataclasses.replace(good, **corpus)
    with pytest.raises(ValueError) as error:
        data.register_corpus(name, corpus)
    assert message in str(error.value)


def test_modalities_that_are_refused(known):
    with pytest.raises(ValueError, match="the modality 'speech' is registered already"):
        data.register_modality(data.Modality("speech"))
    with pytest.raises(ValueError, match="`modality` must be a Modality; received 'speech'"):
        data.register_modality("speech")
    with pytest.raises(ValueError, match="cannot be read: it has no `reader`"):
        data.register_modality(data.Modality("mute"))
        folders.corpus("mute")
    for argument, (value, message) in {
        "name": ("a b", "`name` must be letters"),
        "dtype": ("<f4", "`dtype` must be '<i2' or '|u1'; received '<f4'"),
        "width": (0, "`width` must be None or from 1; received 0"),
        "unscaled": (4, "`unscaled` must be 0 to the width; received 4"),
    }.items():
        with pytest.raises(ValueError) as error:
            data.Modality(**{"name": "fine", "width": 3, argument: value})
        assert message in str(error.value)


def test_names_that_are_not_registered(known, source, tmp_path, monkeypatch):
    for call in (
        lambda: data.load("visit", tmp_path),
        lambda: data.prepare("visit", source, tmp_path / "out"),
    ):
        with pytest.raises(ValueError, match="[dD]id you mean 'visits'"):
            call()
    with pytest.raises(ValueError, match="Did you mean 'counts'"):
        data.Splits("x", *[[rows(0)]] * 3, "e", "s", kind="count")
    path = data.prepare("visits", source, tmp_path / "out")
    monkeypatch.delitem(corpora.CORPORA, "visits")
    with pytest.raises(ValueError, match="its name is 'visits': .* `data.register_corpus`"):
        info.read(path)

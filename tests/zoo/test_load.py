"""Published models: found, checked, loaded and trained further."""

import dataclasses
import json
import re
import warnings

import numpy as np
import pytest

from srnn_tf import data, recipes, zoo
from srnn_tf.experiments import cards, evaluate, runs
from srnn_tf.zoo import artifacts, models, store
from tests import publishing
from tests.publishing import NAME, change

# Fixtures.
small = publishing.small
copy = publishing.copy
only_here = publishing.only_here


def test_load_scores_as_the_card_says_and_trains_on(small):
    root, run, splits = small
    model, card = zoo.load(NAME, root=root), zoo.card(NAME, root=root)
    for protocol in ("paper", "full"):
        held = card["test"][protocol]["elbo"]
        found = evaluate.score(model, splits.test, protocol)
        assert found == pytest.approx(held["value"], rel=1e-3)
        assert held["low"] < held["value"] < held["high"] and held["sequences"] == 3
        bounds = {"elbo", "elbo_first_2", "iwae_3_first_2", "fivo_3_first_2"}
        assert set(card["test"][protocol]) == bounds
    trained = runs.Run.open(str(run)).best_model()
    assert int(model.step) == int(trained.step) == card["training"]["best_update"]
    for ours, theirs in zip(model.trainable_variables, trained.trainable_variables, strict=True):
        np.testing.assert_array_equal(ours, np.asarray(theirs).astype(np.float16))
    assert model.sample(1, 3, seed=0).shape == [1, 3, 88]
    before = float(model.log_prob(splits.train[0][None])[0])
    model.fit(data.streams(splits.train, 4, 5), epochs=2, steps_per_epoch=20, verbose=0)
    assert float(model.log_prob(splits.train[0][None])[0]) > before
    assert int(model.step) == card["training"]["best_update"] + 40
    assert float(model.optimizer.learning_rate) == pytest.approx(1e-4)


def test_the_card_says_what_was_done(small):
    root, _, splits = small
    card = zoo.card(NAME, root=root)
    assert card["name"] == NAME and card["version"] == 1 and card["stand_in"] is False
    assert card["unit"] == "nats per step" and card["parameters"] > 1000
    assert "3 sequences, 39 steps of 88 values; nothing else" in card["trained_on"]
    t = card["training"]
    assert (t["updates"], t["updates_of_recipe"], t["seed"], t["batch_size"]) == (20, 20_000, 0, 4)
    assert set(card["files"]) == set(artifacts.FILES)
    text = (root / NAME / "README.md").read_text()
    for words in ("ELBO", "IWAE-3, first 2 sequences", "20 updates", 'zoo.load("f_srnn_jsb")'):
        assert words in text
    assert f"srnn-tf evaluate {NAME} --data PATH --num-samples 3 --bounds-on 2`" in text
    value = card["test"]["full"]["elbo"]["value"]
    assert f"| full | ELBO | {value:.4f} |" in text


def test_where_models_are_looked_for(small, tmp_path, monkeypatch):
    root = small[0]

    def updates():
        return zoo.card(NAME, version=1)["training"]["updates"]

    monkeypatch.setattr(store, "roots", lambda given=None: [given] if given else [])
    assert NAME not in zoo.names(published=True) and NAME in zoo.names()
    monkeypatch.undo()
    monkeypatch.setattr(store, "_registered", [])
    assert zoo.names(published=True, root=root) == [NAME]
    monkeypatch.setenv("SRNN_TF_ZOO", str(root))
    assert NAME in zoo.names(published=True) and updates() == 20
    monkeypatch.delenv("SRNN_TF_ZOO")
    zoo.register_root(root)
    assert store.roots()[0] == root and updates() == 20
    with pytest.raises(FileNotFoundError, match="nowhere.* is not a folder"):
        zoo.register_root(tmp_path / "nowhere")
    monkeypatch.setenv("SRNN_TF_ZOO", str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match="SRNN_TF_ZOO=.*nowhere"):
        zoo.names()


def test_names_and_versions_that_do_not_exist(small):
    root = small[0]
    with pytest.raises(ValueError, match="unknown model 'f_srn_jsb'. Did you mean 'f_srnn_jsb'"):
        zoo.load("f_srn_jsb", root=root)
    with pytest.raises(ValueError, match="version=7 of f_srnn_jsb does not exist; published: 1"):
        zoo.load(NAME, 7, root=root)
    with pytest.raises(
        ValueError, match="no published weights. Train it: .*srnn-tf train f_rnn_timit"
    ):
        zoo.load("f_rnn_timit", root=root)
    with pytest.raises(ValueError, match="`version` must be an integer"):
        zoo.load(NAME, "1", root=root)
    with pytest.raises(ValueError, match="unknown model '../jsb'"):
        zoo.load("../jsb", root=root)


@pytest.mark.parametrize("file", artifacts.FILES)
def test_a_damaged_or_missing_file_is_named(file, copy):
    path = copy / NAME / "1" / file
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"{path} is damaged: its SHA-256"):
        zoo.load(NAME, root=copy)
    path.unlink()
    with pytest.raises(ValueError, match=f"{path} is missing"):
        zoo.load(NAME, root=copy)


def test_a_damaged_card_or_config_is_named(copy):
    folder = copy / NAME / "1" / "assets.extra"
    card, config = folder / "card.json", folder / "config.json"
    kept = card.read_text()
    (folder / "card.sha256").unlink()  # of models published before there was one
    for content, message in (
        ("{", "is not a model's card"),
        ("[]", "is of format None; this version reads 1"),
        ('{"format": 2}', "is of format 2"),
        ('{"format": 1, "files": {"../../x": "0"}}', "must have a checksum for each of"),
        ("[" * 100_000, "is not a model's card"),
    ):
        card.write_text(content)
        with pytest.raises(ValueError, match=message):
            zoo.load(NAME, root=copy)
    card.unlink()
    with pytest.raises(ValueError, match="card.json is missing"):
        zoo.card(NAME, root=copy)
    card.write_text(kept)

    def forged(**values):
        """A config that its checksum agrees with."""
        change(config, **values)
        files = {**json.loads(kept)["files"], "assets.extra/config.json": artifacts.sha256(config)}
        change(card, files=files)

    held = json.loads(config.read_text())
    structure = held["model"]["structure"]
    for values, message in (
        ({"model": {**held["model"], "structure": {"class": "os.system"}}}, "unknown structure"),
        ({"model": {**held["model"], "strange": 1}}, "describes no model of this version"),
        ({"model": {**held["model"], "structure": {**structure, "units": 7}}}, "weights are not"),
        ({"model": {**held["model"], "structure": {**structure, "units": 10**9}}}, "`units` is"),
        ({"model": held["model"], "step": "many"}, "describes no model of this version"),
    ):
        forged(**values)
        with pytest.raises(ValueError, match=message):
            zoo.load(NAME, root=copy)


def test_weights_that_do_not_fit_change_nothing(copy, monkeypatch):
    data_file = copy / NAME / "1" / "variables" / "variables.data-00000-of-00001"
    data_file.write_bytes(b"")
    found = artifacts.Artifact.open(copy / NAME / "1")
    monkeypatch.setattr(artifacts.Artifact, "verify", lambda self: None)
    with pytest.raises(ValueError, match="weights cannot be read"):
        found.load()


def test_a_stand_in_loads_and_warns_once(copy, monkeypatch):
    monkeypatch.setattr(models, "_warned", set())
    monkeypatch.setitem(
        recipes.RECIPES, "f_srnn_muse", dataclasses.replace(recipes.get(NAME), dataset="muse")
    )
    cards.write_substitute("f_srnn_muse", NAME, copy)
    page = (copy / "f_srnn_muse" / "README.md").read_text()
    first = re.sub(r"\A---\n.*?\n---\n\n", "", page, flags=re.DOTALL)
    assert first.startswith("**A substitute:** its weights are those of f_srnn_jsb, trained on jsb")
    card = zoo.card("f_srnn_muse", root=copy)
    assert card["stand_in"] is True and card["name"] == "f_srnn_muse" and card["test"]
    with pytest.warns(UserWarning, match="f_srnn_muse is a substitute: .* never seen muse"):
        model = zoo.load("f_srnn_muse", root=copy)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = zoo.load("f_srnn_muse", root=copy)
        zoo.load(NAME, root=copy)
    np.testing.assert_array_equal(model.trainable_variables[0], again.trainable_variables[0])
    with pytest.raises(ValueError, match="f_rnn_jsb is not published"):
        cards.write_substitute("f_srnn_muse", "f_rnn_jsb", copy)
    with pytest.raises(ValueError, match="f_srnn_jsb is not the model of f_rnn_muse"):
        cards.write_substitute("f_rnn_muse", NAME, copy)
    for target in ("../x", None):
        change(copy / "f_srnn_muse" / "card.json", alias_of=target)
        with pytest.raises(ValueError, match="must name a model under `alias_of`"):
            zoo.load("f_srnn_muse", root=copy)


def test_an_alias_of_itself_is_an_error(copy):
    (copy / "f_rnn_jsb").mkdir()
    held = {"format": 1, "alias_of": "f_rnn_jsb", "stand_in": True, "statement": ""}
    held["name"] = "f_rnn_jsb"
    (copy / "f_rnn_jsb" / "card.json").write_text(json.dumps(held))
    with pytest.raises(ValueError, match="is an alias of 'f_rnn_jsb', which is a substitute"):
        zoo.load("f_rnn_jsb", root=copy)

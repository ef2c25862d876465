"""Every published model: whole, served without anything of ours, and what its card says."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

import srnn_tf
from srnn_tf import data, recipes, zoo
from srnn_tf.experiments import cards, checkout, evaluate, hub_cards, runs
from srnn_tf.serving import export
from srnn_tf.zoo import artifacts
from tests.serving.test_export import ALLOWED, ALONE, nodes

ROOT = Path(srnn_tf.__file__).parents[1] / "saved_models"
HELD = cards.newest(ROOT)
NAMES = [name for name, card in HELD.items() if not card.get("alias_of")]
ALIASES = [name for name, card in HELD.items() if card.get("alias_of")]
every = pytest.mark.parametrize("name", NAMES)
# Where the data of each set are below SRNN_TF_TEST_DATA; what a folder holds is prepared first.
SOURCES = {
    "music": "midi",
    "nottingham": "midi/Nottingham.mat",
    "muse": "midi/MuseData.mat",
    "jsb": "midi/JSB_Chorales.mat",
    "piano_midi": "midi/Piano_midi.mat",
    "unipen": "handwriting/unipen",
    "speech_commands": "speech/commands_en_16k",
    "perm_speech_commands": "speech/commands_en_16k",
}
MEGABYTES = 480  # that all weights and graphs together may have


def folder_of(name):
    return ROOT / name / str(HELD[name]["version"])


def test_what_is_published_first():
    midi = ("nottingham", "muse", "jsb", "piano_midi", "bach")
    wanted = {f"{m}_{d}" for m in ("f_rnn", "f_srnn", "delta_rnn_random") for d in midi}
    hier = ("rnn_hier", "srnn_hier")
    wanted |= {f"{m}_nottingham" for m in (*hier, "rnn_hier_mlp", "srnn_hier_mlp")}
    wanted |= {f"{m}_unipen" for m in ("f_rnn", "f_srnn", *hier)}
    wanted |= {f"{m}_speech_commands" for m in hier} | {"srnn_hier_perm_speech_commands"}
    assert wanted <= set(NAMES) and set(HELD) <= set(zoo.names(published=True))
    assert set(NAMES) <= set(recipes.RECIPES) and set(ALIASES) <= set(recipes.RECIPES)


@every
def test_the_artefact_is_whole(name):
    artifacts.Artifact.open(folder_of(name)).verify()
    card, config = (
        HELD[name],
        json.loads((folder_of(name) / "assets.extra/config.json").read_text()),
    )
    assert card["name"] == config["recipe"] == name
    recipe = recipes.get(name)
    assert config["model"]["event_size"] == recipe.event_size
    assert card["emission"] == recipe.emission and card["window"] == recipe.window
    scores = [s for of in card["test"].values() for s in of.values()]
    assert all(s["low"] < s["value"] < s["high"] for s in scores)
    full = next(iter(card["test"]["full"].values()))["value"]
    assert card["floors"] and all(full > floor for floor in card["floors"].values())


@every
def test_its_graph_is_of_stock_operations(name):
    content = (folder_of(name) / "saved_model.pb").read_bytes()
    (meta,) = saved_model_pb2.SavedModel.FromString(content).meta_graphs
    names = {f.signature.name for f in meta.graph_def.library.function}
    assert {node.op for node in nodes(meta.graph_def)} - names <= ALLOWED
    assert not any(f.attr["_XlaMustCompile"].b for f in meta.graph_def.library.function)
    wanted = {"score", "serving_default", "sample"}
    wanted |= {"score_raw"} if HELD[name]["sample_rate"] else set()
    assert set(meta.signature_def) - {"__saved_model_init_op"} == wanted
    assert list(meta.meta_info_def.tags) == ["serve"]


@every
def test_its_warm_up_has_rows(name):
    """A server that batches by itself does not start on a request of `sample`."""
    _, logs = export.warmup_protos()
    held = tf.data.TFRecordDataset(str(folder_of(name) / "assets.extra" / export.WARMUP))
    requests = [logs.PredictionLog.FromString(r.numpy()).predict_log.request for r in held]
    wanted = ["score", *(["score_raw"] if HELD[name]["sample_rate"] else [])]
    assert [request.model_spec.signature_name for request in requests] == wanted
    for request in requests:
        assert {len(v.tensor_shape.dim) > 0 for v in request.inputs.values()} == {True}


def test_pages_are_those_of_the_cards(tmp_path):
    results, index = tmp_path / "RESULTS.md", tmp_path / "published.json"
    before = {name: (ROOT / name / "README.md").read_text() for name in HELD}
    for name, card in HELD.items():
        living = checkout.living(name, card["data"]["name"]) if "data" in card else None
        assert before[name] == hub_cards.page(card, checkout.sample(name), living)
    kept = checkout.RESULTS.read_text(), cards.PUBLISHED.read_text()
    cards.write_tables(ROOT, results, index)
    assert (results.read_text(), index.read_text()) == kept


def test_the_folder_stays_small():
    size = sum(p.stat().st_size for p in ROOT.rglob("*") if p.is_file())
    assert size < MEGABYTES * 2**20


@pytest.mark.parametrize("name", ALIASES or ["none"])
def test_a_substitute_points_at_a_published_model(name):
    if name == "none":
        pytest.skip("no substitute is published")
    card = HELD[name]
    assert card == cards.substitute(name, card["alias_of"]) and card["alias_of"] in NAMES


def test_a_published_model_scores_real_data_as_its_card_says():
    check("f_rnn_bach", data.load("bach"))


def check(name, splits):
    """Load it, and score the test part: the card's numbers."""
    model, card = zoo.load(name), zoo.card(name)
    unit = recipes.get(card["name"]).unit
    for protocol, found in card["test"].items():
        held = next(iter(found.values()))
        value = evaluate.score(model, splits.test, protocol, unit=unit)
        assert value == pytest.approx(held["value"], rel=1e-3), protocol
    return model


def served(name, sequences, folder):
    """Scores of sequences of one length, by a process that has TensorFlow alone."""
    np.save(folder / "x.npy", np.stack(sequences).astype(np.float32))
    command = [sys.executable, "-c", ALONE, str(folder_of(name)), str(folder / "x.npy")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [float(word) for word in done.stdout.split()]


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """The splits of a recipe's data; skips what is not at hand."""
    given, made = os.environ.get("SRNN_TF_TEST_DATA"), {}

    def load(recipe):
        name = recipe.dataset
        if name not in made:
            path = None
            if name != "bach":
                if not given or not (Path(given) / SOURCES[name]).exists():
                    pytest.skip(f"SRNN_TF_TEST_DATA has no {SOURCES[name]}")
                path = Path(given) / SOURCES[name]
                if path.is_dir() and name != "music":  # which is read from files as they are
                    path = data.prepare(name, path, tmp_path_factory.mktemp("data") / name)
            made[name] = runs.load_data(recipe, path and str(path), None)
        return made[name]

    return load


@pytest.mark.slow
@every
def test_load_score_serve_sample_and_train(name, real, tmp_path):
    recipe = recipes.get(name)
    splits = real(recipe)
    model = check(name, splits)
    length = min(20, *(len(s) for s in splits.test[:2]))
    some = [np.asarray(s[:length]) for s in splits.test[:2]]
    expected = model.log_prob(np.stack(some).astype(np.float32))
    np.testing.assert_allclose(served(name, some, tmp_path), expected, rtol=1e-4)
    assert np.isfinite(model.sample(1, 2, seed=0)).all()
    if recipe.window is None:
        stream = data.padded(splits.train, 2)
    else:
        stream = data.streams(splits.train, 2, min(recipe.window, 10))
    history = model.fit(stream, epochs=1, steps_per_epoch=2, verbose=0)
    assert np.isfinite(history.history["loss"]).all()


@pytest.mark.slow
def test_saved_model_cli_shows_and_runs(tmp_path):
    folder = folder_of("f_rnn_bach")
    command = Path(sys.executable).with_name("saved_model_cli")

    def run(*words):
        return subprocess.run([command, *words], capture_output=True, text=True, check=True).stdout

    shown = run("show", "--dir", folder, "--all")
    assert "log_likelihood_per_step" in shown and "shape: (-1, -1, 88)" in shown
    np.save(tmp_path / "x.npy", np.zeros([2, 5, 88], np.float32))
    np.save(tmp_path / "n.npy", np.array([5, 3], np.int32))
    inputs = f"frames={tmp_path}/x.npy;length={tmp_path}/n.npy"
    signature = ["--tag_set", "serve", "--signature_def", "score"]
    printed = run("run", "--dir", folder, *signature, "--inputs", inputs)
    expected = zoo.load("f_rnn_bach").log_prob(
        np.zeros([2, 5, 88]), np.arange(5) < np.array([5, 3])[:, None]
    )
    line = printed.split("Result for output key log_likelihood:\n")[1].splitlines()[0]
    found = [float(word) for word in line.strip("[]").split()]
    np.testing.assert_allclose(found, expected, rtol=1e-4)

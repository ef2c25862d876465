"""Published models: from a run to a card, found, checked, loaded and trained further."""

import dataclasses
import http.server
import json
import shutil
import threading
import warnings

import numpy as np
import pytest

from srnn_tf import artifacts, data, recipes, roots, zoo
from tests import harness
from zoo import cards, evaluate, keep, publish, runs, train

NAME = "f_srnn_jsb"


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A small recipe, trained, evaluated and published: its root, run and data."""
    recipe = recipes.get(NAME)
    structure = {**recipe.structure, "units": 6, "embedding_size": 6, "latent_size": 3}
    changed = {"structure": structure, "window": 5, "batch_size": 4, "candidates": {}}
    folder = tmp_path_factory.mktemp("published")
    file = harness.write_mat(folder / "JSB_Chorales.mat", lengths=(13, 13, 13))
    options = ["--data", file, "--edition", "any"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(recipes.RECIPES, NAME, recipes_changed(recipe, changed))
        patch.setattr(train, "EPOCH", 10)
        patch.setattr(evaluate.floors, "all_of", lambda splits: {"none": -1e9})
        train.main([NAME, "--out", str(folder / "run"), *options, "--steps", "20"])
        evaluate.main([str(folder / "run"), *options, "--num-samples", "3", "--bounds-on", "2"])
        root = folder / "root"
        root.mkdir()
        publish.main([str(folder / "run"), "--root", str(root)])
        yield root, folder / "run", data.load("jsb", file, "any")


def recipes_changed(recipe, changes):
    return dataclasses.replace(recipe, **changes)


@pytest.fixture(autouse=True)
def only_here(monkeypatch, tmp_path):
    """No root of the machine, nothing registered, an empty cache."""
    monkeypatch.setattr(roots, "_registered", [])
    monkeypatch.setattr(roots, "published", lambda: {})
    monkeypatch.setenv("SRNN_TF_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SRNN_TF_ZOO", raising=False)
    monkeypatch.delenv("SRNN_TF_ZOO_URL", raising=False)


@pytest.fixture
def copy(small, tmp_path):
    """A root of one's own, to damage."""
    return shutil.copytree(small[0], tmp_path / "root")


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
    assert f"zoo.evaluate {NAME} --data PATH --num-samples 3 --bounds-on 2`" in text
    value = card["test"]["full"]["elbo"]["value"]
    assert f"| full | ELBO | {value:.4f} |" in text


def test_where_models_are_looked_for(small, tmp_path, monkeypatch):
    root = small[0]
    monkeypatch.setattr(roots, "roots", lambda given=None: [given] if given else [])
    assert NAME not in zoo.names(published=True) and NAME in zoo.names()
    monkeypatch.undo()
    monkeypatch.setattr(roots, "_registered", [])
    assert zoo.names(published=True, root=root) == [NAME]
    monkeypatch.setenv("SRNN_TF_ZOO", str(root))
    assert NAME in zoo.names(published=True) and zoo.card(NAME)["training"]["updates"] == 20
    monkeypatch.delenv("SRNN_TF_ZOO")
    zoo.register_root(root)
    assert roots.roots()[0] == root and zoo.card(NAME)["training"]["updates"] == 20
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
    with pytest.raises(ValueError, match="no published weights. Train it: .*zoo.train f_rnn_timit"):
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


def change(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_a_damaged_card_or_config_is_named(copy):
    folder = copy / NAME / "1" / "assets.extra"
    card, config = folder / "card.json", folder / "config.json"
    kept = card.read_text()
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
    monkeypatch.setattr(zoo, "_warned", set())
    monkeypatch.setitem(
        recipes.RECIPES, "f_srnn_muse", recipes_changed(recipes.get(NAME), {"dataset": "muse"})
    )
    cards.write_stand_in("f_srnn_muse", NAME, copy)
    first = (copy / "f_srnn_muse" / "README.md").read_text().splitlines()[0]
    assert first.startswith("**A stand-in:** its weights are those of f_srnn_jsb, trained on jsb")
    card = zoo.card("f_srnn_muse", root=copy)
    assert card["stand_in"] is True and card["name"] == "f_srnn_muse" and card["test"]
    with pytest.warns(UserWarning, match="f_srnn_muse is a stand-in: .* never seen muse"):
        model = zoo.load("f_srnn_muse", root=copy)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = zoo.load("f_srnn_muse", root=copy)
        zoo.load(NAME, root=copy)
    np.testing.assert_array_equal(model.trainable_variables[0], again.trainable_variables[0])
    with pytest.raises(ValueError, match="f_rnn_jsb is not published"):
        cards.write_stand_in("f_srnn_muse", "f_rnn_jsb", copy)
    with pytest.raises(ValueError, match="f_srnn_jsb is not the model of f_rnn_muse"):
        cards.write_stand_in("f_rnn_muse", NAME, copy)
    for target in ("../x", None):
        change(copy / "f_srnn_muse" / "card.json", alias_of=target)
        with pytest.raises(ValueError, match="must name a model under `alias_of`"):
            zoo.load("f_srnn_muse", root=copy)


def test_an_alias_of_itself_is_an_error(copy):
    (copy / "f_rnn_jsb").mkdir()
    held = {"format": 1, "alias_of": "f_rnn_jsb", "stand_in": True, "statement": ""}
    (copy / "f_rnn_jsb" / "card.json").write_text(json.dumps(held))
    with pytest.raises(ValueError, match="stands for 'f_rnn_jsb', a stand-in itself"):
        zoo.load("f_rnn_jsb", root=copy)


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder, and breaks off in files whose names hold `cut`."""

    cut, sent, corrupt = "", [], ""

    def log_message(self, *args):
        pass

    def do_GET(self):
        self.sent.append(self.path)
        if self.corrupt and self.corrupt in self.path:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"something else")
            return
        if not self.cut or self.cut not in self.path:
            return super().do_GET()
        self.send_response(200)
        self.send_header("Content-Length", "100000")
        self.end_headers()
        self.wfile.write(b"x" * 10)


@pytest.fixture
def server(small, monkeypatch):
    """An address that serves the published root, known to the package, and its handler."""
    root = small[0]

    class Own(Handler):
        sent: list = []

        def __init__(self, *args):
            super().__init__(*args, directory=str(root))

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Own) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        card = root / NAME / "1" / "assets.extra" / "card.json"
        published = {NAME: {"versions": {"1": artifacts.sha256(card)}}}
        monkeypatch.setattr(roots, "published", lambda: published)
        monkeypatch.setattr(
            roots, "roots", lambda given=None: [p for p in [roots.cache()] if p.is_dir()]
        )
        monkeypatch.setenv("SRNN_TF_ZOO_URL", f"http://127.0.0.1:{running.server_port}/")
        yield Own
        running.shutdown()


def test_download(server, small):
    assert NAME in zoo.names(published=True)
    model = zoo.load(NAME)
    assert int(model.step) == zoo.card(NAME)["training"]["best_update"]
    asked = len(server.sent)
    zoo.load(NAME)
    assert len(server.sent) == asked == len(artifacts.FILES) + 1  # the second from the cache
    held = {p.name for p in roots.cache().iterdir()}
    assert NAME in held and not [name for name in held if name.endswith(".part")]


def test_an_interrupted_download_goes_on(server):
    server.cut = "variables.data"
    with pytest.raises(OSError, match="cannot fetch .*variables.data"):
        zoo.load(NAME)
    assert not (roots.cache() / NAME).exists()
    asked, server.cut = len(server.sent), ""
    zoo.load(NAME)
    again = server.sent[asked:]
    assert not [path for path in again if "saved_model.pb" in path or "card" in path]
    assert [path for path in again if "variables.data" in path]


def test_what_is_sent_must_be_what_was_published(server):
    server.corrupt = "saved_model.pb"
    with pytest.raises(ValueError, match="saved_model.pb is not the file that was published"):
        zoo.load(NAME)
    server.corrupt = "card.json"
    shutil.rmtree(roots.cache())
    with pytest.raises(ValueError, match="card.json is not the file that was published"):
        zoo.load(NAME)
    server.corrupt = ""
    assert zoo.load(NAME) is not None


def test_two_downloads_at_once_are_one(server):
    found, errors = [], []

    def fetch():
        try:
            found.append(roots.download(NAME, 1, roots.published()[NAME]["versions"]["1"]))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=fetch) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors and len(set(found)) == 1 and len(found) == 3
    assert len(server.sent) == len(artifacts.FILES) + 1
    assert zoo.load(NAME) is not None


def test_no_address_no_server_and_no_cache(server, monkeypatch, tmp_path):
    monkeypatch.setenv("SRNN_TF_ZOO_URL", "http://127.0.0.1:9/")
    with pytest.raises(OSError, match="cannot fetch http://127.0.0.1:9/f_srnn_jsb/1/"):
        zoo.load(NAME)
    monkeypatch.delenv("SRNN_TF_ZOO_URL")
    with pytest.raises(OSError, match="is in none of .*set SRNN_TF_ZOO_URL"):
        zoo.load(NAME)
    monkeypatch.setenv("SRNN_TF_ZOO_URL", "http://127.0.0.1:9/")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SRNN_TF_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(OSError, match="cannot be written .*; set SRNN_TF_CACHE"):
        zoo.load(NAME)


def test_publish_refuses(small, tmp_path, capsys):
    root, folder, _ = small
    run = shutil.copytree(folder, tmp_path / "run")
    into = tmp_path / "root"
    held = json.loads((run / "evaluation.json").read_text())

    def refused(message):
        with pytest.raises(SystemExit):
            publish.main([str(run), "--root", str(into)])
        assert message in capsys.readouterr().err
        assert not list(into.rglob("*")) if into.exists() else True

    change(run / "evaluation.json", floors={"a coin": held["test"]["full"]["elbo"]["value"]})
    refused("is not above the floor")
    change(run / "evaluation.json", floors={}, weights_sha256="0")
    refused("is of other weights")
    (run / "evaluation.json").unlink()
    refused("evaluation.json is missing: run `python -m zoo.evaluate")
    with pytest.raises(FileExistsError, match="never replaced"):
        publish.write(runs.Run.open(str(folder)), root, version=1)
    with pytest.raises(ValueError, match="has the seed 0, as another run has"):
        opened = runs.Run.open(str(folder))
        publish.write(opened, into, seeds=[opened])


def test_further_seeds_are_on_the_card(small, copy, tmp_path, capsys):
    _, folder, _ = small
    others = []
    for seed in (1, 2):
        other = shutil.copytree(folder, tmp_path / f"seed{seed}")
        change(other / "run.json", seed=seed)
        held = json.loads((other / "evaluation.json").read_text())
        held["test"]["paper"]["elbo"]["value"] = -50.0 - seed
        (other / "evaluation.json").write_text(json.dumps(held))
        others.append(str(other))
    before = zoo.card(NAME, root=copy)
    publish.main([NAME, "--root", str(copy), "--seeds", *others])
    card = zoo.card(NAME, root=copy)
    found = card.pop("seeds")
    assert found["mean"] == -51.5 and found["standard_deviation"] == pytest.approx(0.5**0.5)
    assert [r["seed"] for r in found["runs"]] == [1, 2] and before.pop("seeds") is None
    assert card == before and zoo.load(NAME, root=copy) is not None
    page = (copy / NAME / "README.md").read_text()
    assert "seed 1, 20 updates: -51.0000; seed 2" in page and "mean -51.5000, standard dev" in page
    for words, message in (
        ([NAME], "give the runs whose scores to add by --seeds"),
        ([NAME, "--version", "2", "--seeds", *others], "--version=2 goes with a run"),
        ([NAME, "--seeds", str(folder)], "has the seed 0, as another run has"),
        (["f_rnn_jsb", "--seeds", *others], "f_rnn_jsb is neither a run's folder nor published"),
    ):
        with pytest.raises(SystemExit):
            publish.main([*words, "--root", str(copy)])
        assert message in capsys.readouterr().err


def test_the_tables_are_made_from_the_cards(copy, tmp_path):
    results, index = tmp_path / "RESULTS.md", tmp_path / "published.json"
    cards.write_tables(copy, results, index, tmp_path / "README.md")
    card = zoo.card(NAME, root=copy)
    row = next(line for line in results.read_text().splitlines() if "f_srnn_jsb" in line)
    for protocol in ("paper", "full"):
        assert f"{card['test'][protocol]['elbo']['value']:.4f} (" in row
    sha = artifacts.sha256(copy / NAME / "1" / "assets.extra" / "card.json")
    assert json.loads(index.read_text()) == {NAME: {"versions": {"1": sha}}}


def test_unfinished_weights_are_kept_and_restored(small, tmp_path):
    _, folder, splits = small
    kept = keep.keep(str(folder), tmp_path / "kept")
    assert {p.name for p in kept.iterdir()} == {"run.json", "best.json", "weights.npz"}
    out = keep.restore("run", str(tmp_path / "again"), tmp_path / "kept")
    model, trained = (runs.Run.open(str(f)).best_model() for f in (out, folder))
    assert int(model.step) == int(trained.step)
    for ours, theirs in zip(model.trainable_variables, trained.trainable_variables, strict=True):
        np.testing.assert_array_equal(ours, np.asarray(theirs).astype(np.float16))
    with pytest.raises(FileExistsError, match="exists; name a folder that does not"):
        keep.restore("run", str(out), tmp_path / "kept")
    with pytest.raises(ValueError, match="nothing is kept as 'walk'; kept: run"):
        keep.restore("walk", str(tmp_path / "walk"), tmp_path / "kept")
    (kept / "weights.npz").write_bytes(b"PK")
    with pytest.raises(ValueError, match="weights.npz is damaged or of another run"):
        keep.restore("run", str(tmp_path / "walk"), tmp_path / "kept")
    assert not (tmp_path / "walk").exists()


def test_a_model_is_published_again_with_the_graph_of_today(copy, capsys, monkeypatch):
    publish.main([NAME, "--root", str(copy), "--again"])
    first, second = (artifacts.Artifact.open(copy / NAME / v) for v in ("1", "2"))
    same = {f for f in artifacts.FILES if first.card["files"][f] == second.card["files"][f]}
    assert set(artifacts.FILES) - same <= {"saved_model.pb", "fingerprint.pb"}
    assert {k for k in first.card if first.card[k] != second.card[k]} <= {"version", "files"}
    assert zoo.card(NAME, root=copy)["version"] == 2
    assert f"# {NAME}, version 2" in (copy / NAME / "README.md").read_text()
    for words in ([NAME, "--again", "--version", "5"], [NAME, "--again", "--seeds", "nowhere"]):
        with pytest.raises(SystemExit):
            publish.main([*words, "--root", str(copy)])
    with pytest.raises(ValueError, match="f_rnn_jsb is neither a run's folder nor published"):
        publish.again("f_rnn_jsb", copy)
    monkeypatch.setattr(publish, "_check", lambda model, folder: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        publish.again(NAME, copy)
    assert sorted(p.name for p in (copy / NAME).iterdir()) == ["1", "2", "README.md"]

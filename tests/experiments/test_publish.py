"""From a run to a card, and what is published of it."""

import json
import shutil

import numpy as np
import pytest

from srnn_tf import command, zoo
from srnn_tf.experiments import cards, keep, publish, runs
from srnn_tf.zoo import artifacts
from tests import publishing
from tests.publishing import NAME, change, change_run

# Fixtures.
small = publishing.small
copy = publishing.copy
only_here = publishing.only_here


def test_publish_refuses(small, tmp_path, capsys):
    root, folder, _ = small
    run = shutil.copytree(folder, tmp_path / "run")
    into = tmp_path / "root"
    held = json.loads((run / "evaluation.json").read_text())

    def refused(message):
        with pytest.raises(SystemExit):
            command.main(["publish", str(run), "--root", str(into)])
        assert message in capsys.readouterr().err
        assert not list(into.rglob("*")) if into.exists() else True

    change_run(run / "evaluation.json", floors={"a coin": held["test"]["full"]["elbo"]["value"]})
    refused("is not above the baseline")
    change_run(run / "evaluation.json", floors={}, weights_sha256="0")
    refused("is of other weights")
    (run / "evaluation.json").unlink()
    refused("evaluation.json is missing: run `srnn-tf evaluate")
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
        publishing.make_old(other)
        change(other / "run.json", seed=seed)
        held = json.loads((other / "evaluation.json").read_text())
        held["test"]["paper"]["elbo"]["value"] = -50.0 - seed
        (other / "evaluation.json").write_text(json.dumps(held))
        others.append(str(other))
    seeds = [word for other in others for word in ("--seeds", other)]
    before = zoo.card(NAME, root=copy)
    command.main(["publish", NAME, "--root", str(copy), *seeds])
    card = zoo.card(NAME, root=copy)
    found = card.pop("seeds")
    assert found["mean"] == -51.5 and found["standard_deviation"] == pytest.approx(0.5**0.5)
    assert [r["seed"] for r in found["runs"]] == [1, 2] and before.pop("seeds") is None
    assert card == before and zoo.load(NAME, root=copy) is not None
    page = (copy / NAME / "README.md").read_text()
    assert "seed 1, 20 updates: -51.0000; seed 2" in page and "mean -51.5000, standard dev" in page
    for words, message in (
        ([NAME], "give the runs whose scores to add by --seeds"),
        ([NAME, "--version", "2", *seeds], "--version=2 goes with a run"),
        ([NAME, "--seeds", str(folder)], "has the seed 0, as another run has"),
        (["f_rnn_jsb", *seeds], "f_rnn_jsb is neither a run's folder nor published"),
    ):
        with pytest.raises(SystemExit):
            command.main(["publish", *words, "--root", str(copy)])
        assert message in capsys.readouterr().err


def test_the_tables_are_made_from_the_cards(copy, tmp_path):
    results, index = tmp_path / "RESULTS.md", tmp_path / "published.json"
    cards.write_tables(copy, results, index)
    card = zoo.card(NAME, root=copy)
    row = next(line for line in results.read_text().splitlines() if "[f_srnn_jsb]" in line)
    assert f"| [`{NAME}`](../saved_models/{NAME}/README.md) | step |" in results.read_text()
    for protocol in ("paper", "full"):
        assert f"{card['test'][protocol]['elbo']['value']:.4f} (" in row
    sha = artifacts.sha256(copy / NAME / "1" / "assets.extra" / "card.json")
    assert json.loads(index.read_text()) == {NAME: {"versions": {"1": sha}}}


def test_unfinished_weights_are_kept_and_restored(small, tmp_path):
    _, folder, splits = small
    kept = keep.keep(str(folder), tmp_path / "kept")
    assert "path" in runs.read_json(folder / "data.json")
    assert "path" not in runs.read_json(kept / "data.json")  # of this machine
    assert {p.name for p in kept.iterdir()} == {"run.json", "best.json", "data.json", "weights.npz"}
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
    command.main(["publish", NAME, "--root", str(copy), "--again"])
    first, second = (artifacts.Artifact.open(copy / NAME / v) for v in ("1", "2"))
    same = {f for f in artifacts.FILES if first.card["files"][f] == second.card["files"][f]}
    assert set(artifacts.FILES) - same <= {"saved_model.pb", "fingerprint.pb"}
    assert {k for k in first.card if first.card[k] != second.card[k]} <= {
        "version",
        "files",
        "sizes",
    }
    assert zoo.card(NAME, root=copy)["version"] == 2
    assert f"# {NAME}, version 2" in (copy / NAME / "README.md").read_text()
    for words in ([NAME, "--again", "--version", "5"], [NAME, "--again", "--seeds", "nowhere"]):
        with pytest.raises(SystemExit):
            command.main(["publish", *words, "--root", str(copy)])
    with pytest.raises(ValueError, match="f_rnn_jsb is neither a run's folder nor published"):
        publish.again("f_rnn_jsb", copy)
    monkeypatch.setattr(publish, "_check", lambda model, folder: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        publish.again(NAME, copy)
    assert sorted(p.name for p in (copy / NAME).iterdir()) == ["1", "2", "README.md"]

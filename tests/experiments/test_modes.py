"""Runs that train in bfloat16: scored in float32, and going on in the mode they began in."""

import json

import pytest

from srnn_tf import command
from srnn_tf.experiments import runs, train
from tests import publishing

NAME = "rnn_hier_jsb"


def result(folder):
    return json.loads((folder / "result.json").read_text())


@pytest.mark.slow
def test_a_resumed_run_keeps_its_mode_and_its_losses(arguments, tmp_path, monkeypatch, capsys):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    command.main(["train", *arguments, "--out", str(whole)])
    found = result(whole)
    assert found["trained_in"] == "mixed_bfloat16" and found["paper"] < 0.0
    assert runs.Run.open(str(whole)).dtype == "mixed_bfloat16"
    assert runs.Run.open(str(whole)).best_model().emission.compute_dtype == "float32"
    end = train.KeepBest.on_epoch_end

    def killed(self, epoch, logs=None):
        end(self, epoch, logs)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(train.KeepBest, "on_epoch_end", killed)
        with pytest.raises(SystemExit):
            command.main(["train", *arguments, "--out", str(cut)])
    # On a machine where float32 is faster, too.
    monkeypatch.setattr(runs, "_fastest", lambda recipe: "float32")
    command.main(["train", *arguments, "--out", str(cut)])
    resumed = result(cut)
    assert resumed["trained_in"] == "mixed_bfloat16"
    for protocol in ("paper", "full"):
        assert resumed[protocol] == pytest.approx(found[protocol], rel=1e-6)
    with pytest.raises(SystemExit):
        command.main(["train", *arguments, "--out", str(cut), "--dtype", "float32"])
    assert "holds another run" in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_that_names_no_mode_is_in_float32(arguments, tmp_path):
    command.main(["train", *arguments, "--out", str(tmp_path / "run")])
    file = tmp_path / "run" / "run.json"
    publishing.make_old(tmp_path / "run")
    held = json.loads(file.read_text())
    file.write_text(json.dumps({k: v for k, v in held.items() if k != "dtype"}))
    assert runs.Run.open(str(tmp_path / "run")).dtype == "float32"


@pytest.mark.parametrize(("epoch", "bar"), [(500, 4), (2, 2)])
def test_a_bar_counts_to_the_updates_there_are(arguments, tmp_path, monkeypatch, epoch, bar):
    class Stop(Exception):
        pass

    def fit(self, batches, **options):
        assert options["steps_per_epoch"] == bar
        raise Stop

    monkeypatch.setattr(runs, "EPOCH", epoch)
    monkeypatch.setattr(runs.SequenceModel, "fit", fit)
    with pytest.raises(Stop):
        command.main(["train", *arguments, "--out", str(tmp_path / "run")])

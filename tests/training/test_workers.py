"""Training across worker processes: what one process does, and after a worker was killed too."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from benchmarks.scaling import free_ports
from srnn_tf.experiments import workers
from tests import harness

ROOT = Path(__file__).parents[2]


def start(folder, name, words, ports=()):
    """The processes of one run, one without ports."""
    cluster = {"cluster": {"worker": [f"127.0.0.1:{port}" for port in ports]}}
    command = [
        sys.executable,
        "-c",
        "from srnn_tf.command import main; main()",
        "train",
        name,
        "--out",
        str(folder),
        "--no-test",
        *words,
    ]
    found = []
    for index in range(max(1, len(ports))):
        env = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
        more = []
        if ports:
            task = {"type": "worker", "index": index}
            env["TF_CONFIG"] = json.dumps({**cluster, "task": task})
            more = ["--strategy", "multiworker"]
        log = folder.with_suffix(f".{index}.log").open("w")
        found.append(subprocess.Popen([*command, *more], env=env, cwd=ROOT, stdout=log, stderr=log))
    return found


def end(processes, folder):
    for index, process in enumerate(processes):
        text = folder.with_suffix(f".{index}.log")
        assert process.wait(timeout=600) == 0, text.read_text()[-2000:]


def arrays(folder):
    """Every array of a run's checkpoint."""
    found = {}

    def keep(name, item):
        if isinstance(item, h5py.Dataset):
            found[name] = np.asarray(item, np.float64)

    with h5py.File(folder / "checkpoint.weights.h5") as file:
        file.visititems(keep)
    return found


def same(a, b, atol):
    """Two checkpoints agree to `atol`, and to 1e-4 of the largest number of each array."""
    one, two = arrays(a), arrays(b)
    assert one.keys() == two.keys() and len(one) > 10
    for name in one:
        within = min(atol, 1e-4 * np.abs(one[name]).max(initial=0.0))
        np.testing.assert_allclose(one[name], two[name], rtol=0, atol=within, err_msg=name)


def repeats(a, b, epochs):
    """Two runs have the same losses, which it returns, and the same checkpoint, to 1e-5."""
    one, two = (harness.scalars(run, "epoch_loss") for run in (a, b))
    assert len(one) == epochs
    np.testing.assert_allclose(one, two, rtol=1e-5)
    same(a, b, 1e-5)
    return [loss for _, loss in one]


def options(folder, steps, epoch):
    file = harness.write_mat(folder / "JSB_Chorales.mat", lengths=(40, 18, 12))
    words = ["--data", file, "--edition", "any", "--batch-size", "4"]
    return [*words, "--steps", str(steps), "--validate-every", str(epoch)]


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, steps",
    [
        ("vrnn_jsb", 50),
        ("rnn_hier_jsb", 50),
        # Sooner or later rounding moves a value across the edge of a ReLU, and by up to a learning
        # rate the weights that this touches: see `benchmarks.rounding`.
        ("rnn_hier_mlp_jsb", 3),
    ],
)
def test_two_workers_repeat_one(tmp_path, name, steps):
    words = [*options(tmp_path, steps, -(-steps // 5)), "--dtype", "float32"]
    end(start(tmp_path / "one", name, words), tmp_path / "one")
    end(start(tmp_path / "two", name, words, free_ports(2)), tmp_path / "two")
    losses = repeats(tmp_path / "one", tmp_path / "two", min(steps, 5))
    assert losses[-1] < losses[0]


@pytest.mark.slow
def test_all_devices_of_this_machine(tmp_path):
    words = [*options(tmp_path, 10, 5), "--dtype", "float32"]
    end(start(tmp_path / "one", "vrnn_jsb", words), tmp_path / "one")
    mirrored = [*words, "--strategy", "mirrored"]
    end(start(tmp_path / "mirrored", "vrnn_jsb", mirrored), tmp_path / "mirrored")
    repeats(tmp_path / "one", tmp_path / "mirrored", 2)


@pytest.mark.slow
def test_a_killed_worker(tmp_path):
    """The other ends with an error; started again, the run ends as an undisturbed one does."""
    words, folder = options(tmp_path, 40, 5), tmp_path / "cut"
    end(start(tmp_path / "whole", "f_rnn_jsb", words, free_ports(2)), tmp_path / "whole")
    processes = start(folder, "f_rnn_jsb", words, free_ports(2))
    until = time.monotonic() + 300
    while not (folder / "checkpoint.weights.h5").is_file() and time.monotonic() < until:
        time.sleep(0.1)
    processes[1].send_signal(signal.SIGKILL)
    assert processes[0].wait(timeout=300) != 0
    text = folder.with_suffix(".0.log").read_text()
    assert "a worker is lost at update" in text and "start all of them again" in text
    end(start(folder, "f_rnn_jsb", words, free_ports(2)), folder)
    assert "going on from step" in folder.with_suffix(".0.log").read_text()
    same(tmp_path / "whole", folder, 1e-6)
    shown = [dict(harness.scalars(run, "epoch_loss")) for run in (tmp_path / "whole", folder)]
    assert list(shown[0]) == list(range(5, 45, 5)) and shown[0] == pytest.approx(shown[1], rel=1e-5)


@pytest.mark.parametrize(
    "text", ["", "{", "{}", '{"cluster": {"worker": ["a:1"]}, "task": {"type": "ps", "index": 0}}']
)
def test_a_config_that_names_no_worker(monkeypatch, text):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(ValueError, match="needs TF_CONFIG, such as .*; received"):
        workers.strategy("multiworker")


def test_who_writes():
    assert workers.strategy(None) is None and workers.is_chief(None)

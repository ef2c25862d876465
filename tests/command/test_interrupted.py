"""Ctrl-C, closed pipes and full devices: one line or none, a status, and nothing half-written."""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import click
import pytest

from srnn_tf import command
from srnn_tf.experiments import evaluate, publish, runs, train
from tests import publishing

ROOT = Path(__file__).parents[2]
# Fixtures.
small = publishing.small
only_here = publishing.only_here


@pytest.fixture
def words(small, tmp_path, tmp_path_factory):
    data = ["--data", str(small[1].parent / "JSB_Chorales.mat"), "--edition", "any"]
    name = publishing.NAME
    run = shutil.copytree(small[1], tmp_path_factory.mktemp("run") / "run")  # the others read it
    return {
        "train": ["train", name, *data, "--steps", "20", "--out", str(tmp_path / "out" / "run")],
        "evaluate": ["evaluate", str(run), *data],
        "publish": ["publish", str(run), "--root", str(tmp_path / "out")],
    }


@pytest.mark.sampled(3)
@pytest.mark.parametrize("as_what", [KeyboardInterrupt, click.Abort, "TensorFlow's", "a cause"])
@pytest.mark.parametrize(
    ("name", "place"),
    [("train", (runs, "load_data")), ("train", (runs.Run, "build")), ("train", (train, "Keeper")),
     ("evaluate", (runs.Run, "best_weights")), ("evaluate", (evaluate, "whole")),
     ("publish", (publish, "evaluation")), ("publish", (publish, "_export")),
     ("publish", (publish, "_check"))],
)  # fmt: skip
def test_ctrl_c_is_one_line_and_status_130(
    name, place, as_what, words, tmp_path, monkeypatch, capsys
):
    def interrupted(*args, **kwargs):
        if as_what == "TensorFlow's":
            raise RuntimeError("UnknownError: KeyboardInterrupt: in a callback")
        if as_what == "a cause":
            raise RuntimeError("a library's") from KeyboardInterrupt()
        raise as_what

    monkeypatch.setattr(*place, interrupted)
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        command.main(words[name])
    # Click ends the line that the terminal's ^C is on.
    assert stopped.value.code == 130 and capsys.readouterr().err.strip() == "error: interrupted"
    left = [p.name for p in tmp_path.rglob("*")]
    assert not [n for n in left if n.startswith(".") or n.endswith((".h5", ".lock", ".pb"))]


def test_other_errors_are_told_as_they_are(words, monkeypatch):
    def fails(*args, **kwargs):
        raise RuntimeError("a fault")

    monkeypatch.setattr(runs.Run, "best_weights", fails)
    with pytest.raises(RuntimeError, match="a fault"):
        command.main(words["evaluate"])


# A shell starts what it runs in the background, such as these tests, with the signal ignored.
START = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from srnn_tf.command import main
print("ready", file=sys.stderr, flush=True)
"""


def start(script, *words, **how):
    return subprocess.Popen(
        [sys.executable, "-c", START + textwrap.dedent(script), *words],
        stderr=subprocess.PIPE, text=True, cwd=ROOT, **how,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )  # fmt: skip


def error_of(process):
    """What is printed on stderr after the word ready."""
    return process.stderr.read().rpartition("ready\n")[2]


@pytest.mark.parametrize("words", [["list"], ["list", "--all"], ["info", "f_rnn_bach", "--json"]])
def test_a_reader_that_closes_the_pipe_ends_a_command_quietly(words):
    reading, writing = os.pipe()
    os.close(reading)
    process = start("main()", *words, stdout=writing)
    os.close(writing)
    assert error_of(process) == "" and process.wait() == 1


def test_a_full_device_is_one_line():
    with open("/dev/full", "w") as full:
        process = start("main()", "info", "f_rnn_bach", "--json", stdout=full)
        assert error_of(process) == "error: [Errno 28] No space left on device\n"
        assert process.wait() == 1


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.0, 0.3, 1.0, 2.0, 4.0, 8.0])
def test_a_signal_at_any_moment(seconds, tmp_path):
    words = ["train", "rnn_hier_bach", "--steps", "100000", "--out", str(tmp_path / "run")]
    process = start("main()", *words, stdout=subprocess.DEVNULL)
    while process.stderr.readline() != "ready\n":
        pass
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    said = [
        line for line in process.stderr.read().splitlines() if "error" in line or "Trace" in line
    ]
    assert process.wait() == 130 and said == ["error: interrupted"]

"""The same real sequences through every way to score them: one answer.

`SRNN_TF_TEST_DATA` names the folder of the data sets; Beam's part runs where it is installed.
"""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import substitute
from srnn_tf import data, serving, zoo
from tests.serving.test_c_api import program, run  # noqa: F401, a fixture

COUNT, SHORTEST, LONGEST = 200, 10, 2000
# How many lengths are spread over the whole range. The others end at 20 for speech, where a frame
# is 200 samples scored one after another.
SPREAD, OTHERS = {"nottingham": COUNT, "speech_commands": 4}, 20


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """Real sequences of mixed lengths, log-uniform, by the name of their data set."""
    given = os.environ.get("SRNN_TF_TEST_DATA")
    if not given:
        pytest.skip("SRNN_TF_TEST_DATA is not set")

    def cut(name):
        if name == "nottingham":
            parts = data.load(name, Path(given) / "midi/Nottingham.mat").test
        else:
            folder = tmp_path_factory.mktemp("speech") / "prepared"
            source = Path(given) / "speech/commands_en_16k"
            parts = data.load(name, data.prepare(name, source, folder)).test
        whole = np.concatenate([np.asarray(part, np.float32) for part in parts])
        rng, spread = np.random.default_rng(0), SPREAD[name]
        lengths = np.exp(rng.uniform(np.log(SHORTEST), np.log(OTHERS), COUNT)).astype(int)
        lengths[:spread] = np.geomspace(SHORTEST, LONGEST, spread).round().astype(int)
        rng.shuffle(lengths)
        starts = rng.integers(0, len(whole) - LONGEST, COUNT)
        return [whole[s : s + n] for s, n in zip(starts, lengths, strict=True)]

    return cut


def by_model(model, sequences):
    found = []
    for one in sequences:
        padded = np.zeros([1, 1 << (len(one) - 1).bit_length(), one.shape[1]], np.float32)
        padded[0, : len(one)] = one
        mask = np.arange(padded.shape[1])[None] < len(one)
        found.append(float(model.log_prob(padded, mask)[0]))
    return found


def by_c(program, name, sequences, folder, what="frames"):  # noqa: F811
    """In batches as the client makes them, each in a process of the program."""
    found = np.zeros(len(sequences))
    signature = {"frames": "score", "waveform": "score_raw"}[what]
    for rows in serving.Client("unused:1", name).plan(sequences):
        inputs = serving.answers.padded(what, [sequences[i] for i in rows])
        done = run(program, zoo.folder(name), signature, inputs[what], inputs["length"], folder)
        assert done.returncode == 0, done.stderr
        found[rows] = [float(line) for line in done.stdout.split()]
    return found


def by_command(name, file, *words):
    command = [Path(sys.executable).with_name("srnn-tf"), "score", name, file, *words]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return [float(row["log_likelihood"]) for row in csv.DictReader(done.stdout.splitlines())]


def by_beam(name, file, folder, *words):
    command = [
        sys.executable,
        "-c",
        "from srnn_tf.command import main; main()",
        "bulk",
        "--model",
        name,
        "--input",
        str(file),
    ]
    command += ["--output", str(folder / "rows"), *words]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    rows = {}
    for path in folder.glob("rows*.jsonl"):  # what is dead too: there is none
        for line in path.read_text().splitlines():
            row = json.loads(line)
            rows[int(row["id"].rsplit("#")[1])] = row["log_likelihood"]
        path.unlink()
    return [rows[i] for i in range(COUNT)]


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "f_rnn_nottingham",
        "f_srnn_nottingham",
        "rnn_hier_speech_commands",
        "srnn_hier_speech_commands",
    ],
)
def test_one_answer(name, real, program, tmp_path):  # noqa: F811
    sequences = real(zoo.card(name)["data"]["name"])
    file = tmp_path / "sequences.npz"
    np.savez(file, **{f"s{i:03d}": one for i, one in enumerate(sequences)})
    expected = by_model(zoo.load(name), sequences)
    ways = {"C API": by_c(program, name, sequences, tmp_path)}
    with substitute.Server(zoo.folder(name)) as server:
        for way in ("grpc", "rest"):
            with serving.Client(getattr(server, way), name, timeout=600.0) as client:
                ways[way] = client.score(sequences).log_likelihood
        ways["srnn-tf --server"] = by_command(
            name, file, "--server", server.grpc, "--timeout", "600"
        )
    ways["srnn-tf"] = by_command(name, file)
    try:
        import apache_beam  # noqa: F401
    except ImportError:
        print("Apache Beam is not installed: its part is left out")
    else:
        ways["Beam"] = by_beam(name, file, tmp_path)
        two = ("--direct_num_workers", "2", "--direct_running_mode", "multi_processing")
        ways["Beam, 2 workers"] = by_beam(name, file, tmp_path, *two)
    compare(name, ways, expected)


def compare(name, ways, expected):
    for way, found in ways.items():
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3, err_msg=way)
        worst = np.max(np.abs(np.subtract(found, expected)) / np.abs(expected))
        print(f"{name}, {way}: {len(found)} sequences, largest relative difference {worst:.1e}")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["rnn_hier_speech_commands", "srnn_hier_speech_commands"])
def test_one_answer_of_waveforms(name, real, program, tmp_path):  # noqa: F811
    """Samples in [-1, 1], standardized inside of the graph."""
    scale, rng = zoo.standardization(name), np.random.default_rng(1)
    sequences = [s for s in real("speech_commands") if len(s) <= OTHERS][:40]
    waves = [np.clip(scale.undo(s), -1, 1).reshape(-1).astype(np.float32) for s in sequences]
    frames = [scale.apply(w.reshape(s.shape)) for w, s in zip(waves, sequences, strict=True)]
    # What is left after the last whole frame is not scored.
    waves = [np.append(w, np.zeros(rng.integers(0, 200), np.float32)) for w in waves]
    change = -np.log(np.broadcast_to(scale.std, sequences[0].shape[1])).sum()
    scores = by_model(zoo.load(name), frames)
    expected = [e + change * len(s) for e, s in zip(scores, frames, strict=True)]
    ways = {"C API": by_c(program, name, waves, tmp_path, "waveform")}
    ways["in process"] = serving.Local(name).score_waveform(waves).log_likelihood
    with substitute.Server(zoo.folder(name)) as server:
        for way in ("grpc", "rest"):
            with serving.Client(getattr(server, way), name, timeout=600.0) as client:
                ways[way] = client.score_waveform(waves).log_likelihood
    compare(f"{name}, score_raw", ways, expected)

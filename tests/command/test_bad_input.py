"""Bad input of every command: one line, the right status, nothing left."""

import os
import resource
import shlex
import shutil
import subprocess
import sys

import numpy as np
import pytest

import srnn_tf
from srnn_tf import command, data
from tests.test_lazy_imports import ROOT

NAME, SPEECH = "f_rnn_bach", "rnn_hier_speech_commands"
# What is typed, and a part of what is said: mistakes of the call, status 2. `{}` is a folder with
# an empty `folder`, a text under several endings, an `old` run and a `roll.mid`.
MISTAKES = {
    "info nothing": "unknown model 'nothing'",
    "info folder": "folder holds no model: accepted are",
    "list --dataset nothing": "data sets are bach",
    f"score {NAME} none.mid": "none.mid is not a file",
    f"score {NAME} folder": "folder is not a file",
    f"score {NAME} text.txt": "reads .mid",
    f"score {NAME} text.mid": "is not readable as MIDI",
    f"score {NAME} sound.npy": "must be frames (T, 88)",
    f"score {SPEECH} roll.mid": "reads .wav",
    f"score {NAME} roll.mid --output folder": "folder is a folder; a file name is needed",
    f"score {NAME} roll.mid --output none/x.csv": "the folder none does not exist",
    f"score {NAME} roll.mid --output text.txt/x.csv": "the folder text.txt does not exist",
    f"score {NAME} roll.mid --output shut/x.csv": "shut may not be written",
    f"sample {NAME} --out folder": "draws .mid",
    f"sample {NAME} --out none/x.mid": "the folder none does not exist",
    f"sample {NAME} --out x.flac": "draws .mid",
    f"sample {SPEECH} --out x.mid": "draws .wav",
    f"sample {NAME} --out shut/x.mid": "shut may not be written",
    f"anomalies {NAME} none.mid": "none.mid is not a file",
    f"anomalies {NAME} folder": "folder is not a file",
    f"anomalies {NAME} sound.npy": "",
    f"anomalies {NAME} roll.mid --reference none.mid": "none.mid is not a file",
    f"anomalies {NAME} roll.mid --reference folder": "folder is not a file",
    f"anomalies {NAME} roll.mid --out shut/x.png": "shut may not be written",
    "export none.keras .": "unknown model 'none.keras'",
    "export folder .": "folder holds no model: accepted are",
    "export text.keras .": "Keras cannot load it",
    "export text.h5 .": "text.h5 is no model: accepted are",
    "export own.keras text.txt": "text.txt is not a folder",
    f"export {NAME} shut": "shut may not be written",
    "data prepare timit --source none --out p": "none is not a folder",
    "data prepare timit --source text.txt --out p": "text.txt is not a folder",
    "data prepare timit --source folder --out p": "holds no file that ends in .wav",
    "data prepare nothing --out p": "unknown data set 'nothing'",
    "data prepare bach --out text.txt": "exists and holds something else",
    "data info none": "none is not a prepared data set",
    "data info text.txt": "text.txt is not a prepared data set",
    "data info folder": "folder is not a prepared data set",
    "data info old": "old",
    "train f_rnn_jsb --data none --out r": "none does not exist",
    "train f_rnn_jsb --data text.mid --out r": "text.mid ends in '.mid'",
    "train f_rnn_jsb --data folder --out r": "folder is not a prepared data set",
    "train nothing --out r": "unknown",
    f"train {NAME} --out text.txt": "text.txt",
    f"train {NAME} --out r --begin-with none": "none holds no run",
    "evaluate none": "none holds no run",
    "evaluate folder": "folder holds no run",
    "evaluate text.txt": "text.txt holds no run",
    "evaluate old": "old",
    "publish none --root z": "none holds no run",
    "publish folder --root z": "folder holds no run",
    "publish old --root z": "old",
    "publish --restore none --out r": "nothing is kept as 'none'",
    "bulk --model nothing --input text.mid --output o": "",
    f"bulk --model {NAME} --input none/* --output o": "",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bad")
    for name in ("folder", "shut", "old"):
        (folder / name).mkdir()
    for ending in ("txt", "mid", "keras", "h5"):
        (folder / f"text.{ending}").write_text("text")
    (folder / "old" / "run.json").write_text('{"format": 0}')
    (folder / "old" / "dataset_info.json").write_text('{"format": 0}')
    roll = np.asarray(data.load("bach").test[0])[:20]
    data.write_midi(roll.astype(np.uint8), folder / "roll.mid")
    np.save(folder / "sound.npy", np.zeros([600]))
    emission = {"class": "factorized", "event_size": 3, "likelihood": "bernoulli"}
    srnn_tf.SequenceModel({"class": "rnn", "units": 4}, emission).save(folder / "own.keras")
    return folder


@pytest.fixture
def here(made, monkeypatch):
    """The working folder; nobody, the administrator neither, may write to its folder `shut`."""
    access = os.access
    monkeypatch.setattr(
        os,
        "access",
        lambda p, mode: access(p, mode) and not (mode & os.W_OK and os.path.basename(p) == "shut"),
    )
    monkeypatch.chdir(made)
    return made


def files(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def refused(capsys, words):
    """The status of a command, and its only line on stderr."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        command.main(shlex.split(words))
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1, error
    return stopped.value.code, error


@pytest.mark.parametrize("words", MISTAKES)
def test_a_mistake_is_one_line_and_status_2(words, here, capsys):
    before = files(here)
    status, error = refused(capsys, words)
    assert status == 2 and MISTAKES[words] in error
    assert files(here) == before


FULL = (
    f"score {NAME} roll.mid --output x.csv",
    f"sample {NAME} --steps 8 --out x.mid",
    f"sample {NAME} --steps 8 --out x.png",
    f"anomalies {NAME} roll.mid --out x.svg",
    f"export {NAME} .",
    "export own.keras .",
    "data prepare bach --out p",
    f"train {NAME} --steps 1 --out r",
)


# Keras reads a file through a copy, which the limit stops too.
@pytest.mark.parametrize("words", [words for words in FULL if "own.keras" not in words])
def test_a_write_that_fails_is_one_line_and_status_1(words, here, capsys):
    """By a limit of the size of a file, which stops the libraries in C too."""
    data.load("bach")  # its cache is written before
    before, limits = files(here), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
    try:
        status, error = refused(capsys, words)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert status == 1 and "too large" in error
    assert files(here) == before


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("unshare") is None, reason="no namespaces to mount a disk in")
@pytest.mark.parametrize("words", FULL)
@pytest.mark.parametrize("size", ["4k", "100k"])
def test_a_full_disk_is_one_line_and_status_1(words, size, made, tmp_path):
    """The same of a disk in memory; what is small fits into the larger one."""
    words = words.replace("roll.mid", str(made / "roll.mid"))
    words = words.replace("own.keras", str(made / "own.keras"))
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); from srnn_tf.command import main; main()"
    )
    script = (
        f'mount -t tmpfs -o size={size} none "$0" && cd "$0" && "$@"; s=$?; ls -A "$0"; exit $s'
    )
    done = subprocess.run(
        [
            "unshare",
            "-rm",
            "sh",
            "-c",
            script,
            tmp_path,
            sys.executable,
            "-c",
            code,
            *words.split(),
        ],
        capture_output=True,
        text=True,
        env={name: value for name, value in os.environ.items() if not name.startswith("TF_")},
    )
    if "Operation not permitted" in done.stderr:
        pytest.skip("no disk may be mounted")
    if size == "4k" and "score" not in words and "x.mid" not in words or done.returncode:
        assert done.returncode == 1 and done.stderr.count("\n") == 1, done.stderr
        assert done.stderr.startswith("error: ") and "No space left on device" in done.stderr

"""A command is quick and quiet: results on stdout, nothing on stderr, no wait for TensorFlow."""

import csv
import functools
import http.server
import io
import os
import shutil
import sys
import threading
import tomllib
from pathlib import Path

import numpy as np
import pytest

import srnn_tf
from srnn_tf import data, zoo
from srnn_tf.command import main
from srnn_tf.core import packages
from tests import corpora
from tests.test_lazy_imports import HEAVY, ROOT, fastest, python

MAIN = "from srnn_tf.command import main; main()"
IMPORTED = f"""
import sys
from srnn_tf.command import main
try:
    main()
finally:
    sys.stdout.flush()
    sys.stderr.write(str([m for m in {HEAVY} if m in sys.modules]))
"""
QUICK = {
    "help": ["--help"],
    "help of a command": ["train", "--help"],
    "version": ["--version"],
    "list": ["list"],
    "list all": ["list", "--all"],
    "info": ["info", "f_rnn_bach"],
    "data list": ["data", "list"],
}
TABS = {
    "srnn-tf sc": "score",
    "srnn-tf info f_rnn_b": "f_rnn_bach",
    "srnn-tf score f_rnn_b": "f_rnn_bach",
    "srnn-tf train rnn_hier_mlp_b": "rnn_hier_mlp_bach",
    "srnn-tf data prepare ti": "timit",
    "srnn-tf list --dataset bl": "blizzard",
    "srnn-tf list --model sto": "storn",
    "srnn-tf evaluate f_srnn_b": "f_srnn_bach",
    "srnn-tf score f_rnn_bach --format ": "csv",
}


SECONDS = 1.0  # half of it where nothing else runs: docs/notes.md


@pytest.mark.parametrize("words", QUICK.values(), ids=QUICK)
def test_what_needs_no_model_is_quick(words):
    done, seconds = fastest(MAIN, *words)
    assert done.returncode == 0 and done.stdout and done.stderr == ""
    assert seconds < SECONDS
    assert python(IMPORTED, *words)[0].stderr == "[]"


@pytest.mark.parametrize("typed", TABS)
def test_a_tab_completes_names(typed):
    words = {"COMP_WORDS": typed, "COMP_CWORD": str(len(typed.split(" ")) - 1)}
    done, seconds = fastest(MAIN, _SRNN_TF_COMPLETE="bash_complete", **words)
    assert f"plain,{TABS[typed]}" in done.stdout.splitlines() and done.stderr == ""
    assert seconds < SECONDS


def test_a_tab_runs_nothing(tmp_path):
    words = {"COMP_WORDS": f"srnn-tf list --import {__name__}_none --al", "COMP_CWORD": "4"}
    done, _ = python(
        MAIN, _SRNN_TF_COMPLETE="bash_complete", SRNN_TF_ZOO=str(tmp_path / "none"), **words
    )
    assert done.stdout == "plain,--all\n" and done.stderr == ""
    words = {"COMP_WORDS": "srnn-tf info f", "COMP_CWORD": "2"}
    done, _ = python(
        MAIN, _SRNN_TF_COMPLETE="bash_complete", SRNN_TF_ZOO=str(tmp_path / "none"), **words
    )
    assert done.stdout.strip() == "file,f" and done.stderr == ""  # a name is not found: a file


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture
def address():
    """A server of the published models."""
    folder = Path(srnn_tf.__file__).parents[1] / "saved_models"
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_score_from_a_cold_cache_is_csv_and_nothing_else(address, tmp_path):
    """With the package alone, as it is installed; the first sample is as quiet."""
    package = tmp_path / "installed" / "srnn_tf"
    shutil.copytree(
        Path(srnn_tf.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__")
    )
    roll = np.asarray(data.load("bach").test[0])[:20]
    data.write_midi(roll.astype(np.uint8), tmp_path / "X.MID")  # however it is written
    cold = {"SRNN_TF_CACHE": str(tmp_path / "cache"), "SRNN_TF_ZOO_URL": address}
    code = f"import sys; sys.path.insert(0, {str(package.parent)!r}); {MAIN}"
    done, _ = python(code, "score", "f_rnn_bach", tmp_path / "X.MID", **cold)
    assert done.returncode == 0 and done.stderr == ""
    (row,) = csv.DictReader(done.stdout.splitlines())
    assert row["steps"] == "20" and float(row["log_likelihood"]) < 0.0
    assert (tmp_path / "cache" / "f_rnn_bach").is_dir()
    out = tmp_path / "Y.MID"
    done, _ = python(code, "sample", "f_rnn_bach", "--steps", 4, "--out", out, **cold)
    assert done.stderr == "" and done.stdout == f"wrote {out}\n" and out.stat().st_size > 20


@pytest.fixture
def fake(tmp_path):
    """The path of a TensorFlow that writes to the descriptor, and cannot be imported on demand."""
    (tmp_path / "tensorflow.py").write_text(
        "import os\n"
        "os.write(2, b'a line of a library\\n')\n"
        "if os.environ.get('FAILS'):\n"
        "    raise ImportError('a library is missing')\n"
    )
    return os.pathsep.join([str(tmp_path), str(Path(srnn_tf.__file__).parents[1])])


@pytest.mark.parametrize(
    ("words", "fails", "variables", "expected"),
    [
        (["list"], "", {}, ""),
        (["list"], "", {"TF_CPP_MIN_LOG_LEVEL": "3"}, ""),
        (["list"], "", {"TF_CPP_MIN_LOG_LEVEL": "0"}, "a line of a library\n"),
        (["list", "-v"], "", {}, "a line of a library\n"),
        (["-v", "list"], "", {}, "a line of a library\n"),
        (
            ["list"],
            "1",
            {},
            "a line of a library\nerror: --import tensorflow: a library is missing\n",
        ),
    ],
)
def test_the_log_of_an_import_is_shown_where_it_is_needed(words, fails, variables, expected, fake):
    done, _ = python(
        MAIN, *words, "--import", "tensorflow", PYTHONPATH=fake, FAILS=fails, **variables
    )
    assert done.stderr == expected
    assert done.returncode == (2 if fails else 0)


def test_without_stderr_a_command_runs():
    """As started by a desktop, where the descriptor is closed."""
    code = f"import os; os.close(2); {MAIN}"
    done, _ = python(code, "list", "--import", "tensorflow")
    assert done.returncode == 0 and "f_rnn_bach" in done.stdout


def test_version_is_that_of_the_package():
    assert python(MAIN, "--version")[0].stdout == f"srnn-tf {srnn_tf.__version__}\n"


MISSING = {
    "sample --out {}/x.mid": ("mido", "music"),
    "sample --out {}/x.MID": ("mido", "music"),
    "sample --out {}/x.png": ("matplotlib", "plot"),
    "anomalies {}/roll.npy --out {}/x.svg": ("matplotlib", "plot"),
    "score {}/roll.npy --server localhost:1": ("tensorflow_serving.apis", "serving"),
}


@pytest.mark.parametrize("words", MISSING)
def test_a_missing_package_is_told_before_anything_is_loaded(words, tmp_path, monkeypatch, capsys):
    package, extra = MISSING[words]
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr(zoo.artifacts.Artifact, "verify", lambda self: pytest.fail("it is loaded"))
    np.save(tmp_path / "roll.npy", np.zeros([5, 88], np.uint8))
    command, *others = words.format(tmp_path, tmp_path).split()
    with pytest.raises(SystemExit) as stopped:
        main([command, "f_rnn_bach", *others])
    error = capsys.readouterr().err
    assert stopped.value.code == 2 and error.count("\n") == 1
    assert error.startswith("error: ") and f"pip install 'srnn-tf[{extra}]'" in error
    assert [p.name for p in tmp_path.iterdir()] == ["roll.npy"]


def test_packages_of_the_extras_are_those_of_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    installed_as = {"sklearn": "scikit-learn", "tensorflow_serving": "tensorflow-serving-api"}
    for name, extra in packages.EXTRAS.items():
        distribution = installed_as.get(name, name.replace("_", "-"))
        assert any(line.startswith(distribution) for line in extras[extra]), name


def test_the_case_of_an_ending_does_not_matter(tmp_path, capsys):
    words = ["sample", "f_rnn_bach", "--steps", "4", "--out"]
    for name in ("X.MID", "X.PNG", "X.Pdf"):
        main([*words, str(tmp_path / name)])
        assert (tmp_path / name).stat().st_size > 20
    np.save(tmp_path / "roll.npy", np.zeros([5, 88], np.uint8))
    (tmp_path / "roll.npy").rename(tmp_path / "ROLL.NPY")
    capsys.readouterr()
    main(["score", "f_rnn_bach", str(tmp_path / "ROLL.NPY"), str(tmp_path / "X.MID")])
    assert len(capsys.readouterr().out.splitlines()) == 3
    main(["anomalies", "f_rnn_bach", str(tmp_path / "X.MID"), "--out", str(tmp_path / "Y.SVG")])
    emission = {"class": "factorized", "event_size": 3, "likelihood": "bernoulli"}
    srnn_tf.SequenceModel({"class": "rnn", "units": 4}, emission).save(tmp_path / "own.keras")
    (tmp_path / "own.keras").rename(tmp_path / "OWN.KERAS")
    main(["export", str(tmp_path / "OWN.KERAS"), str(tmp_path)])
    assert (tmp_path / "OWN" / "1" / "saved_model.pb").is_file()


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("watched", [False, True])
def test_progress_is_on_stderr_where_that_is_a_terminal(watched, tmp_path, monkeypatch, capsys):
    corpora.own_midi(tmp_path / "own")
    screen = Terminal() if watched else io.StringIO()
    monkeypatch.setattr(sys, "stderr", screen)
    words = ["data", "prepare", "pianoroll", "--source", tmp_path / "own"]
    main([str(word) for word in (*words, "--out", tmp_path / "prepared")])
    assert ("writing shards" in screen.getvalue()) == watched
    capsys.readouterr()
    main(["score", "f_rnn_bach", str(tmp_path / "own" / "test" / "song3.mid")])
    assert ("scoring" in screen.getvalue()) == watched
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert float(row["log_likelihood"]) < 0

"""`prepare`: the same bytes however it is run, whole or not there, going on after a kill."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import textwrap

import pytest

from srnn_tf import data
from srnn_tf.data import __main__ as command
from srnn_tf.data import corpora, info, records, shards
from tests import corpora as mini


def content(folder):
    """The bytes of all files, by name."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr(shards, "SHARD_BYTES", 30_000)  # several in each part


@pytest.fixture
def source(tmp_path):
    mini.timit(tmp_path / "source")
    return tmp_path / "source"


def beside(folder):
    """What lies beside a prepared folder, hidden files too."""
    return sorted(p.name for p in folder.parent.iterdir())


def test_two_runs_give_the_same_bytes_with_any_number_of_workers(source, tmp_path, small_shards):
    before = content(source)
    one = data.prepare("timit", source, tmp_path / "one")
    assert len(list(one.glob("train-*.tfrecord"))) > 2
    again = data.prepare("timit", source, tmp_path / "again")
    spread = data.prepare("timit", source, tmp_path / "spread", workers=2)
    assert content(one) == content(again) == content(spread)
    assert content(source) == before
    assert beside(one) == ["again", "one", "source", "spread"]


def test_beam_gives_the_same_bytes(source, tmp_path, small_shards):
    pytest.importorskip("apache_beam")
    one = data.prepare("timit", source, tmp_path / "one")
    beam = data.prepare("timit", source, tmp_path / "beam", runner="DirectRunner")
    assert content(one) == content(beam)
    bad = source / "TRAIN" / "DR1" / "FABC0" / "SX0.WAV"
    bad.write_bytes(b"nothing")
    with pytest.raises(ValueError, match="SX0.WAV: cannot be decoded"):
        data.prepare("timit", source, tmp_path / "x", runner="DirectRunner")


def test_without_beam_the_error_says_what_to_install(source, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    with pytest.raises(ImportError, match=r"srnn-tf\[beam\]"):
        data.prepare("timit", source, tmp_path / "out", runner="DirectRunner")
    assert beside(source) == ["source"]


def test_what_the_information_says(source, tmp_path, capsys):
    out = data.prepare("timit", source, tmp_path / "out")
    text = (out / info.FILE).read_text()
    assert str(tmp_path) not in text and str(tmp_path) not in (out / info.INDEX).read_text()
    found = json.loads(text)
    assert found["source"]["files"] == 22 and found["skipped"] == []
    assert found["notes"] == ["TIMIT has 4620 and 1680 files in TRAIN and TEST; here are (20, 2)"]
    assert {"soundfile", "libsndfile", "soxr"} <= set(found["made_with"])
    command.main(["info", str(out), "--verify"])
    printed = capsys.readouterr().out
    assert "mismatch" in printed and "1.54M steps" in printed and "nats per sequence" in printed


# A process that is killed after its first shards, as by the machine.
KILLED = """
    import os, sys
    from srnn_tf import data
    from srnn_tf.data import records, shards

    shards.SHARD_BYTES = 30_000
    write, count = records.write_shard, []

    def dying(*args):
        if len(count) == 2:
            os.kill(os.getpid(), 9)
        count.append(1)
        return write(*args)

    records.write_shard = dying
    data.prepare("timit", sys.argv[1], sys.argv[2])
"""


def test_a_killed_run_goes_on(source, tmp_path, small_shards, monkeypatch):
    whole = data.prepare("timit", source, tmp_path / "whole")
    out = tmp_path / "out"
    program = [sys.executable, "-c", textwrap.dedent(KILLED), str(source), str(out)]
    ended = subprocess.run(program, capture_output=True, text=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    # Nothing that looks like the data set; its lock, and what is finished, are beside it.
    assert not out.exists() and ".out.preparing" in beside(out)
    read, reader = [], corpora.CORPORA["timit"].read

    def counting(item, options):
        read.append(item.key)
        return reader(item, options)

    counted = corpora.Corpus(**{**vars(corpora.CORPORA["timit"]), "read": counting})
    monkeypatch.setitem(corpora.CORPORA, "timit", counted)
    first = [p for p in (tmp_path / ".out.preparing").glob("*.tfrecord.json")]
    assert len(first) == 2
    kept = {e[0] for p in first for e in json.loads(p.read_text())["entries"]}
    changed = sorted(kept)[0]
    path = source / f"{changed}.WAV"
    os.utime(path, ns=(1, 1))  # another file, as far as can be told
    data.prepare("timit", source, out)
    assert content(out) == content(whole)
    assert changed in read and len(read) < 22 and kept - set(read)
    assert beside(out) == ["out", "source", "whole"]


def test_an_interrupted_run_leaves_only_whole_shards(source, tmp_path, small_shards, monkeypatch):
    write, count = records.write_json, []

    def interrupted(path, value):
        count.append(path)
        if len(count) == 3:
            raise KeyboardInterrupt
        write(path, value)

    monkeypatch.setattr(records, "write_json", interrupted)
    with pytest.raises(KeyboardInterrupt):
        data.prepare("timit", source, tmp_path / "out")
    monkeypatch.undo()
    left = sorted(p.name for p in (tmp_path / ".out.preparing").iterdir())
    assert len(left) == 4 and all(".tfrecord" in name for name in left)
    assert beside(tmp_path / "out") == [".out.preparing", "source"]


def test_one_run_at_a_time(source, tmp_path):
    lock = tmp_path / ".out.lock"
    with open(lock, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(OSError, match="out=.*out is being prepared by another run"):
            data.prepare("timit", source, tmp_path / "out")
    # The file alone, left by a run that was killed, is no lock.
    assert lock.exists()
    assert (data.prepare("timit", source, tmp_path / "out") / info.FILE).exists()
    assert beside(tmp_path / "out") == ["out", "source"]


# A process whose files may have so many bytes and no more, as on a disk that is full.
FULL = """
    import resource, signal, sys
    from srnn_tf.data import __main__ as command

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    command.main(["prepare", "timit", "--source", sys.argv[1], "--out", sys.argv[2]])
"""


def test_a_full_disk(source, tmp_path):
    out = tmp_path / "out"
    program = [sys.executable, "-c", textwrap.dedent(FULL), str(source), str(out)]
    ended = subprocess.run(program, capture_output=True, text=True)
    assert ended.returncode == 2
    message = ended.stderr.strip().splitlines()[-1]
    assert message.startswith("error: ") and ".tfrecord" in message and "cannot write" in message
    assert beside(out) == ["source"]
    assert (data.prepare("timit", source, out) / info.FILE).exists()


def test_a_folder_in_use_is_refused(source, tmp_path):
    out = data.prepare("timit", source, tmp_path / "out")
    before = content(out)
    with pytest.raises(FileExistsError, match="out=.*holds a prepared data set"):
        data.prepare("timit", source, out)
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "thesis.txt").write_text("x")
    with pytest.raises(FileExistsError, match="holds something else"):
        data.prepare("timit", source, tmp_path / "own")
    with pytest.raises(FileExistsError, match="holds something else"):
        data.prepare("timit", source, tmp_path / "own" / "thesis.txt")
    assert content(out) == before and content(tmp_path / "own") == {"thesis.txt": b"x"}
    (tmp_path / "empty").mkdir()
    assert (data.prepare("timit", source, tmp_path / "empty") / info.FILE).exists()


def test_source_and_out_are_apart(source):
    for out in (source, source / "TRAIN" / "x", source.parent):
        with pytest.raises(ValueError, match="must lie outside of one another"):
            data.prepare("timit", source, out)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("timid", {}, "unknown data set 'timid'. Did you mean 'timit'"),
        ("timit", {"workers": 0}, "`workers` must be at least 1; received 0"),
        ("timit", {"lists": "x"}, "timit takes no option 'lists'; accepted are: frame_size"),
        ("timit", {"frame_size": 0}, "`frame_size` must be at least 1; received 0"),
        ("vctk", {"lists": "nowhere"}, "lists=nowhere is not a folder"),
        ("audio", {"sample_rate": 5}, "`sample_rate` must be at least 1000; received 5"),
        ("unipen", {"std": -1.0}, "`std` must be above 0; received -1"),
        ("unipen", {"std": float("nan")}, "`std` must be above 0; received nan"),
        ("perm_timit", {"permutation": "nowhere"}, "permutation=nowhere cannot be read"),
        ("perm_timit", {"frame_size": 100}, "holds 200 numbers; accepted are 0 to 99"),
        ("bach", {}, "source=.*: bach comes with a package; omit it"),
    ],
)
def test_options_that_mean_nothing(name, options, message, source, tmp_path):
    with pytest.raises(ValueError, match=message):
        data.prepare(name, source, tmp_path / "out", **options)
    assert beside(source) == ["source"]


def test_the_command(source, tmp_path, capsys):
    arguments = ["prepare", "timit", "--source", str(source), "--out", str(tmp_path / "out")]
    command.main([*arguments, "--frame-size", "100"])
    assert "frames of 100 values" in capsys.readouterr().out
    command.main(["names"])
    assert capsys.readouterr().out.split() == [*corpora.CORPORA]
    with pytest.raises(SystemExit) as ended:
        command.main(arguments)
    assert ended.value.code == 2 and capsys.readouterr().err.startswith("error: out=")
    with pytest.raises(SystemExit):
        command.main([*arguments, "--wrong", "1"])
    assert "unrecognized arguments: --wrong 1" in capsys.readouterr().err

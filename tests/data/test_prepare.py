"""`prepare`: the same bytes however it is run, into a folder of its own, told what it must be."""

import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from srnn_tf import command, data
from srnn_tf.data import corpora
from srnn_tf.data.prepared import info, preparation, shards
from tests import corpora as mini
from tests.preparing import beside, content, counted

REAL = os.environ.get("SRNN_TF_TEST_DATA")


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr(shards, "SHARD_BYTES", 30_000)  # several in each part


@pytest.fixture
def source(tmp_path):
    mini.timit(tmp_path / "source")
    return tmp_path / "source"


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
    with pytest.raises(ValueError, match="^/.*SX0.WAV: cannot be decoded: [^\n]*$"):
        data.prepare("timit", source, tmp_path / "x", runner="DirectRunner")


@pytest.mark.slow
def test_beam_in_processes(source, tmp_path, small_shards):
    pytest.importorskip("apache_beam")
    one = data.prepare("timit", source, tmp_path / "one")
    arguments = ["--source", str(source), "--out", str(tmp_path / "out")]
    words = ["--direct_num_workers", "2", "--direct_running_mode", "multi_processing"]
    command.main(["data", "prepare", "timit", *arguments, "--runner", "DirectRunner", *words])
    assert content(one) == content(tmp_path / "out")


def test_without_beam_the_error_says_what_to_install(source, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    with pytest.raises(ImportError, match=r"srnn-tf\[beam\]"):
        data.prepare("timit", source, tmp_path / "out", runner="DirectRunner")
    assert beside(source) == ["source"]


def test_what_the_information_says(source, tmp_path, capsys):
    out = data.prepare("timit", source, tmp_path / "out")
    text = (out / info.FILE).read_text()
    for written in (text, (out / info.INDEX).read_text()):
        assert str(tmp_path) not in written and '"/' not in written
    found = json.loads(text)
    assert found["source"]["files"] == 22 and found["skipped"] == []
    assert found["notes"] == ["TIMIT has 4620 and 1680 files in TRAIN and TEST; here are (20, 2)"]
    assert {"soundfile", "libsndfile", "soxr"} <= set(found["made_with"])
    command.main(["data", "info", str(out), "--verify"])
    printed = capsys.readouterr().out
    assert "mismatch" in printed and "1.54M steps" in printed and "nats per sequence" in printed


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


def test_a_link_to_an_empty_folder_is_followed(source, tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "out")
    assert data.prepare("timit", source, tmp_path / "link") == tmp_path / "disk" / "out"
    assert (tmp_path / "link").is_symlink() and (tmp_path / "link" / info.FILE).exists()
    assert beside(tmp_path / "disk" / "out") == ["out"]


def test_a_mount_point_cannot_be_replaced(source, tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    monkeypatch.setattr(os.path, "ismount", lambda path: path == tmp_path / "out")
    with pytest.raises(OSError, match="out=.*out is a mount point .*; name a folder in it"):
        data.prepare("timit", source, tmp_path / "out")
    assert beside(source) == ["out", "source"]


@pytest.mark.parametrize("moment", ["_working", "_finish"])
def test_a_folder_that_appears_meanwhile_is_kept(moment, source, tmp_path, monkeypatch):
    """Before this run holds the lock, or while it reads."""
    out = tmp_path / "out"

    def appear(*args):
        out.mkdir()
        (out / "thesis.txt").write_text("x")

    def during(*args):
        run(*args)
        appear()

    run = shards.run
    with monkeypatch.context() as patch:
        if moment == "_working":
            patch.setattr(preparation, "_lock", appear)
        else:
            patch.setattr(shards, "run", during)
        with pytest.raises(FileExistsError, match="out=.*holds something else"):
            data.prepare("timit", source, out)
    assert content(out) == {"thesis.txt": b"x"}
    assert (".out.preparing" in beside(out)) == (moment == "_finish")
    shutil.rmtree(out)
    read = counted(monkeypatch)
    data.prepare("timit", source, out)
    assert len(read) == (22 if moment == "_working" else 0)  # what is done is not read again


def test_source_and_out_are_apart(source):
    (source.parent / "link").symlink_to(source)
    with pytest.raises(ValueError, match="must lie outside of one another"):
        data.prepare("timit", source.parent / "link", source / "out")
    for out in (source, source / "TRAIN" / "x", source.parent):
        with pytest.raises(ValueError, match="must lie outside of one another"):
            data.prepare("timit", source, out)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("timid", {}, "unknown data set 'timid'. Did you mean 'timit'"),
        ("timit", {"workers": 0}, "`workers` must be an integer of at least 1; received 0"),
        ("timit", {"workers": 1.5}, "`workers` must be an integer of at least 1; received 1.5"),
        ("timit", {"workers": "2"}, "`workers` must be an integer of at least 1; received '2'"),
        ("timit", {"lists": "x"}, "timit takes no option 'lists'; accepted are: frame_size"),
        ("timit", {"frame_size": 0}, "`frame_size` must be an integer from 1 to .*; received 0"),
        ("timit", {"frame_size": 100.0}, "`frame_size` must be an integer .*; received 100.0"),
        ("timit", {"frame_size": 10**9}, "`frame_size` must be an integer from 1 to 1048576; "),
        ("timit", {"std": 2.0}, "timit takes no option 'std'"),
        ("vctk", {"lists": "nowhere"}, "lists=nowhere is not a folder"),
        ("audio", {"sample_rate": 5}, "`sample_rate` must be an integer from 1000 to 768000; re"),
        ("pianoroll", {"steps_per_quarter": 500}, "`steps_per_quarter` must be .* from 1 to 480"),
        ("unipen", {"std": -1.0}, "`std` must be a number from 1e-30 to .*; received -1"),
        ("unipen", {"std": float("nan")}, "`std` must be a number from .*; received nan"),
        ("unipen", {"std": "x"}, "`std` must be a number from .*; received 'x'"),
        ("perm_timit", {"permutation": "nowhere"}, "permutation=nowhere cannot be read"),
        ("perm_timit", {"frame_size": 100}, "holds 200 numbers; accepted are 0 to 99"),
        ("bach", {}, "source=.*: bach comes with a package; omit it"),
    ],
)
def test_options_that_mean_nothing(name, options, message, source, tmp_path):
    with pytest.raises(ValueError, match=message):
        data.prepare(name, source, tmp_path / "out", **options)
    assert beside(source) == ["source"]


def test_numbers_of_numpy_will_do(source, tmp_path):
    out = data.prepare("timit", source, tmp_path / "out", frame_size=np.int64(100))
    assert data.load("timit", out).train[0].shape[1] == 100


@pytest.mark.skipif(not REAL, reason="SRNN_TF_TEST_DATA names no folder with midi/*.mat")
@pytest.mark.parametrize(
    ("name", "counts", "told"),
    [
        ("nottingham", [694, 173, 170], "23.5M values; here 23.5M: match (it counts values: "),
        ("muse", [524, 135, 124], "36.1M values; here 34.5M: mismatch (it counts values: "),
    ],
)
def test_table_5_beside_genuine_files(name, counts, told, tmp_path, capsys):
    source, out = str(Path(REAL, "midi")), str(tmp_path / "out")
    command.main(["data", "prepare", name, "--source", source, "--out", out])
    printed = capsys.readouterr().out
    assert f"Table 5 of the paper: {told}steps x 88)" in printed
    assert ("the rolls in circulation have 34.5M" in printed) == (name == "muse")
    parts = info.read(Path(out))["parts"].values()
    assert [part["sequences"] for part in parts] == [counts[2], *counts[:2]]  # sorted by name


def test_the_command(source, tmp_path, capsys):
    arguments = ["prepare", "timit", "--source", str(source), "--out", str(tmp_path / "out")]
    command.main(["data", *arguments, "--frame-size", "100"])
    assert "frames of 100 values" in capsys.readouterr().out
    command.main(["data", "list"])
    assert capsys.readouterr().out.split() == [*corpora.CORPORA]
    with pytest.raises(SystemExit) as ended:
        command.main(["data", *arguments])
    assert ended.value.code == 2 and capsys.readouterr().err.startswith("error: out=")
    with pytest.raises(SystemExit):
        command.main(["data", *arguments, "--wrong", "1"])
    assert "unrecognized arguments: --wrong 1" in capsys.readouterr().err

"""What `prepare` takes for the source: links, files beside files, folders left out, and changes."""

import json
import os

import numpy as np
import pytest

from srnn_tf import data
from srnn_tf.data import corpora
from srnn_tf.data.corpora import Options
from srnn_tf.data.prepared import shards
from tests import corpora as mini
from tests.preparing import beside


def test_links_to_folders_are_followed(tmp_path):
    mini.vctk(tmp_path / "source")
    away = tmp_path / "away"
    (tmp_path / "source" / "wav48" / "p226").rename(away)
    (tmp_path / "source" / "wav48" / "p226").symlink_to(away)
    found = corpora.get("vctk").find(tmp_path / "source", Options())
    assert sum(len(items) for items in found.parts.values()) == 12
    circle = tmp_path / "source" / "wav48" / "p227" / "circle"
    circle.symlink_to(tmp_path / "source")
    for target in (tmp_path / "source", circle.parent, away):  # away is there as p226
        circle.unlink()
        circle.symlink_to(target)
        with pytest.raises(ValueError, match=r"are one folder; keep one of the two"):
            corpora.get("vctk").find(tmp_path / "source", Options())


def test_links_to_one_another_are_an_error(tmp_path):
    for name, other in (("a", "b"), ("b", "a")):
        mini.audio(tmp_path / "source" / name / "x.wav", mini.noise(0.1))
        (tmp_path / "source" / name / "link").symlink_to(tmp_path / "source" / other)
    with pytest.raises(ValueError, match=r"are one folder; keep one of the two"):
        corpora.get("audio").find(tmp_path / "source", Options())


def test_a_folder_that_is_left_out_is_told(tmp_path, capsys):
    mini.vctk(tmp_path / "source")
    mini.audio(tmp_path / "source" / "wav16" / "p225" / "p225_000.wav", mini.noise(0.2))
    data.prepare("vctk", tmp_path / "source", tmp_path / "out")
    assert "its folder wav16 is left out; wav48 is read" in capsys.readouterr().err
    assert corpora.get("vctk").find(tmp_path / "source", Options()).edition == "0.80"
    for name in ("wav48", "wav16"):
        (tmp_path / "source" / name).rename(tmp_path / name)
    for speaker in (225, 226, 227):
        path = tmp_path / "only" / "wav16" / f"p{speaker}" / f"p{speaker}_000.wav"
        mini.audio(path, mini.noise(0.2))
    assert corpora.get("vctk").find(tmp_path / "only", Options()).edition == ""


def test_what_cannot_be_mended_by_going_on_leaves_no_shards(tmp_path):
    for part in ("train", "valid", "test"):
        mini.audio(tmp_path / "source" / part / "a.wav", np.zeros([4000], np.int16))
    with pytest.raises(ValueError, match="audio: the training part is silent"):
        data.prepare("audio", tmp_path / "source", tmp_path / "out")
    assert beside(tmp_path / "out") == ["source"]


def test_forms_that_are_missing_come_before_too_few_forms(tmp_path):
    mini.iam_ondb(tmp_path / "source")
    mini.text(tmp_path / "lists" / "train.txt", ["a01-000u\n", "z99-999\n"])
    mini.text(tmp_path / "lists" / "valid.txt", ["c03-081z\n"])
    with pytest.raises(ValueError, match="z99-999: train.txt lists it, but it is not in the sour"):
        data.prepare("iam_ondb", tmp_path / "source", tmp_path / "out", lists=tmp_path / "lists")
    mini.text(tmp_path / "few" / "lineStrokes" / "a01" / "a.xml", mini.iam_xml(mini.pen(1)))
    with pytest.raises(ValueError, match="few: forms: 1 found; 3 are needed, one for each part"):
        data.prepare("iam_ondb", tmp_path / "few", tmp_path / "out")


def test_a_change_of_an_included_file_is_noticed(tmp_path):
    points = ".PEN_DOWN\n1 2\n3 5\n8 9\n.PEN_UP\n"
    for writer in ("bba", "bbb", "bbc"):
        mini.text(tmp_path / "source/data/8" / writer / "w.dat", [f".INCLUDE {writer}/w.dat\n"])
        mini.text(tmp_path / "source/include" / writer / "w.dat", [points])
    found = corpora.get("unipen").find(tmp_path / "source", Options())

    def identities():
        tasks = shards.plan("unipen", found, tmp_path, Options(), False)
        return [task.identity for task in tasks]

    before = identities()
    assert before == identities()
    os.utime(tmp_path / "source/include/bba/w.dat", ns=(1, 1))
    after = identities()
    assert sum(a != b for a, b in zip(before, after, strict=True)) == 1
    (tmp_path / "source/include/bba/w.dat").unlink()  # an error when it is read
    assert sum(a != b for a, b in zip(after, identities(), strict=True)) == 1


def test_a_shard_that_was_damaged_since_is_written_again(tmp_path):
    mini.timit(tmp_path / "source")
    found = corpora.get("timit").find(tmp_path / "source", Options())
    task = shards.plan("timit", found, tmp_path, Options(), False)[0]
    shards.write(task)
    assert task.done()
    content = bytearray((tmp_path / task.file).read_bytes())
    content[100] ^= 1
    (tmp_path / task.file).write_bytes(content)
    assert not task.done()
    content[100] ^= 1
    (tmp_path / task.file).write_bytes(content)
    assert task.done()
    task.report.write_text(json.dumps({"identity": task.identity}))
    assert not task.done()

"""Prepared folders that are damaged, or made by somebody: they load or say what is wrong."""

import json
import shutil

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from srnn_tf import command, data
from srnn_tf.data.prepared import info, records
from tests import corpora as mini


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return mini.prepared("jsb", tmp_path_factory.mktemp("jsb"))


@pytest.fixture
def copied(prepared, tmp_path):
    return shutil.copytree(prepared, tmp_path / "jsb")


def test_a_folder_of_something_else(copied, tmp_path):
    with pytest.raises(ValueError, match="path=.* holds jsb, not muse"):
        data.load("muse", copied)
    with pytest.raises(ValueError, match="is not a prepared data set: it holds no dataset_info"):
        data.load("timit", tmp_path)
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        data.load("timit", tmp_path / "nowhere")
    with pytest.raises(ValueError, match="timit is read from a prepared folder; make one with"):
        data.load("timit")
    with pytest.raises(ValueError, match="down_sample=2 is for speech"):
        data.load("jsb", copied, down_sample=2)


def test_damaged_shards(copied):
    shard = next(copied.glob("train-*"))
    whole = bytearray(shard.read_bytes())
    whole[len(whole) // 2] ^= 1
    shard.write_bytes(whole)
    info.read(copied)  # sizes fit: only checksums tell
    with pytest.raises(ValueError, match="train-.* differs from its checksum; prepare again"):
        info.verify(copied)
    cut(shard)
    with pytest.raises(ValueError, match="train-.* is missing or is not of .* bytes"):
        data.load("jsb", copied)
    shard.unlink()
    with pytest.raises(ValueError, match="train-.* is missing or is not of .* bytes"):
        data.load("jsb", copied)


@pytest.mark.parametrize(
    "written",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b"\xff\xfe",
        b"[" * 100_000,
        b"1" * 10_000,
        b'{"format": NaN}',
        b"7",
    ],
)
@pytest.mark.parametrize("file", [info.FILE, info.INDEX])
def test_files_that_are_something_else(file, written, copied, capsys):
    (copied / file).write_bytes(written)
    with pytest.raises(ValueError, match=f"{file}.* (is damaged|is of format|differs from)"):
        data.load("jsb", copied)
    with pytest.raises(SystemExit):
        command.main(["data", "info", str(copied), "--verify"])
    assert capsys.readouterr().err.startswith("error: ")
    (copied / file).unlink()
    with pytest.raises(ValueError, match=f"{file}"):
        data.load("jsb", copied)


def test_another_version_of_the_format(copied):
    content = records.read_json(copied / info.FILE)
    records.write_json(copied / info.FILE, {**content, "format": info.FORMAT + 1})
    with pytest.raises(ValueError, match="dataset_info.json is of format 2; this version reads 1"):
        data.load("jsb", copied)


def forged(folder, change):
    """An index made by somebody, with a checksum that fits."""
    index, content = (records.read_json(folder / f) for f in (info.INDEX, info.FILE))
    change(index, content)
    records.write_json(folder / info.INDEX, index)
    content["index_sha256"] = records.checksum(folder / info.INDEX)
    records.write_json(folder / info.FILE, content)


TRAIN = "train-00000-of-00001.tfrecord"


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (1, -1),
        (1, 10**12),
        (1, 2**70),
        (1, 1.0),
        (1, True),
        (2, -88),
        (2, 0),
        (2, 10**9),
        (2, "88"),
        (3, 0),
        (3, -1.0),
        (3, 1e300),
        (3, float("nan")),
        (3, float("inf")),
        (3, None),
        (0, 5),
        (0, ["x"]),
    ],
)
def test_an_entry_that_leads_astray(place, value, copied):
    def change(index, content):
        index[TRAIN][1][place] = value

    forged(copied, change)
    message = "index.json is damaged: .*(it does not fit the shards|is no finite number)"
    with pytest.raises(ValueError, match=message):
        data.load("jsb", copied)


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/passwd", "../train-00000-of-00001.tfrecord", "", ".", "train\0"]
)
def test_a_shard_elsewhere(name, copied):
    (copied.parent / "secret").write_bytes((copied / TRAIN).read_bytes())

    def change(index, content):
        index[name] = index.pop(TRAIN)
        content["shards"][name] = content["shards"].pop(TRAIN)

    forged(copied, change)
    with pytest.raises(ValueError, match="dataset_info.json is damaged: its shards is"):
        data.load("jsb", copied)


@pytest.mark.parametrize("part", ["train", "valid", "test"])
def test_a_part_without_sequences(part, copied):
    def change(index, content):
        index[f"{part}-00000-of-00001.tfrecord"] = []

    forged(copied, change)
    with pytest.raises(ValueError, match=f"jsb: {part} has no sequence"):
        data.load("jsb", copied)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("frame_size", 44),
        ("frame_size", 0),
        ("frame_size", 10**9),
        ("dtype", "<i2"),
        ("dtype", "O"),
        ("kind", "speech"),
        ("mean", [0.0, 0.0]),
        ("std", [0.0]),
        ("std", [-1.0]),
        ("permutation", [0] * 88),
        ("sample_rate", 0),
        ("name", "../x"),
        ("shards", {}),
        ("skipped", [["x"]]),
        ("notes", "x"),
        ("parts", {"train": 1}),
        ("index_sha256", None),
    ],
)
def test_a_field_that_cannot_be(field, value, copied):
    content = records.read_json(copied / info.FILE)
    records.write_json(copied / info.FILE, {**content, field: value})
    with pytest.raises(ValueError, match=r"(dataset_info|index)\.json is damaged: it"):
        data.load("jsb", copied)


SAME = dict(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


@settings(max_examples=60, derandomize=True, **SAME)
@given(st.data())
def test_strange_information_is_refused(copied, data_):
    """Any value of the description may be another; then it loads or says what is wrong."""
    content = records.read_json(copied / info.FILE)
    key = data_.draw(st.sampled_from(sorted(content)))
    value = data_.draw(JSON)
    (copied / info.FILE).write_text(json.dumps({**content, key: value}))
    try:
        data.load("jsb", copied)
        info.describe(info.read(copied))
    except ValueError as error:
        assert str(copied) in str(error) or "jsb" in str(error)
    finally:
        records.write_json(copied / info.FILE, content)


@settings(max_examples=60, derandomize=True, **SAME)
@given(st.data())
def test_a_strange_index_is_refused(copied, data_):
    """With a checksum that fits: an index made by somebody, not damaged by chance."""
    index, content = (records.read_json(copied / f) for f in (info.INDEX, info.FILE))
    shard = data_.draw(st.sampled_from(sorted(index)))
    entry = list(index[shard][0])
    entry[data_.draw(st.integers(0, 3))] = data_.draw(JSON)
    changed = {**index, shard: data_.draw(JSON | st.just([entry]))}
    records.write_json(copied / info.INDEX, changed)
    digest = records.checksum(copied / info.INDEX)
    records.write_json(copied / info.FILE, {**content, "index_sha256": digest})
    try:
        splits = data.load("jsb", copied)
        assert all(np.asarray(s).shape == (len(s), 88) for s in splits.train)
    except ValueError as error:
        assert "jsb" in str(error)
    finally:
        records.write_json(copied / info.INDEX, index)
        records.write_json(copied / info.FILE, content)

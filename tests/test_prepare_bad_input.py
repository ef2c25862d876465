"""Corpora that are not what they should be: an error that names the file, nothing half-written."""

import os
import pickle
import shutil

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from srnn_tf import data
from srnn_tf.data import info
from tests import corpora as mini

REAL = os.environ.get("SRNN_TF_TEST_DATA")


def files(folder):
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def refused(name, folder, message, **options):
    """`prepare` fails so, changes nothing and leaves nothing but shards that are whole."""
    before = files(folder)
    with pytest.raises(ValueError, match=message):
        data.prepare(name, folder / "source", folder / "out", **options)
    left = {p: content for p, content in files(folder).items() if p not in before}
    assert {p: content for p, content in files(folder).items() if p in before} == before
    assert not (folder / "out").exists() and not list(folder.glob(".*.lock"))
    whole = {p for p in left if p.suffix == ".tfrecord" and p.parent.name == ".out.preparing"}
    assert set(left) == whole | {p.with_name(f"{p.name}.json") for p in whole}


@pytest.fixture
def timit(tmp_path):
    mini.timit(tmp_path / "source")
    return tmp_path / "source"


def cut(path, share=0.6):
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])


def test_a_cut_sphere_file(timit):
    cut(timit / "TRAIN" / "DR1" / "FABC0" / "SX0.WAV")
    refused("timit", timit.parent, "FABC0/SX0.WAV: cut off: its header tells of 1600 samples")


def test_a_cut_wav_file(timit):
    cut(timit / "TRAIN" / "DR4" / "FABC3" / "SX3.WAV")
    refused("timit", timit.parent, "FABC3/SX3.WAV: cut off: its header tells of")


def test_a_file_at_another_rate(timit):
    path = timit / "TEST" / "DR1" / "MXYZ0" / "SA1.WAV"
    soundfile.write(path, mini.noise(0.1), 8000, format="NIST", subtype="PCM_16")
    refused("timit", timit.parent, "SA1.WAV: its rate is 8000 Hz; this corpus has 16000 Hz")


@pytest.mark.skipif(not REAL, reason="SRNN_TF_TEST_DATA names no folder with speech/sphere")
def test_a_file_that_is_compressed_with_shorten(timit):
    path = timit / "TEST" / "DR1" / "MXYZ0" / "SA1.WAV"
    shutil.copyfile(os.path.join(REAL, "speech/sphere/ex1_01st.wav"), path)
    refused("timit", timit.parent, "SA1.WAV: cannot be decoded: it is compressed with shorten")


def test_two_files_of_one_utterance(timit):
    path = timit / "TRAIN" / "DR1" / "FABC0" / "SX0.WAV"
    shutil.copyfile(path, path.with_name("SX0.WAV.wav"))
    refused("timit", timit.parent, "two files are TRAIN/DR1/FABC0/SX0: .*SX0.WAV")


def test_folders_that_are_not_the_corpus(tmp_path):
    (tmp_path / "source").mkdir()
    refused("timit", tmp_path, "source holds no file that ends in .wav")
    refused("vctk", tmp_path, "must hold one of the folders wav48, .*none of them")
    refused("iam_ondb", tmp_path, "must hold the folder lineStrokes")
    refused("unipen", tmp_path, "must hold unipen_bbn_sentences.npz, or")
    refused("muse", tmp_path, "must hold one of the files MuseData.mat, .*neither")
    mini.audio(tmp_path / "source" / "x" / "a.wav", mini.noise(0.1))
    refused("timit", tmp_path, "a.wav is neither below TRAIN nor below TEST")
    refused("audio", tmp_path, "1 files or groups of files were found; 3 are needed")
    mini.audio(tmp_path / "source" / "train" / "a.wav", mini.noise(0.1))
    refused("audio", tmp_path, "all of train, valid, test and nothing else")
    with pytest.raises(ValueError, match="source=None"):
        data.prepare("timit", None, tmp_path / "out")
    with pytest.raises(ValueError, match="nowhere is not a folder"):
        data.prepare("timit", tmp_path / "nowhere", tmp_path / "out")


LISTS = {"train": ["p225_000"], "valid": ["p226_000"], "test": ["p227_000"]}


@pytest.fixture
def vctk(tmp_path):
    mini.vctk(tmp_path / "source")
    return tmp_path


def lists(folder, **changed):
    for part, names in {**LISTS, **changed}.items():
        mini.text(folder / "lists" / f"{part}_files_list.txt", [f"{n}\n" for n in names])
    return folder / "lists"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"test": ["p227_000", "p999_000"]}, "p999_000: test_files_list.txt lists it, but it is n"),
        ({"test": ["p225_000"]}, "'p225_000' is listed by .*train_files.* and by .*test_files"),
        ({"train": ["p225_000", "p225_000"]}, "train_files_list.txt lists 'p225_000' twice"),
        ({"valid": ["../../etc/passwd"]}, "lists '../../etc/passwd', which leads out of the so"),
        ({"valid": ["/etc/passwd"]}, "lists '/etc/passwd', which leads out of the source"),
        ({"valid": []}, "valid_files_list.txt lists no names"),
    ],
)
def test_lists_that_do_not_fit(changed, message, vctk):
    refused("vctk", vctk, message, lists=lists(vctk, **changed))


def test_a_list_that_is_not_there(vctk):
    (lists(vctk) / "test_files_list.txt").unlink()
    refused("vctk", vctk, "test_files_list.txt does not exist", lists=vctk / "lists")


def test_skip_bad_goes_on_and_tells(vctk, capsys):
    cut(vctk / "source" / "wav48" / "p225" / "p225_001.wav")
    found = lists(vctk, train=["p225_000", "p225_001", "p999_000"])
    out = data.prepare("vctk", vctk / "source", vctk / "out", lists=found, skip_bad=True)
    content = info.read(out)
    assert [key for key, _ in content["skipped"]] == ["p225_001", "p999_000"]
    assert content["parts"]["train"]["sequences"] == 1
    assert "skipped: p225_001: " in info.describe(content)
    assert "p225_001.wav: cut off" in capsys.readouterr().err
    assert len(data.load("vctk", out).train) == 1


def test_nothing_left_of_a_part_is_an_error(vctk):
    cut(vctk / "source" / "wav48" / "p226" / "p226_000.wav")
    message = "the part valid has no sequence of at least one step"
    with pytest.raises(ValueError, match=message):
        data.prepare("vctk", vctk / "source", vctk / "out", lists=lists(vctk), skip_bad=True)
    assert not (vctk / "out").exists()


def test_silence(tmp_path):
    for i in range(5):
        mini.audio(tmp_path / "source" / f"a{i}.wav", np.zeros([4000], np.int16))
    with pytest.raises(ValueError, match="audio: the training part is silent"):
        data.prepare("audio", tmp_path / "source", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_recordings_shorter_than_a_step(tmp_path):
    for i in range(5):
        mini.audio(tmp_path / "source" / f"a{i}.wav", mini.noise(0.01))
    with pytest.raises(ValueError, match="no sequence of at least one step of 200 values"):
        data.prepare("audio", tmp_path / "source", tmp_path / "out")


class Calls:
    """Pickled, it would run a program when it is read."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


def test_a_pickle_that_calls_something(tmp_path):
    (tmp_path / "source").mkdir()
    content = pickle.dumps({"train": Calls(tmp_path / "called"), "valid": [], "test": []})
    (tmp_path / "source" / "Nottingham.pickle").write_bytes(content)
    refused("nottingham", tmp_path, "Nottingham.pickle is not readable .*global .*mkdir")
    assert not (tmp_path / "called").exists()


def test_an_xml_bomb(tmp_path):
    mini.iam_ondb(tmp_path / "source")
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><WhiteboardCaptureSession/>'
    path = tmp_path / "source" / "lineStrokes" / "b02" / "b02-010" / "b02-010-01.xml"
    path.write_text(bomb)
    refused("iam_ondb", tmp_path, "b02-010-01.xml: is not sound XML .*DTDForbidden")


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
    content = info.records.read_json(copied / info.FILE)
    key = data_.draw(st.sampled_from(sorted(content)))
    value = data_.draw(JSON)
    (copied / info.FILE).write_text(info.records.json.dumps({**content, key: value}))
    try:
        data.load("jsb", copied)
        info.describe(info.read(copied))
    except ValueError as error:
        assert str(copied) in str(error) or "jsb" in str(error)
    finally:
        info.records.write_json(copied / info.FILE, content)


@settings(max_examples=60, derandomize=True, **SAME)
@given(st.data())
def test_a_strange_index_is_refused(copied, data_):
    """With a checksum that fits: an index made by somebody, not damaged by chance."""
    index, content = (info.records.read_json(copied / f) for f in (info.INDEX, info.FILE))
    shard = data_.draw(st.sampled_from(sorted(index)))
    entry = list(index[shard][0])
    entry[data_.draw(st.integers(0, 3))] = data_.draw(JSON)
    changed = {**index, shard: data_.draw(JSON | st.just([entry]))}
    info.records.write_json(copied / info.INDEX, changed)
    digest = info.records.checksum(copied / info.INDEX)
    info.records.write_json(copied / info.FILE, {**content, "index_sha256": digest})
    try:
        splits = data.load("jsb", copied)
        assert all(np.asarray(s).shape == (len(s), 88) for s in splits.train)
    except ValueError as error:
        assert "jsb" in str(error)
    finally:
        info.records.write_json(copied / info.INDEX, index)
        info.records.write_json(copied / info.FILE, content)

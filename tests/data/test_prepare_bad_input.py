"""Corpora that are not what they should be: an error that names the file, nothing half-written."""

import os
import pickle
import shutil

import numpy as np
import pytest
import soundfile

from srnn_tf import command, data
from srnn_tf.data.prepared import info, preparation
from tests import corpora as mini
from tests.preparing import content as content_of
from tests.preparing import counted

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


@pytest.mark.parametrize(
    ("suffix", "message"),
    [
        ("flac", "zz.flac: cannot be decoded: flac decoder lost sync"),
        ("mp3", "zz.mp3: cut off: [0-9]+ samples were promised, [0-9]+ are there"),
    ],
)
def test_a_cut_compressed_file(suffix, message, tmp_path):
    mini.own_audio(tmp_path / "source")
    path = tmp_path / "source" / f"zz.{suffix}"
    mini.audio(path, mini.noise(1.0))
    cut(path)
    refused("audio", tmp_path, message)


def test_a_file_at_another_rate(timit):
    path = timit / "TEST" / "DR1" / "MXYZ0" / "SA1.WAV"
    soundfile.write(path, mini.noise(0.1), 8000, format="NIST", subtype="PCM_16")
    refused("timit", timit.parent, "SA1.WAV: its rate is 8000 Hz; this corpus has 16000 Hz")


@pytest.mark.skipif(not REAL, reason="SRNN_TF_TEST_DATA names no folder with speech/sphere")
def test_a_file_that_is_compressed_with_shorten(timit):
    path = timit / "TEST" / "DR1" / "MXYZ0" / "SA1.WAV"
    shutil.copyfile(os.path.join(REAL, "speech/sphere/ex1_01st.wav"), path)
    refused("timit", timit.parent, "SA1.WAV: cannot be decoded: it is compressed with shorten")


def test_what_is_no_file(timit):
    path = timit / "TRAIN" / "DR1" / "FABC0" / "SX0.WAV"
    path.unlink()
    path.symlink_to("nowhere")
    with pytest.raises(ValueError, match="SX0.WAV: is no file, or a link that leads nowhere"):
        data.prepare("timit", timit, timit.parent / "out")
    path.unlink()
    os.mkfifo(path)  # to be opened, it would wait for a writer
    out = data.prepare("timit", timit, timit.parent / "out", skip_bad=True)
    assert [key for key, _ in info.read(out)["skipped"]] == ["TRAIN/DR1/FABC0/SX0"]


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
    refused("audio", tmp_path, "source: files: 1 found; 3 are needed")
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
    # The reasons name no folder of this machine.
    assert content["skipped"][0][1].startswith("p225_001.wav: cut off: its header tells of ")
    assert "skipped: p225_001: p225_001.wav: cut off" in info.describe(content)
    assert "p225_001.wav: cut off" in capsys.readouterr().err
    assert len(data.load("vctk", out).train) == 1
    shutil.copytree(vctk / "source", vctk / "moved" / "source")
    moved = data.prepare("vctk", vctk / "moved" / "source", vctk / "x", lists=found, skip_bad=True)
    assert content_of(moved) == content_of(out)


@pytest.mark.parametrize("workers", [1, 2])
def test_all_bad_files_are_named_at_once(workers, timit, monkeypatch, capfd):
    names = "DR1/FABC0/SX0", "DR4/FABC3/SX3", "DR5/FABC0/SX4"
    paths = [timit / "TRAIN" / f"{name}.WAV" for name in names]
    for path in paths:
        cut(path)
    named = "".join(f"{path}: cut off: [^;]*; " for path in paths)
    message = f"^3 of 22 files are bad: {named}skip_bad .--skip-bad. goes on without$"
    refused("timit", timit.parent, message, workers=workers)
    # Each as soon as it is found, too; the others are read, and not read again.
    said = capfd.readouterr().err
    assert all(f"bad: {path}: cut off" in said for path in paths)
    read = counted(monkeypatch)
    out = data.prepare("timit", timit, timit.parent / "out", skip_bad=True)
    assert len(info.read(out)["skipped"]) == 3 and not read


def test_all_missing_files_are_named_at_once(vctk):
    found = lists(vctk, test=["p227_000", "p999_000", "p999_001"])
    message = "2 are missing: p999_000: .* it is not in the source; p999_001: .*; skip_bad"
    refused("vctk", vctk, message, lists=found)


def test_of_thousands_of_bad_files_a_hundred_are_named(tmp_path):
    for i in range(103):
        mini.text(tmp_path / "source" / f"{i:03d}.mid", ["nothing"])
    message = "^103 of 103 files are bad: ([^;]*; ){100}and 3 more; skip_bad"
    refused("pianoroll", tmp_path, message)


def test_what_was_skipped_is_an_error_without_skip_bad(vctk, monkeypatch):
    """A run that skipped and could not end leaves shards that a stricter run does not take."""
    cut(vctk / "source" / "wav48" / "p225" / "p225_001.wav")
    found = lists(vctk, train=["p225_000", "p225_001"])

    def full(*arguments):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left"):
        patch.setattr(preparation, "_finish", full)
        data.prepare("vctk", vctk / "source", vctk / "out", lists=found, skip_bad=True)
    assert (vctk / ".out.preparing").exists()
    with pytest.raises(ValueError, match="p225_001.wav: cut off"):
        data.prepare("vctk", vctk / "source", vctk / "out", lists=found)


def test_names_that_are_no_text(tmp_path, capsysbinary):
    for part in ("train", "valid", "test"):
        mini.audio(tmp_path / "source" / part / "a.wav", mini.noise(0.3))
    with open(os.fsencode(tmp_path / "source" / "train") + b"/\xff.wav", "wb") as file:
        file.write(b"nothing")
    source, out = str(tmp_path / "source"), str(tmp_path / "out")
    command.main(["data", "prepare", "audio", "--source", source, "--out", out, "--skip-bad"])
    assert b"skipped: train/\\udcff: " in capsysbinary.readouterr().out


@pytest.mark.parametrize("name", ["audio", "pianoroll", "strokes"])
def test_names_of_files_and_folders_that_are_no_text(name, tmp_path):
    mini.MAKERS[name][0](tmp_path / "made")
    source, out = (tmp_path / os.fsdecode(part) for part in (b"source\xff", b"out\xff"))
    shutil.move(tmp_path / "made", source)
    paths = [path for path in source.rglob("*") if path.is_file()]
    for i, path in enumerate(paths):
        path.rename(path.with_name(os.fsdecode(b"\xe9\xff%d" % i) + path.suffix))
    splits = data.load(name, data.prepare(name, source, out))
    parts = splits.train, splits.valid, splits.test
    assert sum(map(len, parts)) == len(paths) and all(len(s[:]) for part in parts for s in part)
    info.verify(out)


@pytest.mark.parametrize(("part", "speaker"), [("train", "p225"), ("valid", "p226")])
def test_nothing_left_of_a_part_is_an_error(part, speaker, vctk):
    cut(vctk / "source" / "wav48" / speaker / f"{speaker}_000.wav")
    message = f"the part {part} has no sequence of at least one step"
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


def test_what_is_shorter_than_a_step_is_no_sequence(tmp_path):
    for part, seconds in {"train": 0.3, "valid": 0.3, "test": 0.3}.items():
        mini.audio(tmp_path / "source" / part / "a.wav", mini.noise(seconds))
        mini.audio(tmp_path / "source" / part / "b.wav", mini.noise(0.01))
    out = data.prepare("audio", tmp_path / "source", tmp_path / "out")
    splits, counts = data.load("audio", out), info.read(out)["parts"]
    for part in ("train", "valid", "test"):
        assert counts[part] == {"sequences": 1, "steps": 24, "values": 4960}
        assert [len(s) for s in getattr(splits, part)] == [24]


@pytest.mark.parametrize("size", [1e200, 1e20, 1e-200, 1e-310])
def test_moves_of_a_size_that_cannot_be_stored(size, tmp_path):
    for part in ("train", "valid", "test"):
        mini.own_strokes(tmp_path / "source" / part)
    path = tmp_path / "source" / "train" / "line0.npy"
    np.save(path, np.load(path).astype(np.float64) * (size, size, 1))
    message = (
        "train/line0.npy: its numbers are too small or too large: in units of .*; accepted are"
    )
    refused("strokes", tmp_path, message)
    out = data.prepare("strokes", tmp_path / "source", tmp_path / "out", skip_bad=True)
    assert [key for key, _ in info.read(out)["skipped"]] == ["train/line0"]


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


def test_a_cut_xml_file(tmp_path):
    mini.iam_ondb(tmp_path / "source")
    cut(tmp_path / "source" / "lineStrokes" / "c03" / "c03-081" / "c03-081z-02.xml")
    refused("iam_ondb", tmp_path, "c03-081z-02.xml: is not sound XML .(unclosed token|no element)")


def test_a_cut_archive_of_strokes(tmp_path):
    mini.unipen(tmp_path / "source")
    cut(tmp_path / "source" / "unipen_bbn_sentences.npz")
    refused("unipen", tmp_path, "unipen_bbn_sentences.npz: is not readable as unipen_bbn_sentence")

"""The chorales (rules on a written score, agreement with music21, the cache), `load`, `Splits`."""

import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from srnn_tf import data
from srnn_tf.data import corpora
from srnn_tf.data.corpora import bach
from srnn_tf.data.corpora.splits import Splits
from srnn_tf.data.formats.rolls import check_roll

SOME = ("bwv66.6.mxl", "bwv1.6.mxl", "bwv281.mxl", "bwv190.7.mxl", "bwv190.7-inst.mxl")


def note(pitch, duration, more=""):
    octave = f"<step>{pitch[0]}</step><octave>{pitch[-1]}</octave>"
    alter = {"#": 1, "b": -1}.get(pitch[1], 0)
    pitch = f"<pitch>{octave}<alter>{alter}</alter></pitch>"
    return f"<note>{more}{pitch}<duration>{duration}</duration></note>"


def rest(duration):
    return f"<note><rest/><duration>{duration}</duration></note>"


def score(*voices, names=("Soprano", "Alto", "Tenor", "Bass Continuo")):
    """Write a MusicXML score of voices, each a list of bars."""
    heads = "".join(
        f'<score-part id="P{i}"><part-name>{name}</part-name></score-part>'
        for i, name in enumerate(names)
    )
    parts = "".join(
        f'<part id="P{i}">' + "".join(f"<measure>{bar}</measure>" for bar in bars) + "</part>"
        for i, bars in enumerate(voices)
    )
    return f"<score-partwise><part-list>{heads}</part-list>{parts}</score-partwise>"


def frames(roll):
    return [tuple(np.flatnonzero(row) + 21) for row in roll]


DIVIDE = "<attributes><divisions>{}</divisions></attributes>"
REST_BARS = [DIVIDE.format(4) + rest(8), rest(8), rest(8)]


def read(tmp_path, *voices, **options):
    path = tmp_path / "bwv1.xml"
    path.write_text(score(*voices, **options))
    return bach.read_chorale(path)


def test_frames_are_eighths_sampled_at_their_start(tmp_path):
    soprano = [
        # a pick-up of one eighth of silence, then an eighth, and two sixteenths: one is not seen
        DIVIDE.format(4) + rest(2) + note("C5", 2) + note("D5", 1) + note("E5", 1) + note("F#4", 2),
        DIVIDE.format(2) + note("Bb4", 4),  # other units of duration
        note("C5", 2) + rest(2),
    ]
    roll = read(tmp_path, soprano, REST_BARS, REST_BARS, REST_BARS)
    assert frames(roll) == [(72,), (74,), (66,)] + [(70,)] * 4 + [(72,)] * 2


def test_chords_second_voices_ties_and_ornaments(tmp_path):
    tied = '<tie type="start"/>'
    soprano = [
        DIVIDE.format(2) + note("C5", 2) + note("E5", 2, "<chord/>") + note("G5", 2, tied),
        note("A5", 0, "<grace/>") + note("G5", 2) + "<backup><duration>2</duration></backup>"
        "<forward><duration>1</duration></forward>" + note("C4", 1),
    ]
    roll = read(tmp_path, soprano, REST_BARS[:2], REST_BARS[:2], REST_BARS[:2])
    # The rests of the other voices make each bar four frames long.
    assert frames(roll) == [(72, 76), (72, 76), (79,), (79,), (79,), (60, 79)]


def test_interludes_and_instruments_are_left_out(tmp_path):
    horn = [DIVIDE.format(4) + note("C6", 8), note("C6", 8), note("C6", 8)]
    soprano = [DIVIDE.format(4) + note("C5", 8), rest(8), note("D5", 8)]
    names = ("Horn 1", "Soprano", "Alto", "Tenor", "Bass")
    roll = read(tmp_path, horn, soprano, REST_BARS, REST_BARS, REST_BARS, names=names)
    assert frames(roll) == [(72,)] * 4 + [(74,)] * 4
    names = ("Soprano 1", "Soprano 2", "Alto", "Tenor", "Bass")
    assert read(tmp_path, horn, soprano, REST_BARS, REST_BARS, REST_BARS, names=names) is None


@pytest.mark.parametrize(
    ("bar", "message"),
    [
        (rest(8), "no note"),
        (note("C9", 8), "note 120 is not on a piano"),
        ("<attributes><transpose/></attributes>" + note("C5", 8), "transposing"),
        (note("H5", 8), "H"),
    ],
)
def test_scores_that_cannot_be_understood(tmp_path, bar, message):
    with pytest.raises((ValueError, KeyError), match=message):
        read(tmp_path, *[[DIVIDE.format(4) + bar]] * 4)


def test_the_split_is_by_number():
    names = ["bwv10.7.mxl", "bwv190.7-inst.mxl", "bwv281.mxl", "bwv1.6.mxl", "bwv248.9-1.mxl"]
    assert [bach.part_of(n) for n in names] == ["test", "test", "valid", "valid", "train"]
    with pytest.raises(ValueError, match="'air.mxl'"):
        bach.bwv_number("air.mxl")


@pytest.fixture
def corpus(tmp_path, monkeypatch):
    """A corpus of five real scores and a damaged one, and a cache folder of its own."""
    pytest.importorskip("music21")
    folder, original = tmp_path / "corpus", bach.corpus_folder()
    folder.mkdir()
    for name in SOME:
        shutil.copy(original / name, folder)
    content = (original / SOME[0]).read_bytes()
    (folder / "bwv2.6.mxl").write_bytes(content[: len(content) // 2])
    monkeypatch.setattr(bach, "corpus_folder", lambda: folder)
    monkeypatch.setenv("SRNN_TF_CACHE", str(tmp_path / "cache"))
    return folder


def test_agrees_with_music21(corpus, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))  # music21 looks for its settings there
    from music21 import converter

    for name in SOME:
        parsed = converter.parse(corpus / name, forceSource=True, storePickle=False)
        wanted = np.zeros((2000, 88), np.uint8)
        for part in parsed.parts:
            if part.partName.split()[0] not in bach.VOICES:
                continue
            for item in part.flatten().notes:
                first, end = np.ceil([2 * item.offset, 2 * (item.offset + item.quarterLength)])
                for pitch in item.pitches:
                    wanted[int(first) : int(end), pitch.midi - 21] = 1
        roll = bach.read_chorale(corpus / name)
        sounding = np.flatnonzero(wanted.any(axis=1))
        np.testing.assert_array_equal(roll, wanted[sounding[0] : sounding[-1] + 1], err_msg=name)


def parts_of(splits):
    return splits.train, splits.valid, splits.test


def same(one, other):
    pairs = zip(parts_of(one), parts_of(other), strict=True)
    return all(
        len(a) == len(b) and all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))
        for a, b in pairs
    )


def test_cache_is_made_used_and_made_again(corpus, tmp_path, capsys, monkeypatch):
    cache = tmp_path / "cache" / f"bach-{bach.FORMAT}.npz"
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    first = bach.load_bach()
    told = capsys.readouterr().err
    assert "4 chorales" in told and "1 the same as another, 1 unreadable" in told
    assert "bwv2.6.mxl" in told and str(cache) in told
    assert [len(part) for part in parts_of(first)] == [1, 2, 1]
    content = cache.read_bytes()
    assert [p.name for p in cache.parent.iterdir()] == [cache.name]

    with monkeypatch.context() as patch:
        patch.setattr(bach, "build", None)  # the second time nothing may be read anew
        assert same(bach.load_bach(), first)
    for damaged in (b"", b"junk", content[: len(content) // 2], content[:-300]):
        cache.write_bytes(damaged)
        assert same(bach.load_bach(), first)
        assert "is damaged" in capsys.readouterr().err
        assert cache.read_bytes() == content
    with monkeypatch.context() as patch:
        patch.setattr(bach, "_installed_version", lambda: "99")
        assert bach.load_bach().edition == "music21-99"
        assert "made again for 99" in capsys.readouterr().err


@pytest.mark.parametrize(
    "changes",
    [
        {"format": np.int64(bach.FORMAT + 1)},
        {"lengths": np.array([1, 2])},
        {"bits": np.zeros(3, np.uint8)},
        {"split": np.zeros(4, np.uint8)},
        {"names": np.array([None] * 4, object)},
    ],
)
def test_cache_that_does_not_fit_is_damaged(corpus, tmp_path, capsys, changes):
    first = bach.load_bach()
    cache = tmp_path / "cache" / f"bach-{bach.FORMAT}.npz"
    with np.load(cache) as content:
        np.savez(cache, **(dict(content) | changes))
    assert same(bach.load_bach(), first)
    assert "is damaged" in capsys.readouterr().err


def test_cache_folder_that_cannot_be_written(corpus, tmp_path, capsys, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("SRNN_TF_CACHE", str(tmp_path / "file"))
    assert len(bach.load_bach().train) == 1
    assert "cannot be written" in capsys.readouterr().err


def test_cache_folder_is_the_users(monkeypatch):
    monkeypatch.setenv("SRNN_TF_CACHE", "/a")
    monkeypatch.setenv("XDG_CACHE_HOME", "/b")
    monkeypatch.setenv("HOME", "/c")
    assert bach.cache_folder() == Path("/a")
    monkeypatch.delenv("SRNN_TF_CACHE")
    assert bach.cache_folder() == Path("/b/srnn_tf")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert bach.cache_folder() == Path("/c/.cache/srnn_tf")


def test_without_music21(tmp_path, monkeypatch):
    monkeypatch.setenv("SRNN_TF_CACHE", str(tmp_path))
    monkeypatch.setattr(bach, "_installed_version", lambda: None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"srnn-tf\[music\]"):
        bach.load_bach()
    (tmp_path / "bwv1.xml").write_text("<score")
    with pytest.raises(ValueError, match="no readable chorale among 1"):
        bach.build(tmp_path, "1")


def test_mxl_without_a_score(tmp_path):
    with zipfile.ZipFile(tmp_path / "bwv1.mxl", "w") as archive:
        archive.writestr("META-INF/container.xml", "<container/>")
    with pytest.raises(ValueError, match="no MusicXML"):
        bach.read_chorale(tmp_path / "bwv1.mxl")


def test_the_whole_data_set(capsys):
    pytest.importorskip("music21")
    splits = data.load("bach")
    assert len(capsys.readouterr().out.splitlines()) == 4
    rolls = [roll for part in parts_of(splits) for roll in part]
    assert 380 <= len(rolls) <= 430
    assert max(roll.sum(axis=1).max() for roll in rolls) == 4
    assert len({roll.tobytes() for roll in rolls}) == len(rolls)
    used = np.flatnonzero(sum(roll.any(axis=0) for roll in rolls)) + 21
    assert 36 <= used[0] <= 41 and 79 <= used[-1] <= 84
    for part, share in zip(parts_of(splits), (0.8, 0.07, 0.09), strict=True):
        assert abs(len(part) / len(rolls) - share) < 0.04
    if splits.edition == "music21-10.5.1":
        assert [sum(map(len, part)) for part in parts_of(splits)] == [36418, 3758, 4658]
    with pytest.raises(ValueError, match="omit path"):
        data.load("bach", "bach.npz")
    with pytest.raises(ValueError, match="edition='x' of bach is not here"):
        data.load("bach", edition="x")
    assert data.load("bach", edition=splits.edition).edition == splits.edition


def test_load_names_what_is_wrong():
    with pytest.raises(ValueError, match="did you mean 'nottingham'.*bach.*piano_midi"):
        data.load("notingham")
    with pytest.raises(ValueError, match="'Muse' is not.*did you mean 'muse'"):
        data.load("Muse")
    with pytest.raises(ValueError, match="path=None: muse.*MuseData.mat"):
        data.load("muse")
    assert data.names()[:5] == ("bach", "nottingham", "muse", "jsb", "piano_midi")
    assert set(data.names()) == {*corpora.CORPORA, "music"}  # which pools five of them


def test_splits_check_their_rolls():
    roll = np.eye(88)
    with pytest.raises(ValueError, match="mine: valid has no sequence"):
        Splits("mine", [roll], [], [roll], "e", "s")
    with pytest.raises(ValueError, match="test sequence 1 holds the value 0.5"):
        Splits("mine", [roll], [roll], [roll, roll / 2], "e", "s")
    with pytest.raises(ValueError, match="type object"):
        check_roll(np.full((2, 88), None), "roll")


def test_import_is_light():
    # Keras itself imports pyplot and TensorFlow parts of SciPy: the parts used here are sought.
    code = (
        "import sys, srnn_tf.data, srnn_tf.data.corpora.bach, srnn_tf.data.corpora.pianorolls\n"
        "loaded = {'music21', 'mido', 'matplotlib.backends.backend_agg', 'scipy.io'}\n"
        "loaded &= set(sys.modules)\n"
        "assert not loaded, loaded"
    )
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-800:]

"""Reading .mat and .pickle files of piano rolls: real ones, wrong ones and hostile ones."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from srnn_tf import data
from srnn_tf.data.corpora.pianorolls import read_pianoroll
from srnn_tf.data.corpora.splits import EDITIONS
from srnn_tf.data.formats.pianoroll import _mat_variables

REAL = os.environ.get("SRNN_TF_TEST_DATA")
NOTES = {
    "train": [[(60, 64), (), (21,)], [(108,)]],
    "valid": [[(50,), (50, 51)]],
    "test": [[(40,)]],
}


def expected(part):
    rolls = []
    for sequence in NOTES[part]:
        roll = np.zeros((len(sequence), 88), np.uint8)
        for t, frame in enumerate(sequence):
            roll[t, [note - 21 for note in frame]] = 1
        rolls.append(roll)
    return rolls


def cells(rolls):
    array = np.empty((1, len(rolls)), object)
    array[0, :] = rolls
    return array


def variables(**changes):
    return {f"{part}data": cells(expected(part)) for part in NOTES} | changes


def write_mat(path, content):
    savemat(path, content, do_compression=True)
    return path


def write_pickle(path, content, protocol=2):
    path.write_bytes(pickle.dumps(content, protocol))
    return path


def assert_expected(splits):
    for part in NOTES:
        rolls = getattr(splits, part)
        assert len(rolls) == len(NOTES[part])
        for roll, wanted in zip(rolls, expected(part), strict=True):
            assert roll.dtype == np.uint8
            np.testing.assert_array_equal(roll, wanted)


@pytest.mark.parametrize("dtype", [np.uint8, np.float64, np.bool_])
def test_mat_gives_the_rolls(tmp_path, dtype):
    content = {f"{p}data": cells([r.astype(dtype) for r in expected(p)]) for p in NOTES}
    path = write_mat(tmp_path / "x.mat", content | {"junk": np.arange(3)})
    assert_expected(read_pianoroll(path, "jsb", edition="any"))


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("dtype", "i1 u1 i2 u2 i4 u4 f4 f8 i8 u8".split())
def test_mat_reader_agrees_with_scipy(tmp_path, dtype, compressed):
    random, path = np.random.default_rng(0), tmp_path / "x.mat"
    arrays = [random.integers(0, 100, size).astype(dtype) for size in [(3, 4), (1, 1), (0, 7)]]
    arrays += [random.integers(0, 2, (5, 2)).astype(bool)]
    content = {"x": cells(arrays), "unwanted": "text", "y": arrays[0], "a_longer_name": arrays[0]}
    savemat(path, content, do_compression=compressed)
    ours = _mat_variables(path.read_bytes(), ["x", "y", "a_longer_name"])
    theirs = loadmat(path)
    for name in ("y", "a_longer_name"):
        np.testing.assert_array_equal(ours[name], theirs[name])
    assert len(ours["x"]) == len(arrays)
    for one, other in zip(ours["x"], theirs["x"][0], strict=True):
        np.testing.assert_array_equal(one, other)
    assert ours["unwanted"] == "not wanted"


@pytest.mark.parametrize("protocol", range(5))
def test_pickle_gives_the_rolls(tmp_path, protocol):
    path = write_pickle(tmp_path / "x.pickle", NOTES, protocol)
    assert_expected(read_pianoroll(path, "jsb", edition="any"))


@pytest.mark.parametrize("protocol", [3, 4])  # at 0..2 NumPy itself asks for _codecs.encode
@pytest.mark.parametrize("dtype", ["int64", "uint8", ">i4"])
def test_pickle_of_numpy_notes_gives_the_rolls(tmp_path, protocol, dtype):
    content = {p: [[np.array(f, dtype) for f in sequence] for sequence in NOTES[p]] for p in NOTES}
    content["test"] = [[(np.dtype(dtype).type(40),)]]
    path = write_pickle(tmp_path / "x.pkl", content, protocol)
    assert_expected(read_pianoroll(path, "jsb", edition="any"))


def test_pickle_with_the_old_numpy_names_is_read(tmp_path):
    new = pickle.dumps({**NOTES, "test": [[np.array([40])]]}, protocol=3)
    old = new.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    path = tmp_path / "x.pickle"
    path.write_bytes(old)
    assert_expected(read_pianoroll(path, "jsb", edition="any"))


@pytest.mark.parametrize(
    "notes", [np.array([40.0]), np.array([[40]]), np.array([[(40,)]], object), np.float32(40)]
)
def test_other_arrays_are_refused(tmp_path, notes):
    path = write_pickle(tmp_path / "x.pickle", {**NOTES, "test": [[notes]]}, 4)
    with pytest.raises(ValueError, match="it holds an array of"):
        read_pianoroll(path, "jsb", edition="any")


@pytest.mark.parametrize("suffix", [".pickle", ".mat", ".compressed.mat"])
def test_changed_bytes_give_rolls_or_our_error(tmp_path, suffix):
    # NumPy's own unpickling and scipy.io.loadmat can both crash the process on such files.
    whole, path = tmp_path / "whole", tmp_path / f"x{suffix}"
    if suffix == ".pickle":
        write_pickle(whole, {**NOTES, "test": [[np.array([40]), (np.int64(50),)]]}, 4)
    else:
        savemat(whole, variables(), appendmat=False, do_compression="compressed" in suffix)
    random, refused, whole = np.random.default_rng(0), 0, whole.read_bytes()
    for _ in range(1000):
        changed = bytearray(whole)
        for place in random.integers(len(whole), size=2):
            changed[place] = random.integers(256)
        path.write_bytes(changed)
        try:
            assert read_pianoroll(path, "jsb", edition="any").event_size == 88
        except ValueError as error:
            assert str(path) in str(error)
            refused += 1
    assert 200 < refused < 1000


def test_pickle_with_a_vast_index_is_refused(tmp_path):
    path = tmp_path / "x.pickle"
    path.write_bytes(b"\x80\x02]r\xff\xff\xff\x7f.")
    with pytest.raises(ValueError, match="numbers an object 2147483647 in a file of 9 bytes"):
        read_pianoroll(path, "jsb", edition="any")


class Attack:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_hostile_pickle_runs_nothing(tmp_path, protocol):
    witness = tmp_path / "ran"
    attack = Attack(os.system, f"touch {witness}")
    pickle.loads(pickle.dumps(attack, protocol))
    assert witness.exists(), "the attack must work on an unrestricted unpickler"
    witness.unlink()
    path = write_pickle(tmp_path / "x.pickle", {**NOTES, "extra": attack}, protocol)
    with pytest.raises(ValueError, match=rf"{path}.*global \w+\.system") as caught:
        read_pianoroll(path, "jsb", edition="any")
    assert not witness.exists()
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize("function", [eval, getattr, np.load, np.fromfile, Path])
def test_other_globals_are_refused(tmp_path, function):
    path = write_pickle(tmp_path / "x.pickle", {**NOTES, "extra": Attack(function, "0")}, 4)
    with pytest.raises(ValueError, match=rf"global [\w.]*\.{function.__name__}, which"):
        read_pianoroll(path, "jsb", edition="any")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "holds a list, not a dictionary"),
        ({"train": NOTES["train"]}, "has no entry 'valid'"),
        (NOTES | {"valid": "abc"}, "valid is a str, not a list"),
        (NOTES | {"valid": []}, "valid has no sequence"),
        (NOTES | {"test": [[(40,)], []]}, r"test sequence 1 is \[\], not a list of at least one"),
        (NOTES | {"test": [[(40,), 41]]}, "test sequence 0, frame 1 is 41, not a tuple"),
        (NOTES | {"test": [[(20,)]]}, "holds the note 20"),
        (NOTES | {"test": [[(109,)]]}, "holds the note 109"),
        (NOTES | {"test": [[(60.5,)]]}, "holds the note 60.5"),
        (NOTES | {"test": [[(True,)]]}, "holds the note True"),
        (NOTES | {"test": [[("C4",)]]}, "holds the note 'C4'"),
    ],
)
def test_foreign_pickle_is_refused(tmp_path, content, message):
    path = write_pickle(tmp_path / "x.pickle", content)
    with pytest.raises(ValueError, match=message) as caught:
        read_pianoroll(path, "jsb", edition="any")
    assert str(path) in str(caught.value) and "accepted are" in str(caught.value)


def one_test_roll(roll):
    return variables(testdata=cells([roll]))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"traindata": cells(expected("train"))}, "the cell array validdata is missing"),
        (variables(testdata=np.zeros((5, 88))), "the cell array testdata is an array of float64"),
        (variables(testdata={"a": 1}), "testdata is of MATLAB's class 2"),
        (variables(testdata=np.empty((1, 0), object)), "testdata has no sequence"),
        (one_test_roll(np.zeros((5, 87), np.uint8)), r"testdata 0 has shape \(5, 87\)"),
        (one_test_roll(np.zeros((0, 88), np.uint8)), "testdata 0 is empty"),
        (one_test_roll(np.full((5, 88), 2, np.uint8)), "testdata 0 holds the value 2"),
        (one_test_roll(np.full((5, 88), np.nan)), "testdata 0 holds the value nan"),
        (one_test_roll("words"), "testdata 0 is of MATLAB's class 4"),
        (one_test_roll(np.ones((2, 88)) * 1j), "testdata 0 is of MATLAB's class 6"),
        (one_test_roll(cells(expected("test"))), "testdata 0 is of MATLAB's class 1"),
    ],
)
def test_foreign_mat_is_refused(tmp_path, content, message):
    path = write_mat(tmp_path / "x.mat", content)
    with pytest.raises(ValueError, match=message) as caught:
        read_pianoroll(path, "jsb", edition="any")
    assert str(path) in str(caught.value) and "accepted are" in str(caught.value)


@pytest.mark.parametrize("suffix", [".mat", ".pickle"])
def test_damaged_files_are_refused_at_every_length(tmp_path, suffix):
    whole = tmp_path / f"whole{suffix}"
    if suffix == ".mat":
        write_mat(whole, variables())
    else:
        write_pickle(whole, NOTES)
    content, path = whole.read_bytes(), tmp_path / f"cut{suffix}"
    for length in range(0, len(content) - 1, 7):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match="accepted are"):
            read_pianoroll(path, "jsb", edition="any")
    path.write_bytes(b"<!DOCTYPE html>" * 20)
    with pytest.raises(ValueError, match="is not readable as"):
        read_pianoroll(path, "jsb", edition="any")


def test_paths_that_are_no_such_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="none.mat does not exist"):
        read_pianoroll(tmp_path / "none.mat", "jsb")
    with pytest.raises(ValueError, match="is a folder"):
        read_pianoroll(tmp_path, "jsb")
    (tmp_path / "x.npz").touch()
    with pytest.raises(ValueError, match="ends in '.npz'"):
        read_pianoroll(tmp_path / "x.npz", "jsb")


def test_another_edition_is_refused_unless_any(tmp_path, monkeypatch):
    path = write_mat(tmp_path / "x.mat", variables())
    with pytest.raises(ValueError, match=r"\(4, 2, 1\) frames.*\(176561, 45513, 44463\).*\"any\""):
        read_pianoroll(path, "nottingham")
    with pytest.raises(ValueError, match="edition='boulanger' of nottingham is not known"):
        read_pianoroll(path, "nottingham", edition="boulanger")
    assert read_pianoroll(path, "nottingham", edition="any").edition == "any"
    monkeypatch.setitem(EDITIONS, "jsb", {"one": (1, 2, 3), "tiny": (4, 2, 1)})
    assert read_pianoroll(path, "jsb").edition == "tiny"
    assert read_pianoroll(path, "jsb", edition="tiny").edition == "tiny"
    assert read_pianoroll(path, "jsb", edition="any").edition == "tiny"
    with pytest.raises(ValueError, match="not the requested edition"):
        read_pianoroll(path, "jsb", edition="one")


def test_load_prints_statistics_and_keeps_the_file(tmp_path, capsys):
    path = write_mat(tmp_path / "x.mat", variables())
    before = path.read_bytes()
    splits = data.load("jsb", path, edition="any")
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == (
        "train 2 sequences 4 frames mean length 2.00 MIDI notes 21..108 1.000 notes a frame".split()
    )
    assert len(lines) == 4 and str(path) in lines[0]
    assert splits.event_size == 88 and splits.source == str(path)
    assert path.read_bytes() == before


@pytest.mark.skipif(not REAL, reason="SRNN_TF_TEST_DATA names no folder with midi/*.mat")
@pytest.mark.parametrize(
    ("name", "file", "sequences"),
    [
        ("nottingham", "Nottingham.mat", (694, 173, 170)),
        ("muse", "MuseData.mat", (524, 135, 124)),
        ("jsb", "JSB_Chorales.mat", (229, 76, 77)),
        ("piano_midi", "Piano_midi.mat", (87, 12, 25)),
    ],
)
def test_real_files(name, file, sequences):
    path = Path(REAL) / "midi" / file
    splits = data.load(name, path)
    assert splits.edition == "boulanger-lewandowski"
    assert (len(splits.train), len(splits.valid), len(splits.test)) == sequences
    for part in NOTES:
        theirs = loadmat(path)[part + "data"][0]
        assert all(map(np.array_equal, getattr(splits, part), theirs))

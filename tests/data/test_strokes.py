"""Handwriting from files: moves by hand, real files, and what is refused."""

import os
from pathlib import Path

import numpy as np
import pytest

from srnn_tf.data.corpora import unipen
from srnn_tf.data.formats import strokes
from tests import corpora as mini

REAL = os.environ.get("SRNN_TF_TEST_DATA")
genuine = pytest.mark.skipif(not REAL, reason="SRNN_TF_TEST_DATA names no folder with handwriting")
PENS = Path(REAL or ".") / "handwriting"


def test_moves_by_hand():
    found = strokes.moves([np.array([[0, 0], [1, 2]]), np.array([[5, 5]]), np.array([[4, 4]])], "x")
    assert found.dtype == np.int16
    assert found.tolist() == [[1, 1, 2], [1, 4, 3], [1, -1, -1]]
    with pytest.raises(ValueError, match="x: 1 points; accepted are 2 to"):
        strokes.moves([np.array([[0, 0]])], "x")
    with pytest.raises(ValueError, match="x: a move of 40000 units"):
        strokes.moves([np.array([[0, 0], [0, 40_000]])], "x")


def test_a_line_of_iam_ondb(tmp_path):
    mini.text(tmp_path / "a.xml", mini.iam_xml([[(1, 10), (3, 7)], [(2, 2)]]))
    first, second = strokes.read_iam(tmp_path / "a.xml")
    assert first.tolist() == [[1, -10], [3, -7]] and second.tolist() == [[2, -2]]


BOMB = '<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><l>&b;</l>'
OUTSIDE = '<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a SYSTEM "file:///etc/passwd">]><l>&a;</l>'
GOOD = mini.iam_xml([[(1, 10), (3, 7)]])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (BOMB, "is not sound XML"),
        (OUTSIDE, "is not sound XML"),
        ("<!DOCTYPE l><l/>", "is not sound XML"),
        ("", "is not sound XML"),
        (GOOD[: len(GOOD) // 2], "is not sound XML"),
        ("<a/>", "holds no Stroke with a Point"),
        (GOOD.replace('x="1"', ""), "a Point has x='', y='10'"),
        (GOOD.replace('x="1"', 'x="1e3"'), "a Point has x='1e3', y='10'"),
        (GOOD.replace('x="1"', 'x="9999999999"'), "a Point has x='9999999999'"),
        (GOOD.replace('encoding="ISO-8859-1"', 'encoding="nonsense"'), "is not sound XML"),
    ],
)
def test_xml_that_is_no_line(content, message, tmp_path):
    mini.text(tmp_path / "a.xml", content)
    with pytest.raises(ValueError, match=f"a.xml: {message}"):
        strokes.read_iam(tmp_path / "a.xml")


DATA = ".VERSION 1.0\n.PEN_DOWN\n1 2\n3 4\n.PEN_UP\n.PEN_DOWN\n5 6\n.PEN_UP\n"


def test_unipen(tmp_path):
    mini.text(tmp_path / "include" / "w" / "a.dat", DATA)
    mini.text(tmp_path / "a.dat", ".INCLUDE w/x.lex\n.INCLUDE w/a.dat\n.SEGMENT TEXT 0-1 OK\n")
    found = strokes.read_unipen(tmp_path / "a.dat", tmp_path / "include")
    assert [s.tolist() for s in found] == [[[1, 2], [3, 4]], [[5, 6]]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (".INCLUDE ../../etc/passwd\n", "includes ../../etc/passwd, which leaves the folder"),
        (".INCLUDE /etc/passwd\n", "includes /etc/passwd, which leaves the folder"),
        (".INCLUDE w/b.dat\n", "includes w/b.dat, which is not in"),
        ("no strokes", "holds no points after .PEN_DOWN"),
        (DATA.replace("3 4", "3 4 5"), "a stroke is cut off, empty, or not in two columns"),
        (DATA.replace("3 4", "3 x"), "after .PEN_DOWN: invalid literal"),
        (DATA[: DATA.index("5 6") + 3], "a stroke is cut off"),
        (DATA.replace("3 4", f"3 {10**30}"), "a coordinate is out of range"),
    ],
)
def test_unipen_that_is_none(content, message, tmp_path):
    mini.text(tmp_path / "a.dat", content)
    (tmp_path / "include").mkdir()
    with pytest.raises(ValueError, match=f"a.dat: {message}"):
        strokes.read_unipen(tmp_path / "a.dat", tmp_path / "include")
    if "INCLUDE" in content:
        with pytest.raises(ValueError, match="the folder `include` is not given"):
            strokes.read_unipen(tmp_path / "a.dat")


def save(path, array):
    np.save(path, array)
    return path


def test_arrays_of_moves(tmp_path):
    rows = np.array([[3, -4, 0], [5, 6, 1], [2, 2, 0]])
    found, scale = strokes.read_rows(save(tmp_path / "a.npy", rows))
    assert found.tolist() == [[0, 3, -4], [1, 5, 6], [0, 2, 2]] and scale == 1
    found, _ = strokes.read_rows(tmp_path / "a.npy", "dy,dx,pen")
    assert found.tolist() == [[0, -4, 3], [1, 6, 5], [0, 2, 2]]
    moves = np.random.default_rng(0).standard_normal([50, 3])
    moves[:, 1] = moves[:, 1] > 1
    found, scale = strokes.read_rows(save(tmp_path / "b.npy", moves))
    np.testing.assert_allclose(found[:, 1:] * scale, moves[:, [0, 2]], atol=0.51 * scale)
    assert np.abs(found[:, 1:]).max() == 32767
    np.testing.assert_array_equal(found[:, 0], moves[:, 1])


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros([4, 3]), "3 columns can be the pen"),
        (np.full([4, 3], 0.5), "0 columns can be the pen"),
        (np.zeros([4, 2]), r"has shape \(4, 2\)"),
        (np.zeros([0, 3]), r"has shape \(0, 3\)"),
        (np.full([4, 3], np.nan), "holds numbers that are not finite"),
        (np.full([4, 3], "x"), "is not one array of numbers"),
        (np.full([4, 3], None), "is not readable as an .npy file"),
    ],
)
def test_arrays_that_are_none(array, message, tmp_path):
    with pytest.raises(ValueError, match=f"a.npy: {message}"):
        strokes.read_rows(save(tmp_path / "a.npy", array))


def test_arrays_cut_off_and_boasting(tmp_path):
    path = save(tmp_path / "a.npy", np.eye(3, dtype=np.int16).repeat(100, axis=0))
    whole = path.read_bytes()
    path.write_bytes(whole[:-50])
    with pytest.raises(ValueError, match="a.npy: is not readable"):
        strokes.read_rows(path)
    path.write_bytes(whole.replace(b"(300, 3)", b"(3" + b"0" * 3 + b"00, 3)"))
    with pytest.raises(ValueError, match="a.npy: is not readable|a.npy: has shape"):
        strokes.read_rows(path)
    with pytest.raises(ValueError, match="columns='a,b,c'; accepted are pen, dx and dy"):
        strokes.read_rows(save(path, np.eye(3)), "a,b,c")


@pytest.mark.parametrize(
    "change",
    [
        {"lengths": np.array([9, 1200, 30, 14], np.int32)},
        {"lengths": np.array([9, 1200, 30, 14, 9], np.int32)},
        {"lengths": np.array([10, 1200, 30, 14, -1 + 8], np.int32) * 1.0},
        {"split": np.zeros([5, 1], np.uint8)},
        {"strokes": np.zeros([3, 3])},
        {"source": np.array(["a"] * 5)},
        {"source": np.arange(5)},
        {"source": np.array([None] * 5)},
    ],
    ids=str,
)
def test_sentences_that_do_not_fit_together(change, tmp_path):
    mini.unipen(tmp_path)
    path = tmp_path / unipen.FILE
    assert len(list(unipen.read_npz(path, "train"))) == 3
    with np.load(path) as content:
        changed = {**content, **change}
    np.savez(path, **changed)
    with pytest.raises(ValueError, match=unipen.FILE):
        list(unipen.read_npz(path, "train"))


@genuine
def test_a_genuine_line():
    found = strokes.read_iam(PENS / "iamondb/lineStrokes/a01/a01-000/a01-000u-01.xml")
    assert len(found) == 31 and sum(map(len, found)) == 568
    assert strokes.moves(found, "a").shape == (567, 3)
    assert strokes.moves(found, "a")[:, 0].sum() == 31


@genuine
def test_genuine_sentences_are_rows_of_the_file():
    folder = PENS / "unipen"
    rows = {r.key: r.values for p in ("train", "valid", "test")
            for r in unipen.read_npz(folder / unipen.FILE, p)}  # fmt: skip
    assert len(rows) == 1017
    raw = sorted((folder / "raw_sample" / "data").rglob("*.dat"))
    assert len(raw) == 5
    for path in raw:
        found = strokes.moves(strokes.read_unipen(path, folder / "raw_sample" / "include"), path)
        name = path.relative_to(folder / "raw_sample" / "data" / "8")
        key = f"{name.parts[0]}/data/{'/'.join(name.parts[1:])}"
        np.testing.assert_array_equal(found, rows[key])


@genuine
def test_genuine_arrays_of_moves():
    paths = sorted((PENS / "iamondb" / "styles").glob("style-*-strokes.npy"))
    assert len(paths) == 13
    for path in paths:
        found, scale = strokes.read_rows(path)
        raw = np.load(path)
        np.testing.assert_array_equal(found[:, 0], raw[:, 2])
        np.testing.assert_allclose(found[:, 1:] * scale, raw[:, :2], atol=0.51 * scale)

"""Damaged files of every kind: our own errors, naming the file, and nothing else."""

import pickle

import numpy as np
import pytest
import scipy.io
from hypothesis import given, settings
from hypothesis import strategies as st

from srnn_tf.data import write_midi
from srnn_tf.data.corpora import unipen
from srnn_tf.data.corpora.pianorolls import read_pianoroll
from srnn_tf.data.formats import audio, strokes
from srnn_tf.data.formats.midi import read_midi
from tests import corpora as mini


def make_mat(path):
    cells = {f"{p}data": np.empty([1, 1], object) for p in ("train", "valid", "test")}
    for cell in cells.values():
        cell[0, 0] = mini.roll(4)
    scipy.io.savemat(path, cells, do_compression=True)


def make_pickle(path):
    notes = [(60, 64), (), (np.int64(62),)]
    path.write_bytes(pickle.dumps({p: [notes] for p in ("train", "valid", "test")}, protocol=3))


def make_unipen(path):
    mini.text(path, [".VERSION 1.0\n", ".PEN_DOWN\n1 2\n3 4\n.PEN_UP\n" * 3])


def make_npz(path):
    mini.unipen(path.parent)


def as_roll(path):
    return read_pianoroll(path, "jsb", "any")


# name of the file: how one is made and read.
KINDS = {
    "a.mat": (make_mat, as_roll),
    "a.pickle": (make_pickle, as_roll),
    "a.xml": (lambda p: mini.text(p, mini.iam_xml(mini.pen(0))), strokes.read_iam),
    "a.dat": (make_unipen, lambda p: strokes.moves(strokes.read_unipen(p), p)),
    "a.npy": (lambda p: np.save(p, np.arange(30.0).reshape(10, 3) * (1, 1, 0)), strokes.read_rows),
    unipen.FILE: (make_npz, lambda p: list(unipen.read_npz(p, "train"))),
    "a.wav": (lambda p: mini.audio(p, mini.noise(0.05, 8000), 8000), audio.read_audio),
    "a.sph": (
        lambda p: mini.audio(p, mini.noise(0.05), format="NIST", subtype="PCM_16"),
        audio.read_audio,
    ),
    "a.flac": (lambda p: mini.audio(p, mini.noise(0.05)), audio.read_audio),
    "a.mp3": (lambda p: mini.audio(p, mini.noise(0.2)), audio.read_audio),
    "a.ogg": (lambda p: mini.audio(p, mini.noise(0.2)), audio.read_audio),
    "a.mid": (lambda p: write_midi(mini.roll(6), p), read_midi),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The bytes of a good file of each kind."""
    found = {}
    for name, (make, read) in KINDS.items():
        path = tmp_path_factory.mktemp("whole") / name
        make(path)
        read(path)
        found[name] = path.read_bytes()
    return found


PLACES = st.floats(0, 1, exclude_max=True)
DAMAGE = st.one_of(
    st.tuples(st.just("change"), PLACES, st.binary(min_size=1, max_size=4)),
    st.tuples(st.just("insert"), PLACES, st.binary(min_size=1, max_size=40)),
    st.tuples(st.just("cut"), PLACES, st.just(b"")),
    st.tuples(st.just("drop"), PLACES, st.binary(min_size=1, max_size=9)),
)


def damaged(content, damage):
    for kind, place, extra in damage:
        at = int(place * len(content))
        rest = {"change": at + len(extra), "insert": at, "cut": len(content)}
        content = (
            content[:at]
            + (b"" if kind == "drop" else extra)
            + content[rest.get(kind, at + len(extra)) :]
        )
    return content


@pytest.mark.parametrize("name", KINDS)
@settings(max_examples=150, derandomize=True, deadline=None)
@given(damage=st.lists(DAMAGE, min_size=1, max_size=3))
def test_damage_is_an_error_or_harmless(whole, name, damage, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(damaged(whole[name], damage))
    try:
        KINDS[name][1](path)
    except ValueError as error:
        assert name in str(error)
    finally:
        path.unlink()

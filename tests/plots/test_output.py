"""Samples as files to hear and to see, and MIDI files as piano rolls."""

import re

import mido
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from srnn_tf.data import Standardization, draw_strokes, write_midi, write_wav
from srnn_tf.data.formats.midi import read_midi
from tests import corpora as mini

LITTLE = dict(max_examples=25, derandomize=True, deadline=None)


@settings(**LITTLE)
@given(st.integers(1, 40), st.integers(0, 10**6), st.sampled_from([1, 2, 3, 4, 7]))
def test_a_midi_file_is_its_roll(tmp_path_factory, steps, seed, steps_per_quarter):
    roll, path = mini.roll(steps, seed), tmp_path_factory.getbasetemp() / "a.mid"
    write_midi(roll, path, steps_per_quarter=steps_per_quarter)
    np.testing.assert_array_equal(read_midi(path, steps_per_quarter), roll)


def midi(path, *messages, **how):
    """A file of messages (type, note, ticks, channel)."""
    track = mido.MidiTrack()
    for kind, note, time, channel in messages:
        velocity = 64 if kind == "note_on" else 0
        track.append(mido.Message(kind, note=note, time=time, velocity=velocity, channel=channel))
    mido.MidiFile(tracks=[track], ticks_per_beat=480, **how).save(path)
    return path


def test_what_counts_in_a_midi_file(tmp_path):
    path = midi(
        tmp_path / "a.mid",
        ("note_on", 36, 0, 9),  # a drum
        ("note_on", 60, 480, 0),
        ("note_on", 60, 240, 1),  # the same key by another hand
        ("note_on", 5, 0, 0),  # below a piano
        ("note_off", 60, 240, 0),
        ("note_off", 5, 0, 0),
        ("note_off", 60, 240, 1),
        ("note_on", 62, 0, 0),
        ("note_off", 62, 10, 0),  # shorter than a step
        ("note_off", 36, 500, 9),
    )
    roll = read_midi(path)
    assert roll.shape == (4, 88) and roll.dtype == np.uint8
    assert np.flatnonzero(roll[:, 60 - 21]).tolist() == [0, 1, 2]
    assert np.flatnonzero(roll[:, 62 - 21]).tolist() == [3] and roll.sum() == 4


def test_midi_files_that_are_none(tmp_path):
    path = tmp_path / "a.mid"
    for content in (b"", b"text", b"MThd\x00\x00\x00\x06"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="a.mid: is not readable as MIDI"):
            read_midi(path)
    write_midi(mini.roll(30), path)
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(ValueError, match="a.mid: "):
        read_midi(path)
    with pytest.raises(ValueError, match="a.mid: holds no note of a piano"):
        read_midi(midi(path, ("note_on", 36, 0, 9), ("note_off", 36, 9, 9)))
    giant = midi(path, ("note_on", 60, 0, 0), ("note_off", 60, 2**28 - 1, 0))
    with pytest.raises(ValueError, match="a.mid: .* steps long; accepted are 1000000"):
        read_midi(giant)
    with pytest.raises(ValueError, match="steps_per_quarter=0"):
        read_midi(path, 0)


def test_sound_is_what_it_was(tmp_path):
    order = tuple(np.random.default_rng(0).permutation(20).tolist())
    both = Standardization((0.01,), (0.05,), order)
    samples = mini.noise(0.1).astype(float)
    frames = both.apply((samples / 32768).reshape(-1, 20))
    write_wav(frames.astype(np.float32), tmp_path / "a.wav", both, sample_rate=8000)
    found, rate = soundfile.read(tmp_path / "a.wav", dtype="int16")
    assert rate == 8000
    np.testing.assert_allclose(found, samples, atol=1)
    write_wav(np.array([2.0, -2.0, 0.5]), tmp_path / "b.wav")
    assert soundfile.read(tmp_path / "b.wav", dtype="int16")[0].tolist() == [32767, -32768, 16384]


@pytest.mark.parametrize(
    ("frames", "rate", "message"),
    [
        (np.full([3, 2], np.nan), 16000, "numbers that are not finite"),
        (np.zeros([0, 2]), 16000, r"shape \(0, 2\)"),
        (np.zeros([1, 3, 2]), 16000, r"shape \(1, 3, 2\); accepted is \(T, D\) or \(n,\)"),
        (np.zeros([3, 2]), 0, "sample_rate=0"),
        (np.zeros([3, 2]), 1.5, "sample_rate=1.5"),
    ],
)
def test_sound_that_is_none(frames, rate, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        write_wav(frames, tmp_path / "a.wav", sample_rate=rate)
    with pytest.raises(FileNotFoundError):
        write_wav(np.zeros([3]), tmp_path / "nowhere" / "a.wav")
    assert not list(tmp_path.iterdir())


ROWS = np.array([[0, 10, 0], [1, 0, 10], [0, 30, 0], [0, 5, 5], [1, 5, -5]], float)


def test_a_drawing_has_a_line_for_each_stroke(tmp_path):
    both = Standardization((0.0, 2.0, -1.0), (1.0, 5.0, 5.0))
    draw_strokes(both.apply(ROWS), tmp_path / "a.svg", both)
    text = (tmp_path / "a.svg").read_text()
    assert len(re.findall(r'id="line2d_\d+"', text)) == 2
    for ending in ("png", "pdf"):
        draw_strokes(ROWS, tmp_path / f"a.{ending}")
        assert (tmp_path / f"a.{ending}").stat().st_size > 500


@pytest.mark.parametrize(
    ("rows", "file", "message"),
    [
        (np.zeros([4, 2]), "a.png", r"shape \(4, 2\); accepted is \(T, 3\)"),
        (np.zeros([4]), "a.png", r"shape \(4,\)"),
        (np.full([4, 3], np.inf), "a.png", "not finite"),
        (ROWS, "a.xyz", "accepted endings are"),
    ],
)
def test_drawings_that_are_none(rows, file, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        draw_strokes(rows, tmp_path / file)
    assert not list(tmp_path.iterdir())

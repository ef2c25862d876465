"""MIDI files that come back as the same roll, and pictures that are drawn."""

import sys

import numpy as np
import pytest

from srnn_tf.core.files import replacing
from srnn_tf.data import plot_pianoroll, write_midi
from srnn_tf.data.formats.midi import held_notes
from srnn_tf.plots.pianorolls import _pitch_range

mido = pytest.importorskip("mido")


def random_roll(length=60, seed=0):
    """Notes that are held for a while, some to the very end, and silence at the start."""
    random = np.random.default_rng(seed)
    roll = np.repeat(random.random((length // 3, 88)) < 0.1, 3, axis=0)
    roll[:2] = 0
    return roll.astype(np.uint8)


def read_midi(path, steps_per_quarter):
    """Read a MIDI file back into a roll by its note events."""
    file = mido.MidiFile(path)
    events, tick = [], 0
    for message in file.tracks[0]:
        tick += message.time
        events.append((round(tick * steps_per_quarter / file.ticks_per_beat), message))
    roll = np.zeros((events[-1][0], 88), np.uint8)
    started = {}
    for frame, message in events:
        if message.type == "note_on":
            assert message.note not in started
            started[message.note] = frame
        elif message.type == "note_off":
            roll[started.pop(message.note) : frame, message.note - 21] = 1
    assert not started
    return roll, [message for _, message in events]


@pytest.mark.parametrize("steps_per_quarter", [1, 2, 4, 7])
def test_midi_round_trip(tmp_path, steps_per_quarter):
    roll = random_roll()
    roll[-4:] = 0  # the silence at the end must survive too
    write_midi(roll, tmp_path / "x.mid", steps_per_quarter, bpm=120, program=19)
    again, messages = read_midi(tmp_path / "x.mid", steps_per_quarter)
    np.testing.assert_array_equal(again, roll)
    assert [m.tempo for m in messages if m.type == "set_tempo"] == [500000]
    assert [m.program for m in messages if m.type == "program_change"] == [19]
    assert sum(m.type == "note_on" for m in messages) == len(held_notes(roll))
    seconds = len(roll) / steps_per_quarter * 60 / 120
    assert abs(mido.MidiFile(tmp_path / "x.mid").length - seconds) < 0.01


def test_consecutive_ones_are_one_held_note(tmp_path):
    roll = np.zeros((6, 88), bool)
    roll[1:4, 39] = roll[5, 39] = roll[0, 0] = True
    assert held_notes(roll) == [(21, 0, 1), (60, 1, 4), (60, 5, 6)]
    assert held_notes(np.zeros((3, 88))) == []
    write_midi(np.zeros((3, 88)), tmp_path / "silence.mid")
    assert read_midi(tmp_path / "silence.mid", 2)[0].shape == (3, 88)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"roll": np.zeros((4, 87))}, r"shape \(4, 87\)"),
        ({"roll": np.zeros((2, 4, 88))}, r"shape \(2, 4, 88\)"),
        ({"roll": np.zeros((0, 88))}, "roll is empty"),
        ({"roll": np.full((4, 88), 0.5)}, "holds the value 0.5"),
        ({"steps_per_quarter": 0}, "steps_per_quarter=0"),
        ({"steps_per_quarter": 1.5}, "steps_per_quarter=1.5"),
        ({"bpm": 0}, "bpm=0"),
        ({"program": 128}, "program=128"),
    ],
)
def test_midi_refuses(tmp_path, change, message):
    path = tmp_path / "x.mid"
    path.write_bytes(b"old")
    with pytest.raises(ValueError, match=message):
        write_midi(**({"roll": random_roll(), "path": path} | change))
    assert path.read_bytes() == b"old"


def test_replacing_is_all_or_nothing(tmp_path):
    path = tmp_path / "x"
    path.write_text("old")
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old" and temporary.name == path.name
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]
    with pytest.raises(FileNotFoundError, match="none does not exist"):
        write_midi(random_roll(), tmp_path / "none" / "x.mid")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        write_midi(random_roll(), tmp_path)


def test_missing_packages_name_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mido", None)
    with pytest.raises(ImportError, match=r"srnn-tf\[music\]"):
        write_midi(random_roll(), tmp_path / "x.mid")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"srnn-tf\[plot\]"):
        plot_pianoroll(random_roll(), tmp_path / "x.png")


def test_plot_draws_the_notes(tmp_path):
    image = pytest.importorskip("matplotlib.image")
    silence, roll = np.zeros((60, 88)), np.zeros((60, 88))
    roll[10:20, 30:60] = 1
    plot_pianoroll({"data": roll, "sample": roll}, tmp_path / "two.png")
    plot_pianoroll(roll, tmp_path / "one.png")
    plot_pianoroll(silence, tmp_path / "none.png")
    two, one, none = (image.imread(tmp_path / f"{n}.png") for n in ("two", "one", "none"))
    assert two.shape[1] == one.shape[1] and two.shape[0] > 1.7 * one.shape[0]

    def blue(picture):  # the color of the notes
        return (np.abs(picture[..., :3] - np.array([43, 92, 158]) / 255) < 0.02).all(-1).mean()

    assert blue(one) > 0.05 and blue(none) == 0


def test_plot_range_and_formats(tmp_path):
    pytest.importorskip("matplotlib")
    roll = np.zeros((8, 88), np.uint8)
    assert _pitch_range([roll]) == (60, 72)
    roll[0, 64 - 21] = roll[0, 67 - 21] = 1
    assert _pitch_range([roll]) == (60, 67)  # down to the nearest C, for a labeled line
    assert _pitch_range([roll, random_roll()])[0] < 60
    plot_pianoroll(roll, tmp_path / "x.svg")
    assert b"<svg" in (tmp_path / "x.svg").read_bytes()
    with pytest.raises(ValueError, match="accepted endings are.*png"):
        plot_pianoroll(roll, tmp_path / "x.mid")
    with pytest.raises(ValueError, match="at least one"):
        plot_pianoroll({}, tmp_path / "x.png")
    with pytest.raises(ValueError, match=r"rolls\['b'\] has shape"):
        plot_pianoroll({"a": roll, "b": roll[0]}, tmp_path / "x.png")
    assert [p.name for p in tmp_path.iterdir()] == ["x.svg"]
    assert (
        "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()
    )

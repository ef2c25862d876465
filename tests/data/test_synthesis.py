"""The sound of piano rolls, by plain tones and by a soundfont."""

import sys
from types import ModuleType

import numpy as np
import pytest
import soundfile

from srnn_tf import data
from srnn_tf.data.formats import synthesis

RATE = 22050
A4 = 69 - 21


def roll(*spans, steps=8):
    """A roll of (column, first frame, frame after the last)."""
    frames = np.zeros([steps, 88], np.uint8)
    for column, start, stop in spans:
        frames[start:stop, column] = 1
    return frames


def test_a_note_sounds_at_its_pitch_and_in_its_time():
    # 120 quarter notes a minute, 2 steps a quarter: a step lasts a quarter of a second.
    sound = data.synthesize(roll((A4, 2, 6)), bpm=120, sample_rate=RATE)
    assert sound.dtype == np.float32 and sound.shape == (2 * RATE + round(0.08 * RATE),)
    start, stop = RATE // 2, round(1.5 * RATE)
    assert not sound[:start].any() and not sound[stop + round(0.08 * RATE) :].any()
    assert np.abs(sound).max() == pytest.approx(0.8, rel=1e-6)
    held = sound[start + 1000 : start + 1000 + RATE // 2]
    spectrum = np.abs(np.fft.rfft(held * np.hanning(len(held))))
    assert np.fft.rfftfreq(len(held), 1 / RATE)[spectrum.argmax()] == pytest.approx(440, abs=3)


def test_nothing_clicks_where_notes_begin_and_end():
    sound = data.synthesize(roll((A4, 1, 3), (A4 + 7, 3, 5)), bpm=120, sample_rate=RATE)
    # No sample is further from the one before than a tone of that loudness makes it.
    steps = np.abs(np.diff(sound))
    edges = [round(frame * 0.25 * RATE) for frame in (1, 3, 5)]
    for edge in edges:
        near = steps[edge - 3 : edge + 3].max()
        assert near <= steps[RATE // 2 - 1000 : RATE // 2 + 1000].max()
    assert sound[-1] == pytest.approx(0, abs=1e-4) and sound[edges[0]] == 0


def test_partials_above_half_the_rate_are_left_out():
    assert not data.synthesize(roll((87, 0, 8)), sample_rate=8000).any()  # 4186 Hz
    sound = data.synthesize(roll((75, 0, 8)), bpm=240, sample_rate=8000)  # 2093 Hz
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    hertz = np.fft.rfftfreq(len(sound), 1 / 8000)
    assert spectrum[np.abs(hertz - 2093) > 50].max() < 1e-2 * spectrum.max()  # no alias of 4186


def test_the_sound_of_a_roll_is_a_function_of_it(tmp_path):
    some = (np.random.default_rng(0).random([30, 88]) < 0.03).astype(np.uint8)
    for name in ("a.wav", "b.wav"):
        data.write_wav(data.synthesize(some), tmp_path / name, sample_rate=44100)
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()
    values, rate = soundfile.read(tmp_path / "a.wav")
    assert rate == 44100 and np.abs(values).max() == pytest.approx(0.8, abs=1e-3)
    assert not data.synthesize(np.zeros([4, 88])).any()
    # A roll is as loud whatever sounds in it, and a held note ends by itself.
    long = data.synthesize(roll((A4, 0, 200), steps=200), bpm=120, sample_rate=8000)
    assert np.abs(long[20 * 8000 :]).max() < 1e-4


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"roll": np.zeros([3, 5])}, r"shape \(3, 5\)"),
        ({"bpm": 0}, "bpm=0; accepted are 4..1000"),
        ({"bpm": True}, "bpm=True; accepted are"),
        ({"bpm": float("nan")}, "bpm=nan; accepted are"),
        ({"bpm": "80"}, "bpm='80'; accepted are"),
        ({"steps_per_quarter": 0}, "steps_per_quarter=0"),
        ({"sample_rate": 100}, r"sample_rate=100; accepted are integers 8000..192000"),
        ({"program": 3}, "program=3 is an instrument of a soundfont; pass `soundfont`"),
        ({"program": 128, "soundfont": "x"}, "program=128; accepted are integers 0..127"),
        ({"roll": np.zeros([4000, 88]), "bpm": 60}, "4000 frames at 60 bpm last 2000 seconds; acc"),
    ],
)
def test_sound_that_cannot_be_made(given, message):
    with pytest.raises(ValueError, match=message):
        data.synthesize(**{"roll": roll((A4, 0, 2)), **given})


class Synth:
    """Of pyfluidsynth what is called: each key that is held is a constant."""

    made = []

    def __init__(self, gain, samplerate):
        self.keys, self.deleted, self.rate, self.blocks = set(), False, samplerate, []
        self.made.append(self)

    def sfload(self, path):
        return -1 if "damaged" in path else 3

    def program_select(self, channel, font, bank, program):
        assert (channel, font, bank) == (0, 3, 0)
        return -1 if program == 99 else 0

    def noteon(self, channel, note, velocity):
        self.keys.add(note)

    def noteoff(self, channel, note):
        self.keys.remove(note)

    def get_samples(self, count):
        self.blocks.append(count)
        return np.repeat(np.int16([len(self.keys) * 100, 0]), count).reshape(2, -1).T.reshape(-1)

    def delete(self):
        self.deleted = True


@pytest.fixture
def font(tmp_path, monkeypatch):
    fluidsynth = ModuleType("fluidsynth")
    fluidsynth.Synth = Synth
    monkeypatch.setitem(sys.modules, "fluidsynth", fluidsynth)
    monkeypatch.setattr(Synth, "made", [])
    path = tmp_path / "a.sf2"
    path.write_bytes(b"RIFF\0\0\0\0sfbk")
    return path


def test_a_soundfont_plays_the_notes(font):
    notes = roll((A4, 0, 4), (A4, 5, 8), (A4 + 4, 4, 8))
    sound = data.synthesize(notes, bpm=120, sample_rate=8000, soundfont=font, program=19)
    assert len(sound) == 8 * 2000 + 8000
    # 1 key, then the other alone, then both, then none.
    levels = [sound[round((frame + 0.5) * 2000)] for frame in (1, 4, 6, 9)]
    np.testing.assert_allclose(levels, [0.4, 0.4, 0.8, 0.0], rtol=1e-5)
    (synth,) = Synth.made
    assert synth.deleted and synth.rate == 8000 and max(synth.blocks) <= 1 << 16


def test_soundfonts_that_are_none(font, tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"soundfont=.*nowhere.sf2 is not a file"):
        data.synthesize(roll(), soundfont=tmp_path / "nowhere.sf2")
    other = tmp_path / "song.sf2"
    other.write_bytes(b"MThd" + bytes(20))
    with pytest.raises(ValueError, match=r"song.sf2 is not a soundfont; accepted are .sf2 and"):
        data.synthesize(roll(), soundfont=other)
    damaged = tmp_path / "damaged.sf2"
    damaged.write_bytes(font.read_bytes())
    with pytest.raises(ValueError, match="damaged.sf2: FluidSynth cannot read it"):
        data.synthesize(roll(), soundfont=damaged)
    with pytest.raises(ValueError, match="a.sf2: has no instrument of program=99"):
        data.synthesize(roll(), soundfont=font, program=99)
    assert all(synth.deleted for synth in Synth.made)
    monkeypatch.setitem(sys.modules, "fluidsynth", ModuleType("fluidsynth"))  # another package
    with pytest.raises(ImportError, match=r"pyfluidsynth: pip install 'srnn-tf\[synth\]'"):
        synthesis.check_soundfont(font)


def test_what_a_soundfont_needs(font, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "fluidsynth", None)  # not installed
    with pytest.raises(ImportError, match=r"pyfluidsynth: pip install 'srnn-tf\[synth\]'"):
        synthesis.check_soundfont(font)
    monkeypatch.delitem(sys.modules, "fluidsynth")
    (tmp_path / "fluidsynth.py").write_text("raise ImportError('no library')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ImportError, match="played with FluidSynth: apt install libfluidsynth3"):
        synthesis.check_soundfont(font)


def test_the_tempo_of_a_file_is_read(tmp_path):
    data.write_midi(roll((A4, 0, 2)), tmp_path / "a.mid", bpm=84)
    assert data.formats.midi.read_tempo(tmp_path / "a.mid") == pytest.approx(84, rel=1e-5)
    content = (tmp_path / "a.mid").read_bytes()
    (tmp_path / "b.mid").write_bytes(content.replace(b"\xff\x51\x03", b"\xff\x01\x03"))
    assert data.formats.midi.read_tempo(tmp_path / "b.mid") is None
    (tmp_path / "c.mid").write_bytes(b"text")
    with pytest.raises(ValueError, match="c.mid: is not readable as MIDI"):
        data.formats.midi.read_tempo(tmp_path / "c.mid")


def test_files_are_read_by_public_functions(tmp_path):
    notes = roll((A4, 0, 8), (A4 + 4, 2, 8))
    data.write_midi(notes, tmp_path / "a.mid")
    np.testing.assert_array_equal(data.read_midi(tmp_path / "a.mid"), notes)
    samples = np.random.default_rng(0).uniform(-1, 1, 300)
    data.write_wav(samples, tmp_path / "a.wav", sample_rate=8000)
    np.testing.assert_allclose(
        data.read_audio(tmp_path / "a.wav", 8000) / 32768, samples, atol=2e-5
    )
    rows = np.array([[0, 0.5, -1.5], [1, 2.0, 0.25]])
    np.save(tmp_path / "a.npy", rows[:, [1, 2, 0]])
    np.testing.assert_allclose(data.read_strokes(tmp_path / "a.npy"), rows, atol=1e-4)
    (tmp_path / "a.DAT").write_text(".PEN_DOWN\n0 0\n3 4\n.PEN_UP\n")
    assert data.read_strokes(tmp_path / "a.DAT").tolist() == [[1, 3, 4]]
    with pytest.raises(ValueError, match=r"a.mid ends in '.mid'; accepted are .xml, .dat, .npy"):
        data.read_strokes(tmp_path / "a.mid")

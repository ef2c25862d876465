"""`srnn-tf sample`: what it continues, how it is played, and where it is written."""

import mido
import numpy as np
import pytest
import soundfile

from srnn_tf import command, data, zoo
from srnn_tf.serving import inputs
from tests import corpora as mini

NAME = "f_rnn_bach"
SHORT = ("--steps", 6)


def run(*words):
    command.main([str(word) for word in words])


@pytest.fixture(scope="module")
def tune(tmp_path_factory):
    """A chorale as MIDI, in a tempo of its own."""
    path = tmp_path_factory.mktemp("tune") / "tune.mid"
    data.write_midi(np.asarray(data.load("bach").test[0])[:10].astype(np.uint8), path, bpm=66)
    return path


def tempo(path):
    (event,) = [e for e in mido.MidiFile(path).tracks[0] if e.type == "set_tempo"]
    return mido.tempo2bpm(event.tempo)


def test_a_tune_is_continued_in_its_tempo(tune, tmp_path):
    run("sample", NAME, "--primer", tune, *SHORT, "--seed", 3, "--out", tmp_path / "x.mid")
    roll, primer = data.read_midi(tmp_path / "x.mid"), data.read_midi(tune)
    np.testing.assert_array_equal(roll[:10], primer)
    rows = primer[None].astype(np.float32)
    expected = zoo.load(NAME).sample(1, 6, 3, prefix=rows)[0].numpy()
    expected = np.concatenate([primer, expected])
    np.testing.assert_array_equal(roll, expected[: len(roll)])
    assert not expected[len(roll) :].any()  # rests at the end are not notes
    assert tempo(tmp_path / "x.mid") == pytest.approx(66, rel=1e-4)
    run("sample", NAME, "--primer", tune, *SHORT, "--bpm", 90.5, "--program", 19,
        "--out", tmp_path / "y.MID")  # fmt: skip
    assert tempo(tmp_path / "y.MID") == pytest.approx(90.5, rel=1e-4)
    programs = [e.program for e in mido.MidiFile(tmp_path / "y.MID").tracks[0] if "prog" in e.type]
    assert programs == [19]


def test_several_samples_are_numbered_and_each_is_that_of_its_seed(tmp_path, capsys):
    run("sample", NAME, *SHORT, "--count", 3, "--seed", 5, "--out", tmp_path / "x.wav")
    assert capsys.readouterr().out.splitlines() == [
        f"wrote {tmp_path}/x-{i}.wav" for i in (1, 2, 3)
    ]
    run("sample", NAME, *SHORT, "--seed", 7, "--out", tmp_path / "y.wav")
    contents = [(tmp_path / f"{name}.wav").read_bytes() for name in ("x-1", "x-2", "x-3", "y")]
    assert contents[2] == contents[3] and len(set(contents)) == 3
    sound, rate = soundfile.read(tmp_path / "y.wav")
    assert rate == 44100 and len(sound) == pytest.approx(6 * 0.3 * rate + 0.08 * rate, abs=2)
    run("sample", NAME, *SHORT, "--count", 10, "--out", tmp_path / "z.mid")
    assert (tmp_path / "z-01.mid").exists() and (tmp_path / "z-10.mid").exists()


def test_the_end_of_a_recording_is_continued(tmp_path):
    name = "rnn_hier_speech_commands"
    size, scale = zoo.card(name)["event_size"], zoo.standardization(name)
    samples = mini.noise(0.1, rate=16000)[: 3 * size + 50]
    soundfile.write(tmp_path / "a.wav", samples, 16000)
    frames = inputs.primer(tmp_path / "a.wav", zoo.open(name))
    assert frames.shape == (3, size) and frames.dtype == np.float32
    undone = scale.undo(frames).reshape(-1)
    np.testing.assert_allclose(undone, samples[50:] / 32768, atol=1e-4)
    soundfile.write(tmp_path / "b.wav", samples[: size - 1], 16000)
    with pytest.raises(ValueError, match=f"b.wav: {size - 1} samples; a frame of {name} has"):
        inputs.primer(tmp_path / "b.wav", zoo.open(name))
    run("sample", name, "--primer", tmp_path / "a.wav", "--steps", 2, "--out", tmp_path / "x.wav")
    written, rate = soundfile.read(tmp_path / "x.wav", dtype="int16")
    assert rate == 16000 and len(written) == 5 * size
    np.testing.assert_allclose(written[: 3 * size], samples[50:], atol=2)


def test_strokes_are_continued(tmp_path):
    (tmp_path / "pen.dat").write_text(".PEN_DOWN\n0 0\n30 40\n50 10\n.PEN_UP\n")
    words = ["--primer", tmp_path / "pen.dat", "--steps", 3, "--out", tmp_path / "x.svg"]
    run("sample", "f_rnn_unipen", *words)
    assert (tmp_path / "x.svg").stat().st_size > 500
    moves = zoo.standardization("f_rnn_unipen").undo(
        inputs.primer(tmp_path / "pen.dat", zoo.open("f_rnn_unipen"))
    )
    np.testing.assert_allclose(moves, data.read_strokes(tmp_path / "pen.dat"), atol=1e-4)


MISTAKES = {
    "input": ("--primer {tune} --out {tune}", "tune.mid is the input"),
    "numbered input": ("--primer {n} --count 2 --out {d}/n.mid", "n-1.mid is the input"),
    "no primer": ("--primer {d}/none.mid --out {d}/x.mid", "none.mid is not a file"),
    "other primer": ("--primer {d}/a.xml --out {d}/x.mid", f"{NAME} reads .mid, .midi"),
    "two sequences": ("--primer {d}/two.npz --out {d}/x.mid", "holds 2 sequences; one is needed"),
    "server": ("--primer {tune} --server x:1 --out {d}/x.mid", "a server does not continue files"),
    "count": ("--count 0 --out {d}/x.mid", "0 is not in the range 1<=x<=10000"),
    "bpm": ("--bpm 1 --out {d}/x.mid", "bpm=1.0; accepted are 4..1000"),
    "program": ("--program 128 --out {d}/x.mid", "program=128; accepted are integers 0..127"),
    "temperature": ("--temperature 0 --out {d}/x.mid", "`temperature` must be a positive number"),
    "seed": ("--seed -1 --out {d}/x.mid", "`seed` must be an integer of at least 0"),
    "steps of a quarter": ("--steps-per-quarter 0 --out {d}/x.mid", "steps_per_quarter=0"),
    "length": ("--steps 9000 --out {d}/x.wav", "9000 frames at 100 bpm last 2700 seconds"),
    "bpm of a picture": ("--bpm 80 --out {d}/x.png", "--bpm=80.0 is for files of music"),
    "program of tones": ("--program 3 --out {d}/x.wav", "--program=3 is an instrument of a sound"),
    "soundfont of .mid": ("--soundfont {tune} --out {d}/x.mid", "is for .wav files"),
    "no soundfont": ("--soundfont {d}/none.sf2 --out {d}/x.wav", "none.sf2 is not a file"),
    "other soundfont": ("--soundfont {tune} --out {d}/x.wav", "is not a soundfont"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_told_before_anything_is_drawn(mistake, tune, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(zoo, "load", lambda *_: pytest.fail("a model was loaded"))
    words, message = MISTAKES[mistake]
    (tmp_path / "a.xml").write_text("<a/>")
    (tmp_path / "n-1.mid").write_bytes(tune.read_bytes())
    np.savez(tmp_path / "two.npz", frames=np.zeros([2, 3, 88]))
    before, content = sorted(tmp_path.iterdir()), tune.read_bytes()
    words = words.format(tune=tune, d=tmp_path, n=tmp_path / "n-1.mid").split()
    with pytest.raises(SystemExit) as error:
        run("sample", NAME, *words)
    assert error.value.code == 2 and message in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == before and tune.read_bytes() == content


def test_options_of_music_are_refused_for_other_models(tmp_path, capsys):
    with pytest.raises(SystemExit):
        run("sample", "rnn_hier_speech_commands", "--bpm", 80, "--out", tmp_path / "x.wav")
    assert "--bpm=80.0 is for files of music" in capsys.readouterr().err


def test_silence_is_told(tune, tmp_path, capsys):
    run("sample", NAME, "--steps", 1, "--temperature", 0.01, "--out", tmp_path / "x.mid")
    may = "another --seed or a --temperature above 0.01 may give notes"
    assert capsys.readouterr().err == f"warning: {tmp_path}/x.mid is silent: {may}\n"
    run("sample", NAME, "--primer", tune, *SHORT, "--out", tmp_path / "y.mid")
    assert capsys.readouterr().err == ""

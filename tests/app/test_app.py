"""The page's answers without the page: samples, scores, limits, and files that are refused."""

import base64
import re
import wave

import numpy as np
import pytest

from srnn_tf import data, zoo
from srnn_tf.app import limits, models, replies, surprise, uploads
from srnn_tf.serving import drawing
from srnn_tf.zoo import store

NAME, SPEECH, PEN = "f_rnn_bach", "rnn_hier_speech_commands", "f_rnn_unipen"


def chorale(count=24):
    return np.asarray(data.load("bach").test[0])[:count].astype(np.uint8)


@pytest.fixture(scope="module")
def tune(tmp_path_factory):
    path = tmp_path_factory.mktemp("tune") / "tune.mid"
    data.write_midi(chorale(), path, bpm=66)
    return uploads.Upload("tune.mid", path.read_bytes())


def wav(path, samples):
    data.write_wav(np.asarray(samples, np.float64), path, sample_rate=16000)
    return uploads.Upload(path.name, path.read_bytes())


def told(html):
    """The words of an error."""
    (text,) = re.findall(r'<div class="srnn-notice" role="alert">(.*)</div>', html)
    return text.replace("&#x27;", "'")


def sounds(html):
    return [base64.b64decode(x) for x in re.findall(r'src="data:audio/wav;base64,([^"]+)"', html)]


def saved(html, path):
    (content,) = re.findall(r'href="data:application/octet-stream;base64,([^"]+)"', html)
    path.write_bytes(base64.b64decode(content))
    return path


def test_models_are_those_that_are_here_with_modality_and_bound():
    found = models.choices()
    first = store.EMBEDDED[0]  # what to begin with
    assert found[0] == (first, "pianoroll", "exact") and found[0].label == f"{first} (music, exact)"
    labels = {choice.label for choice in found}
    assert {"f_srnn_bach (music, ELBO)", f"{SPEECH} (speech, exact)"} <= labels
    names = {choice.name for choice in found}
    assert names <= set(zoo.installed()) <= set(zoo.names(published=True))
    assert not any(zoo.card(name).get("stand_in") for name in names)
    card = zoo.card(NAME)
    score = card["test"]["full"]["exact"]["value"]
    assert f"{score:.4f} nats per step (full, exact)" in models.about(card)


def test_models_that_are_not_here_are_no_choices(tmp_path, monkeypatch):
    monkeypatch.setattr(zoo.models.store, "roots", lambda root=None: [])
    assert zoo.installed() == [] == models.choices()
    assert "there is no model f_rnn_bach" in told(replies.sample(NAME, 0, 1.0, 1))


def test_a_sample_is_that_of_the_seed(tmp_path):
    html = replies.sample(NAME, 3, 0.8, 2)
    roll = data.read_midi(saved(html, tmp_path / "x.mid"))
    (expected,) = drawing.draw(zoo.open(NAME), 16, [3], None, 0.8)
    used = np.flatnonzero(expected.any(axis=1))  # a file has no silence at its ends
    np.testing.assert_array_equal(roll, expected[used[0] : used[-1] + 1])
    assert html.count("<img") == 1 and 'alt="A sample of f_rnn_bach, seed 3' in html
    (sound,) = sounds(html)
    (tmp_path / "x.wav").write_bytes(sound)
    with wave.open(str(tmp_path / "x.wav")) as file:
        assert file.getnframes() / file.getframerate() == pytest.approx(16 * 0.3 + 0.08, abs=0.01)


def test_the_surprise_of_the_steps_is_the_log_likelihood(tune):
    opened = models.opened(NAME)
    read = uploads.read(tune, opened)
    np.testing.assert_array_equal(read.frames, chorale())
    assert read.bpm == pytest.approx(66, rel=1e-4)
    found = surprise.score(read, opened)
    expected = float(zoo.load(NAME).log_prob(chorale()[None])[0])
    assert found.total == pytest.approx(expected, rel=1e-5)
    assert -found.per_step.sum() == pytest.approx(expected, rel=1e-5)
    assert (found.bound, found.kl, found.misfit) == ("exact", None, None)


def test_a_score_has_unit_protocol_bound_and_moments(tune):
    html = replies.score(NAME, tune)
    read = uploads.read(tune, models.opened(NAME))
    found = surprise.score(read, models.opened(NAME))
    row = re.findall(r"<td>(.*?)</td>", html)
    per_step = f"{found.total / 24:.4f} nats"
    assert row == [NAME, f"{found.total:.4f} nats", per_step, "24", "-", "full", "exact"]
    first, *others = re.findall(r"<span>step (\d+), ([\d.]+) s: (-?[\d.]+) nats</span>", html)
    step = int(found.per_step.argmax())
    assert first == (str(step), f"{step * 60 / 66 / 2:.2f}", f"{found.per_step[step]:.2f}")
    assert len(others) == 2 and len(sounds(html)) == 3
    html = replies.score("f_srnn_bach", tune)
    assert "ELBO" in html and re.search(r"<td>\d+\.\d{4} nats</td><td>full</td>", html)


@pytest.mark.parametrize("count", [1, 2, 5, 40, 60])
def test_moments_are_the_most_surprising_and_apart(count):
    values = np.random.default_rng(count).normal(size=count)
    found = surprise.moments(values, width=8)
    assert len(found) == min(3, count) and found[0].step == values.argmax()
    steps = [step for moment in found for step in range(moment.start, moment.stop)]
    assert len(set(steps)) == len(steps) and set(steps) <= set(range(count))
    assert all(m.start <= m.step < m.stop and m.stop - m.start <= 8 for m in found)
    if count >= 48:
        assert {m.stop - m.start for m in found} == {8}


def test_a_file_is_continued_by_two_bars(tune, tmp_path):
    html = replies.go_on(NAME, tune, 2, 5, 1.0)
    roll = data.read_midi(saved(html, tmp_path / "y.mid"))
    (expected,) = drawing.draw(zoo.open(NAME), 16, [5], chorale(), 1.0)
    np.testing.assert_array_equal(roll, expected[: len(roll)])
    assert len(expected) == 24 + 16 and not expected[len(roll) :].any()
    assert "tune.mid, continued by 2 bars" in html and len(sounds(html)) == 1


def test_of_a_long_file_the_end_is_shown(tune, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        replies.plots,
        "panels",
        lambda kind, frames, **how: drawn.append((len(frames), how["after"])),
    )
    monkeypatch.setattr(replies.markup, "picture", lambda figure, alt: "")
    of = limits.LENGTHS["pianoroll"]
    monkeypatch.setitem(limits.LENGTHS, "pianoroll", of._replace(excerpt=1))
    html = replies.go_on(NAME, tune, 2, 0, 1.0)
    assert drawn == [(16 + 16, 16)] and "begins at step 8" in html


def test_two_models_side_by_side(tune):
    html = replies.compare(NAME, "f_srnn_bach", tune)
    rows = re.findall(r"<tr>(<td>.*?)</tr>", html)
    assert [re.findall("<td>(.*?)</td>", row)[0] for row in rows] == [NAME, "f_srnn_bach"]
    totals = [float(re.findall(r"(-[\d.]+) nats</td>", row)[0]) for row in rows]
    assert f"{abs(totals[0] - totals[1]):.2f} nats more than" in html
    assert "chosen twice" in told(replies.compare(NAME, NAME, tune))
    assert "only models of one kind" in told(replies.compare(NAME, PEN, tune))
    assert told(replies.compare(NAME, None, tune)) == "choose a model first."


def test_a_model_that_does_not_fit_is_told(tmp_path):
    cluster = np.zeros([30, 88], np.uint8)
    cluster[:, 80:86] = 1
    data.write_midi(cluster, tmp_path / "cluster.mid")
    upload = uploads.Upload("cluster.mid", (tmp_path / "cluster.mid").read_bytes())
    assert "f_rnn_bach does not fit it" in replies.score(NAME, upload)


def test_a_recording_is_scored_as_the_model_scores_it(tmp_path):
    rng = np.random.default_rng(0)
    samples = np.round(rng.uniform(-0.2, 0.2, 1100) * 32768) / 32768
    upload = wav(tmp_path / "noise.wav", samples)
    opened = models.opened(SPEECH)
    read = uploads.read(upload, opened)
    np.testing.assert_allclose(read.frames.reshape(-1), samples[:1000], atol=1e-7)
    assert read.primer.shape == (5, 200)  # its last whole frames, standardized
    expected = opened.answers.score_waveform(samples.astype(np.float32)).log_likelihood[0]
    assert surprise.score(read, opened).total == pytest.approx(float(expected), rel=1e-6)


@pytest.fixture
def pen():
    points = np.random.default_rng(0).integers(0, 300, [2, 12, 2])
    strokes = ["\n".join(f"{x} {y}" for x, y in stroke) for stroke in points]
    content = "".join(f".PEN_DOWN\n{s}\n.PEN_UP\n" for s in strokes).encode()
    return uploads.Upload("pen.dat", content)


def test_strokes_are_scored_and_drawn(pen):
    html = replies.score(PEN, pen)
    assert "<td>23</td>" in html and "the log of a density" in html and not sounds(html)


@pytest.mark.slow
def test_strokes_are_continued(pen):
    html = replies.go_on(PEN, pen, 1, 0, 1.0)
    assert "pen.dat, continued by 1 x 50 pen moves" in html and "what is red is new" in html


@pytest.mark.slow
def test_speech_is_drawn_and_continued(tmp_path):
    html = replies.sample(SPEECH, 0, 1.0, 1)
    upload = uploads.Upload("s.wav", saved(html, tmp_path / "s.wav").read_bytes())
    assert len(sounds(html)) == 1
    html = replies.go_on(SPEECH, upload, 1, 1, 1.0)
    saved(html, tmp_path / "t.wav")
    parts = [data.read_audio(tmp_path / name) for name in ("s.wav", "t.wav")]
    assert [len(part) for part in parts] == [1600, 3200]
    assert np.abs(parts[1][:1600].astype(int) - parts[0]).max() <= 1


WRONG = {
    "text.mid": (NAME, b"no music at all", "text.mid: is not readable as MIDI"),
    "text.wav": (SPEECH, b"no sound at all", "text.wav: cannot be decoded"),
    "text.dat": (PEN, b"no strokes at all", "text.dat: "),
    "a.wav": (NAME, b"RIFF", "a.wav is a file of speech; f_rnn_bach is a model of music and reads "
              ".mid, .midi. Choose a model of speech for it"),
    "a.mid": (PEN, b"MThd", "a.mid is a file of music; f_rnn_unipen is a model of handwriting"),
    "a.npy": (NAME, b"\x93NUMPY", "a.npy is of a kind that is not read here"),
    "a": (NAME, b"MThd", "a is of a kind that is not read here; f_rnn_bach is a model of music"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_file_that_cannot_be_read_is_told_in_words(name, tmp_path):
    model, content, text = WRONG[name]
    for html in (
        replies.score(model, uploads.Upload(name, content)),
        replies.go_on(model, uploads.Upload(name, content), 1, 0, 1.0),
    ):
        assert told(html).startswith(text) and "/tmp" not in html and "Traceback" not in html


def test_silent_and_long_recordings_are_told_in_words(tmp_path, monkeypatch):
    silent = wav(tmp_path / "silent.wav", np.zeros(4000))
    assert "silent.wav is silent" in told(replies.score(SPEECH, silent))
    short = wav(tmp_path / "short.wav", np.full(30, 0.1))
    assert "short.wav: 30 samples; a frame of" in told(replies.score(SPEECH, short))
    long = wav(tmp_path / "long.wav", np.zeros(16000 * 61))
    decoded = []
    monkeypatch.setattr(uploads.inputs, "read", lambda *args: decoded.append(args))
    assert "long.wav lasts 61 seconds; up to 60" in told(replies.score(SPEECH, long))
    assert decoded == []


def test_a_long_piece_is_told_in_words(tmp_path, monkeypatch, tune):
    monkeypatch.setattr(limits, "MOST_STEPS", 20)
    assert told(replies.score(NAME, tune)) == "tune.mid has 24 steps; up to 20 are scored: cut it."


def test_a_file_is_taken_once_and_leaves_nothing(tmp_path):
    folder = tmp_path / "hash"
    folder.mkdir()
    (folder / "a.mid").write_bytes(b"MThd")
    assert uploads.take(folder / "a.mid") == ("a.mid", b"MThd")
    assert not folder.exists()
    with pytest.raises(ValueError, match="a.mid is gone; drop it again"):
        uploads.take(folder / "a.mid")
    with pytest.raises(ValueError, match="drop a file first"):
        uploads.take(None)
    assert told(replies.score(NAME, None)) == "drop a file first."


def test_a_large_file_is_refused_before_it_is_read(tmp_path, monkeypatch):
    path = tmp_path / "hash" / "huge.mid"
    path.parent.mkdir()
    with path.open("wb") as file:
        file.truncate(100 << 20)
    opened = []
    monkeypatch.setattr(uploads.Path, "open", lambda *args: opened.append(args))
    with pytest.raises(ValueError, match="huge.mid has 100.0 MB; files of up to 5 MB"):
        uploads.take(path)
    assert not opened and not path.exists()
    monkeypatch.undo()
    path.parent.mkdir()
    path.touch()
    with pytest.raises(ValueError, match="huge.mid is empty"):
        uploads.take(path)
    assert not path.exists()


@pytest.mark.parametrize(
    ("seed", "temperature", "length", "text"),
    [
        (-1, 1.0, 1, "the seed must be a whole number from 0 to 2147483647; received -1."),
        (None, 1.0, 1, "the seed must be a whole number from 0 to 2147483647; received nothing."),
        (0.5, 1.0, 1, "the seed must be"),
        (float("nan"), 1.0, 1, "the seed must be"),
        (0, 0.0, 1, "the temperature must be from 0.05 to 2; received 0.0."),
        (0, "1", 1, "the temperature must be"),
        (0, 1.0, 65, "the length in bars must be a whole number from 1 to 64; received 65."),
    ],
)
def test_numbers_out_of_range_are_told_in_words(seed, temperature, length, text):
    assert told(replies.sample(NAME, seed, temperature, length)).startswith(text)


def test_what_nobody_foresaw_is_told_too(monkeypatch, caplog, tune):
    def fail(*args):
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(surprise, "score", fail)
    text = told(replies.score(NAME, tune))
    assert "ZeroDivisionError" in text and "secret" not in text
    assert "secret" in caplog.text
    monkeypatch.setattr(surprise, "score", lambda *args: np.zeros(10**15))
    assert told(replies.score(NAME, tune)).startswith("There is not enough memory for this")


def test_names_are_shown_as_text(tune):
    html = replies.score(NAME, tune._replace(name="<b>&.mid"))
    assert "<b>" not in html and "&lt;b&gt;&amp;.mid, as f_rnn_bach sees it" in html
    assert uploads.shown("../<img src=x>.mid") == "_img src_x_.mid"
    assert "<script>" not in replies.sample("<script>", 0, 1.0, 1)
    assert uploads.shown("x" * 300 + ".mid") == "x" * limits.LONGEST_NAME + ".mid"

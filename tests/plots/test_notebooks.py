"""What notebooks show: figures, previews, and short texts of data and models."""

import base64
import io
import re
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest
import soundfile
from matplotlib.figure import Figure

from srnn_tf import data, plots
from tests import corpora as mini
from tests import harness

ROLL = mini.roll(12)
POSTERIOR = SimpleNamespace(mean=np.ones([1, 3, 2]), kl=np.ones([1, 3, 2]))
ROWS = np.array([[0, 10, 0], [1, 0, 10], [0, 30, 0], [1, 5, -5]], float)
# By name: a call of each plot, and how many axes it needs.
PLOTS = {
    "plot_pianoroll": (lambda **how: plots.plot_pianoroll({"a": ROLL, "b": ROLL}, **how), 2),
    "draw_strokes": (lambda **how: plots.draw_strokes(ROWS, **how), 1),
    "waveform": (lambda **how: plots.waveform(np.ones([3, 4]), **how), 1),
    "spectrogram": (lambda **how: plots.spectrogram(np.ones([3, 4]), **how), 1),
    "panels": (lambda **how: plots.panels("pianoroll", ROLL, {"a": np.ones(12)}, **how), 2),
    "frame_values": (lambda **how: plots.frame_values(np.ones([3, 4]), **how), 1),
    "step_scores": (lambda **how: plots.step_scores([-1.0, -2.0], **how), 1),
    "training_curve": (lambda **how: plots.training_curve({"a": ([1], [2.0])}, **how), 1),
    "latent_usage": (lambda **how: plots.latent_usage(POSTERIOR, **how), 2),
}


def test_every_plot_is_tried():
    functions = {n for n in plots.__all__ if n.islower()} - {"draw"}
    assert functions == set(PLOTS)


@pytest.mark.parametrize("name", PLOTS)
def test_a_plot_returns_its_figure_which_a_notebook_shows(name, tmp_path):
    plot, count = PLOTS[name]
    figure = plot()
    assert isinstance(figure, Figure) and len(figure.axes) >= count
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert plot(path=tmp_path / "a.png").axes and (tmp_path / "a.png").stat().st_size > 500


@pytest.mark.parametrize("name", PLOTS)
def test_a_plot_draws_on_given_axes(name, tmp_path):
    plot, count = PLOTS[name]
    figure = Figure()
    axes = figure.subplots(3, 1)
    given = axes[0] if count == 1 else axes[:count]
    assert plot(ax=given, path=tmp_path / "a.svg") is figure
    assert all(len(axis.get_children()) > 10 for axis in axes[:count])
    assert len(axes[2].get_children()) == 10  # as it was: its frame and its axes
    assert (tmp_path / "a.svg").stat().st_size > 500
    for wrong in (axes, "ax", 3):
        with pytest.raises(ValueError, match=f"`ax` of {name} must be {count} Axes of Matplotlib"):
            plot(ax=wrong)


def test_a_part_of_a_figure_is_drawn_on_and_written(tmp_path):
    figure = Figure()
    left, right = figure.subfigures(1, 2)
    written = plots.waveform(np.ones(9), tmp_path / "a.png", ax=right.subplots())
    assert written is figure and (tmp_path / "a.png").stat().st_size > 500


def test_draw_returns_the_figure_of_every_modality():
    for kind, frames in (("pianoroll", ROLL), ("handwriting", ROWS), ("other", ROWS)):
        assert isinstance(plots.draw(kind, frames), Figure)
    (axis,) = plots.draw("pianoroll", ROLL, steps_per_quarter=4).axes
    assert axis.get_xlim() == (0, len(ROLL) / 4)


def parts(html):
    """Of the HTML of a preview: the bytes of each kind, once it is well-formed."""
    ElementTree.fromstring(html.replace("controls", 'controls=""'))
    found = re.findall(r'src="data:([a-z/]+);base64,([^"]+)"', html)
    assert len(found) == html.count("src=")  # nothing from elsewhere
    return {kind: base64.b64decode(content) for kind, content in found}


def test_music_is_seen_and_heard():
    preview = plots.Preview(ROLL, bpm=120, title="<b>")
    assert repr(preview) == "<Preview: pianoroll, 12 frames of 88 values>"
    found = parts(preview._repr_html_())
    assert found["image/png"].startswith(b"\x89PNG")
    sound, rate = soundfile.read(io.BytesIO(found["audio/wav"]))
    assert rate == 22050 and len(sound) == pytest.approx(3 * rate, abs=0.1 * rate)


def test_speech_is_heard_as_it_is_written(tmp_path):
    scale = data.Standardization((0.1,), (0.05,))
    frames = np.random.default_rng(0).standard_normal([20, 40])
    preview = plots.Preview(frames, "speech", scale, 8000)
    data.write_wav(frames, tmp_path / "a.wav", scale, 8000)
    assert parts(preview._repr_html_())["audio/wav"] == (tmp_path / "a.wav").read_bytes()


def test_handwriting_is_seen_alone():
    assert set(parts(plots.Preview(ROWS, "handwriting")._repr_html_())) == {"image/png"}


@pytest.mark.parametrize("kind", ["pianoroll", "speech"])
def test_long_sequences_are_shown_in_part(kind):
    frames = np.tile(ROLL, (400, 1)) if kind == "pianoroll" else np.zeros([20_000, 200])
    html = plots.Preview(frames, kind, sample_rate=16000)._repr_html_()
    assert len(html) < 4_000_000 and f"the first 2000 of {len(frames)} frames" in html
    sound, rate = soundfile.read(io.BytesIO(parts(html)["audio/wav"]))
    assert len(sound) <= 30 * rate


@pytest.mark.parametrize(
    ("frames", "how", "message"),
    [
        (np.zeros([3]), {}, r"`frames` must be \(T, D\), at least one; received shape \(3,\)"),
        (np.zeros([0, 88]), {}, r"received shape \(0, 88\)"),
        (ROLL, {"tempo": 3}, "pianoroll has no option 'tempo'; accepted are: bpm, steps_per_qu"),
        (ROWS, {"kind": "handwriting", "bpm": 3}, "handwriting has no option 'bpm'; .*: none"),
    ],
)
def test_previews_that_are_none(frames, how, message):
    with pytest.raises(ValueError, match=message):
        plots.Preview(frames, **how)


def test_data_and_models_are_short_texts():
    splits = data.Splits("two", [ROLL] * 50, [ROLL], [ROLL], "made up", "nowhere")
    assert repr(splits) == (
        "Splits(two, pianoroll, event_size=88, train: 50, valid: 1, test: 1 sequences)"
    )
    few, many = (
        data.Standardization((2.0,), (0.5,)),
        data.Standardization(tuple(range(200)), (1.0,) * 200, tuple(range(200))),
    )
    assert repr(few) == "Standardization(mean=(2), std=(0.5))"
    assert "200 numbers" in repr(many) and len(repr(many)) < 120
    for structure in ("rnn", "vrnn"):
        model = harness.build(harness.cases(structure=structure, flat=False)[0])
        text = repr(model)
        count = sum(w.numpy().size for w in model.trainable_variables)  # not the step, as cards
        assert text.startswith("<SequenceModel ") and text.endswith(f" {count:,} parameters>")
        assert ("latent_size" in text) == (structure == "vrnn") and len(text) < 150
        assert len(repr(model.objective)) < 200 and str(model) == text

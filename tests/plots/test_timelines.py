"""Pictures with curves below, spectrograms, and moves of a pen that stand out."""

import numpy as np
import pytest

from srnn_tf import plots
from srnn_tf.data.formats.standardization import Standardization
from srnn_tf.plots import spectra

RNG = np.random.default_rng(0)
ROLL = (RNG.random([40, 88]) < 0.05).astype(np.uint8)
SPEECH = RNG.normal(size=[40, 20]) * 0.1
STROKES = np.concatenate([RNG.random([40, 1]) < 0.2, RNG.normal(size=[40, 2])], axis=1)
FRAMES = {"pianoroll": ROLL, "speech": SPEECH, "handwriting": STROKES, "other": SPEECH}
VALUES = RNG.normal(size=40)


@pytest.mark.parametrize(
    ("kind", "pictures", "step"),
    [("pianoroll", 1, 0.25), ("speech", 2, 20 / 8000), ("handwriting", 1, 1), ("other", 1, 1)],
)
def test_curves_are_below_the_picture_on_its_axis_of_time(kind, pictures, step, tmp_path):
    figure = plots.panels(
        kind, FRAMES[kind], {"a": VALUES, "b": -VALUES}, tmp_path / "x.png", sample_rate=8000,
        spans=[(4, 8)], after=30, ylabel="bits", steps_per_quarter=4,
    )  # fmt: skip
    axes = figure.axes[: pictures + 1]
    below = axes[-1]
    for line, values in zip(below.lines[:2], (VALUES, -VALUES), strict=True):
        np.testing.assert_allclose(line.get_xdata(), (np.arange(40) + 0.5) * step)
        np.testing.assert_array_equal(line.get_ydata(), values)
    assert below.get_ylabel() == "bits" and below.get_xlim() == (0, 40 * step)
    assert [t.get_text() for t in below.texts] == ["1"]
    assert below.texts[0].xy[0] == pytest.approx(6 * step)
    assert below.lines[2].get_xdata()[0] == pytest.approx(30 * step)
    timed = axes if kind != "handwriting" else [below]
    for axis in timed:
        (span,) = [p for p in axis.patches if p.get_alpha() == 0.22]
        assert (span.get_x(), span.get_width()) == pytest.approx((4 * step, 4 * step))
        assert axis.get_xlim() == (0, 40 * step)
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")


def test_without_curves_there_is_the_picture_alone():
    assert len(plots.panels("pianoroll", ROLL).axes) == 1
    assert len(plots.panels("speech", SPEECH).axes) == 2


def test_frames_are_drawn_without_their_standardization():
    scale = Standardization(np.array([0.5]), np.array([2.0]))
    figure = plots.panels("speech", SPEECH, standardization=scale)
    drawn = figure.axes[0].lines[0].get_ydata()
    np.testing.assert_allclose(drawn, (SPEECH * 2 + 0.5).reshape(-1), rtol=1e-6)


def test_a_curve_of_another_length_is_refused():
    with pytest.raises(ValueError, match=r"curves\['a'\] .* 40 steps; received shape \(39,\)"):
        plots.panels("pianoroll", ROLL, {"a": VALUES[1:]})


def test_moves_of_a_span_are_drawn_once_more_where_the_pen_is_down():
    rows = np.array([[0, 1, 0], [1, 1, 0], [0, 5, 5], [0, 1, 0], [0, 1, 1]], float)
    axis = plots.panels("handwriting", rows, spans=[(1, 4)]).axes[0]
    drawn = axis.lines[-1].get_xydata()
    moves = drawn[~np.isnan(drawn).any(axis=1)].reshape(-1, 2, 2).tolist()
    # The third moves the pen to the next stroke, in the air.
    assert moves == [[[1, 0], [2, 0]], [[7, 5], [8, 5]]]


def test_a_tone_is_where_its_frequency_is():
    time = np.arange(8000) / 8000
    tone = np.where(time < 0.5, np.sin(2 * np.pi * 1000 * time), 0.0)
    found = spectra.decibels(tone, 8000)
    assert found.max() == 0.0 and found[-10:].max() < -100
    assert (found[5:70].argmax(axis=1) == 25).all()  # 1000 Hz, in bins of 40
    figure = plots.spectrogram(tone, sample_rate=8000)
    (image,) = figure.axes[0].images
    assert image.get_extent() == [0.0, 1.0, 0.0, 4.0]
    assert not np.isnan(spectra.decibels(np.zeros(100), 8000)).any()
    with pytest.raises(ValueError, match="finite, at least one"):
        plots.spectrogram([])

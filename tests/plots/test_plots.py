"""Pictures."""

import builtins
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.figure import Figure

from srnn_tf import plots
from tests import harness

ROWS, STEPS, UNITS = 3, 6, 4
KL = np.random.default_rng(0).gamma(2.0, [[[0.2, 1.0, 0.02, 0.5]]], [ROWS, STEPS, UNITS])
# The first unit's mean does not vary, the third's too little.
MEAN = np.random.default_rng(1).normal(3.0, [0.0, 1.0, 0.05, 0.3], KL.shape)
POSTERIOR = SimpleNamespace(mean=MEAN, kl=KL)
MASK = harness.lengths_mask([4, 6, 1], STEPS)


@pytest.fixture
def drawn(monkeypatch):
    """The figures that are saved."""
    figures, save = [], Figure.savefig

    def saved(figure, *args, **kwargs):
        figures.append(figure)
        return save(figure, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", saved)
    return figures


def test_training_curve_is_written_whole(tmp_path):
    path = tmp_path / "curve.png"
    plots.training_curve({"train": ([1, 2, 3], [-3.0, -2.0, -1.5])}, path, {"floor": -4.0})
    assert path.read_bytes().startswith(b"\x89PNG")
    assert [p.name for p in tmp_path.iterdir()] == ["curve.png"]


def test_training_curve_refuses_sequences_that_do_not_match(tmp_path):
    with pytest.raises(ValueError, match="2 updates and 1 scores"):
        plots.training_curve({"train": ([1, 2], [0.0])}, tmp_path / "curve.png")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("ending, start", [("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_latent_usage_is_written_whole(ending, start, tmp_path):
    path = tmp_path / f"latents.{ending}"
    path.write_text("old")
    plots.latent_usage(POSTERIOR, path)
    assert path.read_bytes().startswith(start)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("mask", [None, MASK])
def test_latent_usage_draws_the_numbers(mask, drawn, tmp_path):
    real = np.ones([ROWS, STEPS], bool) if mask is None else mask
    mean = np.where(real[..., None], MEAN, 100.0)
    plots.latent_usage(SimpleNamespace(mean=mean, kl=KL), tmp_path / "latents.png", mask)
    units, steps = drawn[0].axes
    order = [1, 3, 0, 2]
    bars = sorted(units.patches, key=lambda bar: bar.get_x())
    np.testing.assert_allclose([b.get_height() for b in bars], KL[real].mean(axis=0)[order], 1e-5)
    assert [text.get_text() for text in units.get_xticklabels()] == [str(i) for i in order]
    assert len({bar.get_facecolor() for bar in bars[:2]}) == 1  # the active ones
    assert len({bar.get_facecolor() for bar in bars[2:]}) == 1
    assert bars[0].get_facecolor() != bars[2].get_facecolor()
    assert units.get_title().startswith("2 of 4 units active")
    (line,) = steps.lines
    length = STEPS if mask is None else 4
    np.testing.assert_array_equal(line.get_xdata(), np.arange(1, length + 1))
    np.testing.assert_allclose(line.get_ydata(), KL[0, :length].sum(axis=1), 1e-5)
    assert all("nats" in axis.get_ylabel() for axis in (units, steps))


def test_latent_usage_draws_what_a_flat_model_believes(drawn, tmp_path):
    case = harness.cases(structure="vrnn", cell="gru", likelihood="bernoulli", flat=True)[0]
    model, x = harness.build(case), harness.frames(case, ROWS, STEPS)
    plots.latent_usage(model.posterior(x, MASK), tmp_path / "latents.png", MASK)
    units, steps = drawn[0].axes
    kl = model(x, mask=MASK)["kl"].numpy()
    total = sum(bar.get_height() for bar in units.patches)
    np.testing.assert_allclose(total, kl.sum() / (MASK.sum() * model.steps_per_frame), 1e-4)
    values = steps.lines[0].get_ydata()
    np.testing.assert_allclose(values.reshape(-1, 3).sum(axis=1), kl[0, :4], 1e-4)


def test_many_units_and_a_single_step_are_drawn(drawn, tmp_path):
    many = SimpleNamespace(mean=np.zeros([1, 1, 60]), kl=np.ones([1, 1, 60]))
    plots.latent_usage(many, tmp_path / "latents.png")
    units, steps = drawn[0].axes
    assert len(units.patches) == 60 and units.get_title().startswith("0 of 60 units active")
    assert steps.lines[0].get_marker() == "o"


SHAPES = r"`posterior` must be .*`mean` and `kl` of one shape \(B, S, Z\); received "
BAD = [
    (None, None, SHAPES + "NoneType"),
    (KL, None, SHAPES + "ndarray"),  # whose `mean` is a method
    (SimpleNamespace(mean=None, kl=None), None, SHAPES),
    (SimpleNamespace(kl=KL), None, SHAPES),
    (SimpleNamespace(mean=MEAN[:, :2], kl=KL), None, SHAPES + r".*\(3, 2, 4\) and \(3, 6, 4\)"),
    (SimpleNamespace(mean=MEAN[0], kl=KL[0]), None, SHAPES + r".*\(6, 4\) and \(6, 4\)"),
    (SimpleNamespace(mean=MEAN[:0], kl=KL[:0]), None, SHAPES),
    (POSTERIOR, MASK[:2], r"`mask` must have shape \(B, T\) = \(3, 6\); received \(2, 6\)"),
    (POSTERIOR, MASK[:, :4], r"`mask` must have shape .*; received \(3, 4\)"),
    (POSTERIOR, ~MASK, "`mask` must have a real first step"),
]


@pytest.mark.parametrize("number", range(len(BAD)))
def test_latent_usage_refuses_what_does_not_fit(number, tmp_path):
    posterior, mask, message = BAD[number]
    with pytest.raises(ValueError, match=message):
        plots.latent_usage(posterior, tmp_path / "latents.png", mask)
    assert not list(tmp_path.iterdir())


DRAW = {
    "training_curve": lambda path: plots.training_curve({"train": ([1], [0.0])}, path),
    "latent_usage": lambda path: plots.latent_usage(POSTERIOR, path),
}


@pytest.mark.parametrize("name", DRAW)
def test_paths_that_cannot_be_written(name, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        DRAW[name](tmp_path / "nowhere" / "picture.png")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        DRAW[name](tmp_path)
    with pytest.raises(ValueError, match="'xyz' is not supported"):
        DRAW[name](tmp_path / "picture.xyz")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", DRAW)
def test_without_matplotlib_the_error_says_what_to_install(name, tmp_path, monkeypatch):
    original = builtins.__import__

    def missing(module, *args, **kwargs):
        if module.startswith("matplotlib"):
            raise ImportError(module)
        return original(module, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ImportError, match=rf"{name} needs matplotlib: .*srnn-tf\[plot\]"):
        DRAW[name](tmp_path / "picture.png")

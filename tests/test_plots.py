"""Pictures."""

import pytest

from srnn_tf import plots


def test_training_curve_is_written_whole(tmp_path):
    path = tmp_path / "curve.png"
    plots.training_curve({"train": ([1, 2, 3], [-3.0, -2.0, -1.5])}, path, {"floor": -4.0})
    assert path.read_bytes().startswith(b"\x89PNG")
    assert [p.name for p in tmp_path.iterdir()] == ["curve.png"]


def test_training_curve_refuses_sequences_that_do_not_match(tmp_path):
    with pytest.raises(ValueError, match="2 updates and 1 scores"):
        plots.training_curve({"train": ([1, 2], [0.0])}, tmp_path / "curve.png")
    assert not list(tmp_path.iterdir())

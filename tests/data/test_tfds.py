"""Builders for TensorFlow Datasets give what the corpora hold."""

import sys

import numpy as np
import pytest

from srnn_tf import data
from srnn_tf.data.prepared import tfds as builders
from tests import corpora as mini


def made(name, folder, **options):
    """A builder that has read the corpus in `folder/manual`."""
    tfds = pytest.importorskip("tensorflow_datasets")
    built = builders.builder(name, str(folder / "built"), **options)
    config = tfds.download.DownloadConfig(manual_dir=folder / "manual")
    built.download_and_prepare(download_config=config)
    return built


def examples(built, split):
    return {bytes(e["id"]).decode(): e for e in built.as_dataset(split=split).as_numpy_iterator()}


@pytest.mark.parametrize("name", ["timit", "iam_ondb", "jsb", "strokes"])
def test_the_same_sequences_as_prepared_ones(name, tmp_path):
    make, options = mini.MAKERS[name]
    make(tmp_path / "manual" / name)
    built = made(name, tmp_path, **options)
    out = data.prepare(name, tmp_path / "manual" / name, tmp_path / "out", **options)
    splits = data.load(name, out)
    for part in ("train", "valid", "test"):
        sequences, found = getattr(splits, part), examples(built, part)
        assert len(found) == len(sequences)
        raw = [e["values"].astype(float) * e["scale"] for e in found.values()]
        total = sum(np.abs(a).sum() for a in raw)
        if splits.kind == "pianoroll":
            assert total == sum(s.sum() for s in sequences)
        elif splits.kind == "speech":
            undone = [splits.standardization.undo(s.values(0, s.num_values)[:, None])
                      for s in sequences]  # fmt: skip
            assert total == pytest.approx(sum(np.abs(u).sum() for u in undone), rel=1e-5)
    assert name in built.info.description


def test_a_corpus_that_is_not_there(tmp_path):
    pytest.importorskip("tensorflow_datasets")
    (tmp_path / "manual" / "other").mkdir(parents=True)
    with pytest.raises(ValueError, match="manual/timit is not a folder; timit is read from one"):
        made("timit", tmp_path)
    with pytest.raises(ValueError, match="timit takes no option 'std'"):
        builders.builder("timit", std=1.0)


def test_without_the_package_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(ImportError, match=r"srnn-tf\[tfds\]"):
        builders.builder("timit")

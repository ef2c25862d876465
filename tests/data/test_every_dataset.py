"""Every data set, from a miniature of its real layout to a trained model."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from srnn_tf import SequenceModel, data
from srnn_tf.data import corpora
from srnn_tf.data.prepared import info
from tests import corpora as mini

STANDARDIZED = ("timit", "perm_timit", "vctk", "blizzard", "speech_commands", "audio")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Prepared folders, made when they are first asked for."""
    made = {}

    def get(name):
        if name not in made:
            made[name] = mini.prepared(name, tmp_path_factory.mktemp(name))
        return made[name]

    return get


def test_no_data_set_is_left_out():
    assert {*mini.MAKERS, "bach"} == set(corpora.CORPORA) == set(data.names()) - {"music"}


def likelihood(kind):
    mixture = {"class": "gaussian_mixture", "num_components": 2}
    return {"speech": mixture, "handwriting": "handwriting", "pianoroll": "bernoulli"}[kind]


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", mini.MAKERS)
def test_prepare_load_train_score(name, folders, capsys):
    path = folders(name)
    splits = data.load(name, path)
    assert capsys.readouterr().out.startswith(f"{name} (")
    width = {"speech": 200, "handwriting": 3, "pianoroll": 88}[splits.kind]
    for part in (splits.train, splits.valid, splits.test):
        assert all(np.asarray(s).shape == (len(s), width) for s in part)
        assert all(np.isfinite(np.asarray(s)).all() for s in part)
    model = SequenceModel(
        {"class": "rnn", "units": 4, "embedding_size": 3},
        {"class": "factorized", "event_size": width, "likelihood": likelihood(splits.kind)},
    )
    model.compile(jit_compile=False, loss_per="value")
    if splits.kind == "handwriting":
        batches = data.padded(data.pieces(splits.train, 50), batch_size=4)
    else:
        batches = data.streams(splits.train, batch_size=2, num_steps=8)
    history = model.fit(batches, epochs=1, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    for batch in data.batches(splits.test, batch_size=2):
        assert np.isfinite(model.log_prob(batch["frames"], batch["mask"])).all()


@pytest.mark.parametrize("name", mini.MAKERS)
def test_the_training_part_is_standardized(name, folders):
    splits = data.load(name, folders(name))
    # Sequences of recordings end in less than a frame, which counts in the statistics.
    whole = [s.values(0, s.num_values) if hasattr(s, "values") else s for s in splits.train]
    values = np.concatenate(
        [np.reshape(s, [-1, 3 if splits.kind == "handwriting" else 1]) for s in whole]
    ).astype(np.float64)
    if name in STANDARDIZED and not name.startswith("perm"):
        assert abs(values.mean()) < 1e-5 and abs(values.std() - 1) < 1e-5
    elif splits.kind == "handwriting":
        assert np.abs(values[:, 1:].mean(axis=0)).max() < 1e-5
        assert np.abs(values[:, 1:].std(axis=0) - 1).max() < 1e-5
        assert set(np.unique(values[:, 0])) == {0, 1}
    elif splits.kind == "pianoroll":
        assert set(np.unique(values)) == {0, 1} and splits.train[0].dtype == np.uint8


def test_samples_are_those_of_the_files(tmp_path):
    written = mini.timit(tmp_path / "source")
    splits = data.load("timit", data.prepare("timit", tmp_path / "source", tmp_path / "out"))
    index = json.loads((tmp_path / "out" / info.INDEX).read_text())
    names = [e[0] for file, entries in index.items() if file.startswith("test") for e in entries]
    assert names == ["TEST/DR1/MXYZ0/SA1", "TEST/DR2/MXYZ1/SA2"]
    for name, sequence in zip(names, splits.test, strict=True):
        assert len(sequence) == len(written[name]) // 200  # cut to whole steps
        samples = splits.standardization.undo(np.asarray(sequence)).reshape(-1) * 32768
        np.testing.assert_allclose(samples, written[name][: len(samples)], atol=0.01)


def parts_of(path):
    """The names in each part of a prepared folder."""
    index = json.loads((path / info.INDEX).read_text())
    return {
        p: sorted(e[0] for f, es in index.items() if f.startswith(p) for e in es)
        for p in ("train", "valid", "test")
    }


def test_timit_is_split_by_name_alone(tmp_path):
    mini.timit(tmp_path / "one")
    mini.timit(tmp_path / "two" / "timit" / "TIMIT", reverse=True, lower=True)
    one = data.prepare("timit", tmp_path / "one", tmp_path / "a")
    two = data.prepare("timit", tmp_path / "two", tmp_path / "b")
    assert parts_of(one) == parts_of(two)
    names = [f"TRAIN/DR{1 + i % 8}/FABC{i % 4}/SX{i}" for i in range(20)]
    digests = {hashlib.sha256(f"timit:{name}".encode()).hexdigest(): name for name in names}
    assert parts_of(one)["valid"] == [digests[min(digests)]]  # 5 % of 20
    assert [p.name for p in sorted(one.iterdir())] == [p.name for p in sorted(two.iterdir())]


def test_permuted_timit_is_timit_in_another_order(folders):
    plain, permuted = (
        data.load("timit", folders("timit")),
        data.load("perm_timit", folders("perm_timit")),
    )
    order = [
        int(w) for w in Path(info.__file__).with_name("permutation_200.txt").read_text().split()
    ]
    assert sorted(order) == [*range(200)] and order != [*range(200)]
    # Weights trained with it would be worth nothing with another.
    assert hashlib.sha256(bytes(order)).hexdigest().startswith(DIGEST)
    for a, b in zip(plain.train, permuted.train, strict=True):
        np.testing.assert_array_equal(np.asarray(a)[:, order], b)
    restored = permuted.standardization.undo(np.asarray(permuted.test[0]))
    np.testing.assert_allclose(
        restored, plain.standardization.undo(np.asarray(plain.test[0])), atol=1e-9
    )


DIGEST = "9da733eb5518a7f0"


def test_a_permutation_of_ones_own(tmp_path):
    mini.timit(tmp_path / "source")
    order = np.roll(np.arange(100), 7)
    mini.text(tmp_path / "order.txt", [" ".join(map(str, order))])
    options = {"permutation": tmp_path / "order.txt", "frame_size": 100}
    out = data.prepare("perm_timit", tmp_path / "source", tmp_path / "out", **options)
    splits = data.load("perm_timit", out)
    assert splits.event_size == 100 and splits.standardization.permutation == tuple(order)


def test_vctk_in_both_editions_and_by_lists(tmp_path):
    mini.vctk(tmp_path / "old")
    mini.vctk_092(tmp_path / "new")
    by_speaker = parts_of(data.prepare("vctk", tmp_path / "old", tmp_path / "a"))
    speakers = [{name.split("_")[0] for name in names} for names in by_speaker.values()]
    assert not speakers[0] & speakers[1] and not speakers[1] & speakers[2]
    new = data.load("vctk", data.prepare("vctk", tmp_path / "new", tmp_path / "b"))
    assert new.edition == "0.92" and sum(len(p) for p in (new.train, new.valid, new.test)) == 3
    for part, chosen in {
        "train": ["p225_000"],
        "valid": ["p226_001"],
        "test": ["p225_002"],
    }.items():
        mini.text(tmp_path / "lists" / f"{part}_files_list.txt", [f"{n}.wav\n" for n in chosen])
    out = data.prepare("vctk", tmp_path / "old", tmp_path / "c", lists=tmp_path / "lists")
    assert parts_of(out) == {"train": ["p225_000"], "valid": ["p226_001"], "test": ["p225_002"]}
    assert "9 are in no list" in info.describe(info.read(out))


def test_blizzard_by_the_lists_of_the_paper(tmp_path):
    mini.blizzard(tmp_path / "source")
    for i, part in enumerate(("train", "valid", "test")):
        names = [f"chp.{i:02d}.the_trumpet.wav.t7\n"]
        mini.text(tmp_path / "lists" / f"{part}_file_list.txt", names)
    out = data.prepare("blizzard", tmp_path / "source", tmp_path / "out", lists=tmp_path / "lists")
    assert parts_of(out)["test"] == ["chp.02.the_trumpet"]
    assert info.read(out)["unit"] == "nats per 8,000 samples"


def test_iam_ondb_by_the_lists_of_the_paper(tmp_path):
    mini.iam_ondb(tmp_path / "source")
    mini.iam_lists(tmp_path / "lists")
    options = {"lists": tmp_path / "lists", "std": 56.04462}
    out = data.prepare("iam_ondb", tmp_path / "source", tmp_path / "out", **options)
    found = parts_of(out)
    assert found["test"] == ["c03-081z-01", "c03-081z-02"]
    assert len(found["valid"]) == 2 and len(found["train"]) == 4
    splits = data.load("iam_ondb", out)
    assert splits.standardization.std == (1.0, 56.04462, 56.04462)
    assert splits.standardization.mean[0] == 0
    strokes = mini.pen(31)
    points = np.array([point for stroke in strokes for point in stroke]) * (1, -1)
    moves = splits.standardization.undo(np.asarray(splits.test[0]))
    np.testing.assert_allclose(moves[:, 1:], np.diff(points, axis=0), atol=1e-4)
    assert np.flatnonzero(moves[:, 0]).tolist() == [10, 22, 34]  # the last point of each stroke


def test_strokes_of_ones_own_keep_their_size(tmp_path):
    splits = data.load("strokes", mini.prepared("strokes", tmp_path))
    rows = np.load(tmp_path / "source" / "line0.npy")
    moves = [
        splits.standardization.undo(np.asarray(s))
        for p in (splits.train, splits.valid, splits.test)
        for s in p
    ]
    largest = np.abs(rows[:, :2]).max()
    assert any(
        len(m) == 20 and np.abs(m[:, 1:] - rows[:, :2]).max() < largest / 32767 for m in moves
    )


def test_bach_too(tmp_path):
    pytest.importorskip("music21")
    out = data.prepare("bach", None, tmp_path / "bach")
    direct, stored = data.load("bach"), data.load("bach", out)
    assert direct.edition == stored.edition
    for part in ("train", "valid", "test"):
        for a, b in zip(getattr(direct, part), getattr(stored, part), strict=True):
            np.testing.assert_array_equal(a, b)

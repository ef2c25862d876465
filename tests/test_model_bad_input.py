"""Every mistake is a ValueError that names the argument, the value and what is accepted."""

import errno
import functools
import os

import numpy as np
import pytest
import tensorflow as tf

from srnn_tf import KLSchedule, SequenceModel, data, likelihoods, recipes, zoo
from srnn_tf.core.files import replacing
from srnn_tf.experiments import runs
from tests import harness

KINDS = {
    kind: harness.cases(structure="rnn", cell="lstm", likelihood=kind, flat=False)[0]
    for kind in ("bernoulli", "normal")
}
ROWS, STEPS, WIDTH = 3, 5, harness.EVENT_SIZE


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    return request.param


@functools.cache
def model_of(kind, checked=True):
    """Steps run eagerly, which is quick; not `checked` ones rely on the pipeline before them."""
    model = harness.build(KINDS[kind])
    model.compile(run_eagerly=True)
    if not checked:
        model._check_call = lambda *args: None  # compiled steps know no values
    return model


def good(kind="bernoulli"):
    return harness.frames(KINDS[kind], ROWS, STEPS)


def spoiled(value):
    x = good()
    x[1, 2, 0] = value
    return x


def dataset(x):
    return tf.data.Dataset.from_tensors(x)


WAYS = {
    "call": lambda model, x: model(x),
    "log_prob": lambda model, x: model.log_prob(x),
    "sample": lambda model, x: model.sample(ROWS, 2, seed=0, prefix=x),
    "fit": lambda model, x: model.fit(x, verbose=0),
    "evaluate": lambda model, x: model.evaluate(x, verbose=0),
    "validation": lambda model, x: model.fit(good(), verbose=0, validation_data=x),
    "fit dict": lambda model, x: model.fit({"frames": x}, verbose=0),
    "fit dataset": lambda model, x: model.fit(dataset(x), verbose=0),
    "fit dataset of dicts": lambda model, x: model.fit(dataset({"frames": x}), verbose=0),
    "evaluate dataset": lambda model, x: model.evaluate(dataset(x), verbose=0),
    "fit generator": lambda model, x: model.fit(iter([x]), verbose=0),
    "predict": lambda model, x: model.predict(x, verbose=0),
    "predict dataset": lambda model, x: model.predict(dataset(x), verbose=0),
    "train_on_batch": lambda model, x: model.train_on_batch(x),
    "test_on_batch": lambda model, x: model.test_on_batch({"frames": x}),
    "predict_on_batch": lambda model, x: model.predict_on_batch(x),
}

# What is wrong: the frames, and what the error says, from arrays and (values unknown) datasets.
BAD = {
    "rank": (good()[0], r"`frames` must have rank 3, \(B, T, 3\); received shape \(5, 3\)"),
    "width": (good()[..., :2], r"`frames` must have 3 values per step; .* \(3, 5, 2\)"),
    "nan": (spoiled(np.nan), r"`frames` must be finite; received NaN or infinity"),
    "infinity": (spoiled(-np.inf), r"`frames` must be finite; received NaN or infinity"),
    "ragged": (
        tf.ragged.constant([[[1.0] * WIDTH] * n for n in (2, 4)], ragged_rank=1),
        r"`frames` must not be ragged: pass `frames.to_tensor\(\)`.*`mask`",
    ),
    "sparse": (tf.sparse.from_dense(good()), "`frames` must be dense"),
    "no rows": (good()[:0], r"`frames` must not be empty"),
    "no steps": (good()[:, :0], r"`frames` must not be empty"),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("mistake", BAD)
def test_bad_frames(way, mistake):
    frames, message = BAD[mistake]
    message = message.replace("frames", "prefix") if way == "sample" else message
    with pytest.raises(ValueError, match=message):
        WAYS[way](model_of("bernoulli", "dataset" not in way), frames)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("value", [0.5, 2.0, -1.0])
def test_bernoulli_frames_are_zero_or_one(way, value):
    with pytest.raises(ValueError, match="must be 0 or 1 for a Bernoulli likelihood"):
        WAYS[way](model_of("bernoulli", "dataset" not in way), spoiled(value))
    assert np.all(np.isfinite(model_of("normal").log_prob(spoiled(value))))


@pytest.mark.parametrize("frames", ["text", [["a", "b"]], [[[1], [2, 3]]], None, 3.0])
def test_frames_that_are_no_array(frames):
    with pytest.raises(ValueError, match="`frames` must"):
        model_of("normal").log_prob(frames)
    with pytest.raises(ValueError, match="must"):
        model_of("normal").fit(frames, verbose=0)


def test_an_error_says_where():
    with pytest.raises(ValueError, match=r"NaN or infinity at \(1, 2, 0\)"):
        model_of("normal").log_prob(spoiled(np.nan))
    with pytest.raises(ValueError, match=r"received 2.0 at \(1, 2, 0\)"):
        model_of("bernoulli").log_prob(spoiled(2.0))


MASKS = {
    "shape": (np.ones([ROWS, STEPS - 1], bool), r"`mask` must have .*shape \(B, T\)"),
    "rank": (np.ones([ROWS, STEPS, 1], bool), r"`mask` must have .*shape \(B, T\)"),
    "hole": (np.array([[1, 1, 0, 1, 0]] * ROWS, bool), "`mask` must be true, then false"),
    "left": (np.array([[0, 0, 1, 1, 1]] * ROWS, bool), "`mask` must have a real first step"),
    "empty row": (harness.lengths_mask([5, 0, 2], STEPS), "`mask` must have a real first step"),
    "values": (np.full([ROWS, STEPS], 0.5), "`mask` must be boolean"),
}
MASK_WAYS = {
    "call": lambda model, x, mask: model(x, mask=mask),
    "log_prob": lambda model, x, mask: model.log_prob(x, mask),
    "fit": lambda model, x, mask: model.fit({"frames": x, "mask": mask}, verbose=0),
    "evaluate": lambda model, x, mask: model.evaluate({"frames": x, "mask": mask}, verbose=0),
    "predict": lambda model, x, mask: model.predict({"frames": x, "mask": mask}, verbose=0),
    "train_on_batch": lambda model, x, mask: model.train_on_batch({"frames": x, "mask": mask}),
    "dataset": lambda model, x, mask: model.fit(dataset({"frames": x, "mask": mask}), verbose=0),
}


@pytest.mark.parametrize("way", MASK_WAYS)
@pytest.mark.parametrize("mistake", MASKS)
def test_bad_masks(way, mistake):
    mask, message = MASKS[mistake]
    with pytest.raises(ValueError, match=message):
        MASK_WAYS[way](model_of("normal", way != "dataset"), good("normal"), mask)


def generated(x):
    """A dataset that knows nothing of its shapes."""
    spec = tf.TensorSpec([None, None, None])
    return tf.data.Dataset.from_generator(lambda: iter([x]), output_signature=spec)


DATASETS = {
    "unknown width": (lambda x: generated(x[..., :2]), "`frames` must have 3 values per step"),
    "tuple": (lambda x: dataset((x, x)), "must be one tensor or dict; received 2 members"),
    "no frames": (lambda x: dataset({"x": x}), r"must hold `frames`; received \['x'\]"),
    "misspelled": (lambda x: dataset({"frames": x, "masks": x[..., 0]}), "masks"),
    "previous": (lambda x: dataset({"frames": x, "previous": x[:, 1:]}), "`previous` must have"),
    "text": (lambda x: dataset(np.full(x.shape, "a")), "`frames` must"),
    "no batches": (lambda x: dataset(x).take(0), "no batch|empty"),
}


@pytest.mark.parametrize("mistake", DATASETS)
def test_bad_datasets(mistake):
    make, message = DATASETS[mistake]
    with pytest.raises(ValueError, match=message):
        model_of("normal", checked=False).fit(make(good("normal")), verbose=0)


def compiled():
    model = harness.build(KINDS["normal"], structure={"num_layers": 1})
    model.compile(jit_compile=False)
    return model


def test_a_dataset_of_unknown_shapes_is_accepted():
    history = compiled().fit(generated(good("normal")), verbose=0).history
    assert np.isfinite(history["loss"]).all()


@pytest.mark.parametrize("mistake", ["nan", "mask"])
def test_a_compiled_fit_can_be_repeated_after_a_mistake(mistake):
    model, x = compiled(), good("normal")
    mask = np.ones([ROWS, STEPS - (mistake == "mask")], bool)
    wrong = x * np.nan if mistake == "nan" else x
    with pytest.raises(ValueError, match="`frames` must be finite|`mask` must have the shape"):
        model.fit(dataset({"frames": wrong, "mask": mask}), verbose=0)
    right = {"frames": x, "mask": np.ones([ROWS, STEPS], bool)}
    assert np.isfinite(model.fit(dataset(right), verbose=0).history["loss"]).all()


STRUCTURE = harness.structure_config("rnn")
EMISSION = harness.emission_config("factorized", "bernoulli")


def new(structure=(), emission=(), **kwargs):
    return SequenceModel({**STRUCTURE, **dict(structure)}, {**EMISSION, **dict(emission)}, **kwargs)


ARGUMENTS = [
    (lambda m, x: m.sample(0, 2, seed=0), "`batch_size` must be an .* at least 1; received 0"),
    (lambda m, x: m.sample(2, 0, seed=0), "`num_steps` must be an .* at least 1; received 0"),
    (lambda m, x: m.sample(2, 1.5, seed=0), "`num_steps` .*; received 1.5"),
    (lambda m, x: m.sample(2, 2, seed=-1), "`seed` .* at least 0; received -1"),
    (lambda m, x: m.sample(2, 2, seed=0, temperature=0.0), "`temperature` .* received 0.0"),
    (lambda m, x: m.sample(2, 2, seed=0, temperature=np.nan), "`temperature` .* received nan"),
    (lambda m, x: m.sample(2, 2, seed=0, prefix=x), "`prefix` .*`batch_size` = 2 .* received 3"),
    (lambda m, x: m.log_prob(x, num_samples=0), "`num_samples` .*; received 0"),
    (lambda m, x: m.log_prob(x, seed=1.5), "`seed` .*; received 1.5"),
    (lambda m, x: m.log_prob(x, protocol="papers"), "unknown `protocol` 'papers'.*'paper'"),
    (lambda m, x: m.fit(x, batch_size=0), "`batch_size` .* received 0"),
    (lambda m, x: m.fit(dataset(x), batch_size=2), "`batch_size` must be None for a dataset"),
    (lambda m, x: m.fit(data.streams(x, 2, 2), batch_size=2), "`batch_size` must be None"),
    (lambda m, x: m.fit(x, x), "`y` must be None"),
    (lambda m, x: m.evaluate(x, x), "`y` must be None"),
    (lambda m, x: m.fit(x, validation_split=1.5), r"`validation_split` .* \(0, 1\); received 1.5"),
    (lambda m, x: m.fit(x, validation_split=0.9), "`validation_split` .* received 0.9 for 3 rows"),
    (lambda m, x: m.fit(dataset(x), validation_split=0.5), "`validation_split` needs arrays"),
    (lambda m, x: m.fit(x, sample_weight=np.ones(3)), "`sample_weight` is not supported"),
    (lambda m, x: m.fit({"frames": x, "msk": x}), r"accepted|must be .*received keys .*msk"),
    (lambda m, x: m.fit({"frames": x, "previous": x[:2]}), "`previous` must have the shape"),
    (lambda m, x: m.fit(object()), "the data must be an array"),
    (lambda m, x: m.fit(iter([])), "is empty: it holds no batch"),
    (lambda m, x: m.fit(iter([x]), epochs=2), "`steps_per_epoch` must say .*epochs=2"),
    (lambda m, x: m.fit(x, sample_weight=np.zeros(3)), "`sample_weight` is not supported"),
    (lambda m, x: m.fit(x, class_weight={0: 1.0}), "`class_weight` is not supported"),
    (lambda m, x: m.train_on_batch(x, x), "`y` must be None"),
    (lambda m, x: m.test_on_batch(x, sample_weight=np.ones(3)), "`sample_weight` is not"),
    (lambda m, x: m(x, training=True, seed=-1), "`seed` .*; received -1"),
    (lambda m, x: m.compile(loss="mse"), "`loss` must be None.*received 'mse'"),
    (lambda m, x: m.compile(metrics=["mae"]), r"`metrics` must be None.*received \['mae'\]"),
    (lambda m, x: m.compile(weighted_metrics=["mae"]), "`weighted_metrics` must be None"),
    (lambda m, x: m.compile(loss_weights=[2.0]), "`loss_weights` must be None"),
    (lambda m, x: m.export("x", format="onnx"), "unknown `format` 'onnx'"),
    (lambda m, x: m.export("x", input_signature=[x]), "does not take input_signature"),
    (lambda m, x: new({"class": "rn"}), "unknown structure 'rn'.*Did you mean 'rnn'"),
    (lambda m, x: type(m)(None, m.emission), "`structure` must be a Structure.*received NoneType"),
    (lambda m, x: new({"cell": "lstn"}), "unknown `cell` 'lstn'.*Did you mean 'lstm'"),
    (lambda m, x: new({"units": 0}), "`units` .*; received 0"),
    (lambda m, x: new({"dropout": 1.0}), r"`dropout` must be in \[0, 1\); received 1.0"),
    (lambda m, x: new(emission={"class": "factorised"}), "unknown emission.*'factorized'"),
    (lambda m, x: new(emission={"likelihood": "bernouli"}), "unknown likelihood.*'bernoulli'"),
    (lambda m, x: new(emission={"event_size": 2}, event_size=3), "`event_size` .*2; received 3"),
    (lambda m, x: new(emission={"event_size": 0}), "`event_size` .*; received 0"),
    (lambda m, x: new(event_size=0), "`event_size` .*; received 0"),
    (lambda m, x: new(window=0), "`window` .*; received 0"),
    (lambda m, x: new(seed=-1), "`seed` .*; received -1"),
    (lambda m, x: KLSchedule(increment=-1.0), "`increment` .*; received -1.0"),
    (lambda m, x: likelihoods.GaussianMixture(0), "`num_components` .*; received 0"),
    (lambda m, x: likelihoods.GaussianMixture(2.5), "`num_components` .*; received 2.5"),
    (lambda m, x: zoo.build("f_rnn_bahc"), "unknown recipe 'f_rnn_bahc'.*'f_rnn_bach'"),
    (lambda m, x: recipes.get("frnn_muse"), "unknown recipe 'frnn_muse'.*'f_rnn_muse'"),
    (lambda m, x: data.load("nottinghm"), "'nottinghm' is not a data set.*'nottingham'"),
]


@pytest.mark.parametrize("number", range(len(ARGUMENTS)))
def test_bad_arguments(number):
    act, message = ARGUMENTS[number]
    with pytest.raises(ValueError, match=message):
        act(model_of("normal"), good("normal"))


def test_integers_of_numpy_are_integers():
    assert model_of("normal").sample(np.int64(2), np.int32(3), seed=np.int64(0)).shape == [2, 3, 3]


@pytest.mark.parametrize("way", WAYS)
def test_no_call_changes_the_arrays_it_is_given(way, kind):
    x = good(kind)
    before = x.copy()
    WAYS[way](model_of(kind), x)
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("way", MASK_WAYS)
def test_no_call_changes_the_mask_it_is_given(way):
    x, mask = good("normal"), harness.lengths_mask([5, 2, 3], STEPS)
    given = x.copy(), mask.copy()
    MASK_WAYS[way](model_of("normal"), *given)
    np.testing.assert_array_equal(given[0], x)
    np.testing.assert_array_equal(given[1], mask)


DAMAGE = {
    "empty": lambda content: b"",
    "cut": lambda content: content[: len(content) // 2],
    "end": lambda content: content[:-100],
    "text": lambda content: b"no weights",
    "zeros": lambda content: content[: len(content) // 2] + bytes(len(content) // 2),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_checkpoint_is_named(damage, tmp_path):
    model, path = harness.build(KINDS["normal"]), tmp_path / "checkpoint.weights.h5"
    runs.save_weights(model, path)
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    with pytest.raises(ValueError, match="checkpoint.weights.h5 is damaged"):
        runs.load_weights(model, path)
    runs.save_weights(harness.build(KINDS["normal"], structure={"units": 6}), path)
    with pytest.raises(ValueError, match="checkpoint.weights.h5 is .*of another model"):
        runs.load_weights(model, path)


def no_space(*args, **kwargs):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("where", ["save", "replace", "write"])
def test_a_full_disk_leaves_nothing_half_written(where, tmp_path, monkeypatch):
    model, path = harness.build(KINDS["normal"]), tmp_path / "best.weights.h5"
    runs.save_weights(model, path)
    before = path.read_bytes()
    model.step.assign(7)
    if where == "save":
        monkeypatch.setattr(model, "save_weights", lambda file: (file.write_text("x"), no_space()))
    elif where == "replace":
        monkeypatch.setattr(os, "replace", no_space)
    with pytest.raises(OSError, match="cannot write .*best.weights.h5.*No space left on device"):
        if where == "write":
            with replacing(path) as temporary:
                temporary.write_text("half")
                no_space()
        runs.save_weights(model, path)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == before

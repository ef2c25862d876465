"""Kinds of data that Keras users bring: batches of any iterable, one batch at a time, tuples."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from srnn_tf import data
from tests import harness

RNN = harness.cases(structure="rnn", cell="lstm", likelihood="normal", flat=False)[0]
VRNN = harness.cases(structure="vrnn", cell="lstm", likelihood="normal", flat=False)[0]
FULL = {
    "frames": harness.frames(RNN, 6, 5),
    "mask": harness.lengths_mask([5, 2, 4, 1, 3, 5], 5),
}


def batches():
    return [{k: v[i : i + 2] for k, v in FULL.items()} for i in range(0, 6, 2)]


class Indexed(keras.utils.PyDataset):
    """What Keras reads by the number of a batch."""

    def __init__(self, change=lambda batch: batch):
        super().__init__()
        self.change, self.ends = change, 0

    def __len__(self):
        return 3

    def __getitem__(self, index):
        return self.change(batches()[index])

    def on_epoch_end(self):
        self.ends += 1


class Tensor:
    """A tensor of PyTorch, as far as NumPy sees it: on a device, and in a graph of gradients."""

    def __init__(self, array, ready=False):
        self.array, self.ready = array, ready

    def detach(self):
        return self

    def cpu(self):
        return Tensor(self.array, ready=True)

    def __array__(self, dtype=None, copy=None):
        if not self.ready:
            raise TypeError("can't convert cuda:0 device type tensor to numpy")
        return np.asarray(self.array, dtype)


class Loader:
    """A `DataLoader` of PyTorch: an iterable with a length, which starts anew."""

    def __init__(self, change=lambda batch: batch):
        self.change = change

    def __len__(self):
        return 3

    def __iter__(self):
        return map(self.change, batches())


def tensors(batch):
    return {k: Tensor(v) for k, v in batch.items()}


KINDS = {
    "PyDataset": Indexed,
    "PyDataset of tuples": lambda: Indexed(lambda batch: (batch, None)),
    "DataLoader": lambda: Loader(tensors),
    "DataLoader of lists": lambda: Loader(lambda batch: [batch]),
    "iterable of tensors": lambda: Loader(lambda b: {k: tf.constant(v) for k, v in b.items()}),
}


def compiled(case=RNN):
    model = harness.build(case, structure={"num_layers": 1} if case is RNN else {})
    model.compile(keras.optimizers.SGD(0.1), run_eagerly=True)
    return model


@pytest.fixture(scope="module")
def right():
    """What arrays give: losses of two epochs, and of the model then metrics and predictions."""
    model = compiled()
    losses = model.fit(FULL, batch_size=2, shuffle=False, epochs=2, verbose=0).history["loss"]
    scores = model.predict(FULL, batch_size=2, verbose=0)["log_likelihood"]
    return model, losses, model.evaluate(FULL, batch_size=2, verbose=0), scores


@pytest.mark.filterwarnings("error:Your input ran out of data")
@pytest.mark.parametrize("kind", KINDS)
def test_iterables_of_batches(kind, right):
    model, losses, metrics, scores = right
    given, held_out = KINDS[kind](), KINDS[kind]()
    history = compiled().fit(given, epochs=2, verbose=0, validation_data=held_out).history
    np.testing.assert_allclose(history["loss"], losses, rtol=1e-5)
    if isinstance(given, Indexed):
        assert given.ends == 2
    np.testing.assert_allclose(model.evaluate(held_out, verbose=0), metrics, rtol=1e-5)
    found = model.predict(held_out, verbose=0)["log_likelihood"]
    np.testing.assert_allclose(found, scores, rtol=1e-5, atol=1e-6)


def test_generators(right):
    model, losses, metrics, _ = right
    endless = itertools.cycle(batches())
    history = compiled().fit(endless, epochs=2, steps_per_epoch=3, verbose=0).history
    np.testing.assert_allclose(history["loss"], losses, rtol=1e-5)
    once = compiled().fit(iter(batches()), verbose=0).history["loss"]
    np.testing.assert_allclose(once, losses[:1], rtol=1e-5)
    endless = itertools.cycle(batches())
    np.testing.assert_allclose(model.evaluate(endless, steps=3, verbose=0), metrics, rtol=1e-5)


def spoiled(place, value):
    found = batches()
    found[place] = value
    return found


WRONG = {
    "targets": ([(b, b) for b in batches()], "one tensor or dict; received 2 members"),
    "first": (spoiled(0, FULL["frames"] * np.nan), "`frames` must be finite"),
    "later": (spoiled(1, {**batches()[1], "frames": np.full([2, 5, 3], np.inf)}), "must be finite"),
    "members": (spoiled(1, FULL["frames"]), "each batch must hold .*mask"),
    "width": ([FULL["frames"][..., :2]], "3 values per step"),
    "unequal": ([[[[1.0] * 3], [[1.0] * 3] * 2]], "`frames` must"),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_wrong_batches_of_a_generator(mistake):
    given, message = WRONG[mistake]
    with pytest.raises(ValueError, match=message):
        compiled().fit(iter(given), verbose=0)


def test_a_length_that_is_wrong(monkeypatch):
    monkeypatch.setattr(Loader, "__len__", lambda self: 4)
    with pytest.raises(ValueError, match="the Loader has length 4 and yields 3"):
        compiled().fit(Loader(), verbose=0)


def test_an_error_of_the_generator_is_told():
    def broken():
        yield batches()[0]
        raise RuntimeError("the disk is gone")

    with pytest.raises(Exception, match="the disk is gone"):
        compiled().fit(broken(), verbose=0)


BATCHES = {
    "array": FULL["frames"],
    "list": FULL["frames"].tolist(),
    "dict": FULL,
    "no mask": {"frames": FULL["frames"], "mask": None, "previous": None},
    "tuple": (FULL["frames"], None),
    "tensor": Tensor(FULL["frames"]),
    "filled up": data.batches(FULL["frames"], 8)[0],
}


@pytest.mark.parametrize("kind", BATCHES)
def test_one_batch_at_a_time(kind):
    model, batch = compiled(), BATCHES[kind]
    whole = FULL if kind == "dict" else FULL["frames"]
    before = model.evaluate(whole, verbose=0, return_dict=True)
    found = model.test_on_batch(batch, return_dict=True)
    assert found == pytest.approx(before, rel=1e-5)
    assert model.train_on_batch(batch, return_dict=True) == pytest.approx(before, rel=1e-5)
    assert int(model.step) == 1
    other = compiled()
    other.fit(whole, verbose=0)
    for a, b in zip(model.weights, other.weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("how", [{"run_eagerly": True}, {"jit_compile": True}], ids=str)
def test_predict_scores_as_a_call_does(how):
    model, mask = harness.build(VRNN), FULL["mask"]
    model.compile(**how)
    frames = harness.frames(VRNN, 6, 5)
    right = model(frames, previous=frames, mask=mask)
    given = {"frames": frames, "previous": frames, "mask": mask}
    for found in (model.predict(given, batch_size=4, verbose=0), model.predict_on_batch(given)):
        for name in ("log_likelihood", "kl"):
            np.testing.assert_allclose(found[name], right[name], rtol=1e-4, atol=1e-5)


def test_validation_split_holds_out_the_last_rows():
    def fitted(given, **how):
        how = {"batch_size": 2, "shuffle": False, "epochs": 2, "verbose": 0, **how}
        return compiled().fit(given, **how).history

    parts = [{k: v[part] for k, v in FULL.items()} for part in (slice(4), slice(4, None))]
    right, found = fitted(parts[0], validation_data=parts[1]), fitted(FULL, validation_split=0.3)
    assert set(found) == set(right)
    for name, values in right.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-5, err_msg=name)
    assert fitted(FULL, validation_split=0.3, validation_data=(FULL, None))[
        "loss"
    ] == pytest.approx(fitted(FULL)["loss"])


def noise_of_calls(model, *seeds, steps=(0,)):
    x, found = tf.constant(harness.frames(VRNN, 2, 5)), []
    for step, seed in itertools.product(steps, seeds):
        model.step.assign(step)
        found.append(float(tf.reduce_sum(model(x, training=True, seed=seed)["log_likelihood"])))
    return found


def test_each_call_of_a_loop_of_ones_own_has_its_own_noise():
    found = noise_of_calls(harness.build(VRNN), None, None, None, steps=(0, 1))
    assert len(set(found)) == 6
    assert noise_of_calls(harness.build(VRNN), None, None, None, steps=(0, 1)) == found
    # The first call at a step draws what it would draw in any loop that counts updates.
    assert noise_of_calls(harness.build(VRNN), None, steps=(1,)) == found[3:4]


def test_a_seed_fixes_the_noise_of_a_call():
    model = harness.build(VRNN)
    one, same, other = noise_of_calls(model, 1, 1, 2)
    assert one == same != other
    assert noise_of_calls(model, tf.constant(1)) == [one]
    x = harness.frames(VRNN, 2, 5)
    found = [model(x, seed=seed)["log_likelihood"].numpy() for seed in (1, 1, 2, None)]
    assert np.array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2]) and not np.array_equal(found[0], found[3])


@pytest.mark.parametrize("xla", [False, True])
def test_calls_in_a_compiled_loop_differ(xla):
    model, x = harness.build(VRNN), tf.constant(harness.frames(VRNN, 2, 5))

    @tf.function(jit_compile=xla, autograph=False)
    def call():
        return tf.reduce_sum(model(x, training=True)["log_likelihood"])

    assert len({float(call()) for _ in range(3)}) == 3

"""Training: what `fit` accepts, what it minimizes, what it reports."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from srnn_tf import ELBO, KLSchedule, data
from srnn_tf.training import metrics
from tests import harness

RNN = harness.cases(structure="rnn", cell="lstm", likelihood="bernoulli", flat=False)[0]
SRNN = harness.cases(structure="parallel_srnn", cell="lstm", likelihood="bernoulli", flat=False)[0]
MASK = harness.lengths_mask([5, 2, 4, 5, 1], 5)
EXACT = {"loss", "bound", "log_likelihood"}
NAMES = EXACT | {"kl", "kl_weight", "active_units"}


def compiled(case, optimizer="adam", model=None, **kwargs):
    """A fresh model whose steps run eagerly: no compilation, for a few steps the quickest."""
    model = harness.build(case, **{"structure": {"num_layers": 1}, **(model or {})})
    model.compile(optimizer, **{"run_eagerly": True, **kwargs})
    return model


def frames(case=RNN, rows=5, steps=5):
    return harness.frames(case, rows, steps)


def batches(**arrays):
    return tf.data.Dataset.from_tensor_slices(arrays).batch(2)


KINDS = {
    "array": lambda x: x,
    "list": lambda x: x.tolist(),
    "dict with mask": lambda x: {"frames": x, "mask": MASK},
    "dict with previous": lambda x: {"frames": x[:, 1:], "previous": x[:, :-1]},
    "dataset of arrays": lambda x: tf.data.Dataset.from_tensor_slices(x).batch(2),
    "dataset of dicts": lambda x: batches(frames=x, previous=x, mask=MASK),
    "streams": lambda x: data.streams(x, 2, 3),
    "batches": lambda x: tf.data.Dataset.from_tensors(data.batches(x, 5)[0]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_fit_accepts(kind):
    model, given = compiled(RNN), KINDS[kind](frames())
    before = [w.numpy() for w in model.trainable_variables]
    size = {} if isinstance(given, (tf.data.Dataset, data.EpochDataset)) else {"batch_size": 2}
    history = model.fit(given, **size, verbose=0, validation_data=given).history
    assert set(history) == EXACT | {f"val_{name}" for name in EXACT}
    assert np.isfinite(list(history.values())).all()
    assert set(model.evaluate(given, **size, verbose=0, return_dict=True)) == EXACT
    assert int(model.step) == {"streams": 4, "batches": 1}.get(kind, 3)
    assert any(np.any(w != b) for w, b in zip(model.trainable_variables, before, strict=True))


def test_kinds_of_data_agree():
    x = frames()
    whole = {"frames": x, "mask": MASK}
    losses = [
        compiled(RNN).fit(given, verbose=0, **size).history["loss"][0]
        for given, size in [
            (whole, {"batch_size": 5, "shuffle": False}),
            (tf.data.Dataset.from_tensors(whole), {}),
            ({**whole, "previous": np.pad(x, [(0, 0), (1, 0), (0, 0)])[:, :-1]}, {"batch_size": 5}),
        ]
    ]
    np.testing.assert_allclose(losses, losses[0], rtol=1e-6)


def by_hand(model, x, mask):
    out = model(x, mask=mask)
    terms = {k: np.asarray(v) for k, v in out.items() if k in ("log_likelihood", "kl")}
    terms["bound"] = terms["log_likelihood"] - terms["kl"]
    weight = float(model.objective.kl_weight(model.step.value))
    terms["loss"] = weight * terms["kl"] - terms["log_likelihood"]
    return {k: v.sum() / mask.sum() for k, v in terms.items()} | {"kl_weight": weight}


@pytest.mark.parametrize("case", [RNN, SRNN], ids=str)
def test_evaluate_reports_means_over_real_frames(case):
    model, x = compiled(case, model={"scale": 1.5}), frames(case)
    model.step.assign(3)

    def logs(size):
        given = {"frames": x, "mask": MASK}
        return model.evaluate(given, batch_size=size, verbose=0, return_dict=True)

    found = logs(2)
    assert found == pytest.approx(logs(5), rel=1e-5)  # however it is batched
    assert set(found) == (NAMES if case.latent else EXACT)  # an exact model has no KL to tell
    for name, value in by_hand(model, x, MASK).items():
        if name not in found:
            continue
        np.testing.assert_allclose(found[name], value, rtol=1e-5, atol=1e-6, err_msg=name)
    if case.latent:
        means = model(x, mask=MASK)["posterior_mean"].numpy()[MASK]
        assert found["active_units"] == (means.var(axis=0) > 0.01).sum() > 0
    else:
        total = model.log_prob(x, MASK).numpy().sum()
        np.testing.assert_allclose(found["bound"], total / MASK.sum(), rtol=1e-5)


def test_rows_that_only_fill_a_batch_do_not_count():
    model, x = compiled(RNN), frames(rows=3)
    found = data.batches(x, 2)
    assert found[-1]["index"].tolist() == [2, -1]
    given = tf.data.Dataset.from_generator(
        lambda: iter(found),
        output_signature={k: tf.TensorSpec(v.shape, v.dtype) for k, v in found[0].items()},
    )
    score = model.evaluate(given, verbose=0, return_dict=True)["bound"]
    alone = model.evaluate(x, verbose=0, return_dict=True)["bound"]
    np.testing.assert_allclose(score, alone, rtol=1e-5)


def test_active_units_against_numpy():
    random = np.random.default_rng(0)
    means = random.normal(2.0, [0.5, 0.05, 0.11, 0.09, 0.0], [6, 7, 5]).astype(np.float32)
    mask = harness.lengths_mask([7, 3, 1, 7, 5, 6], 7)
    means[~mask] = 100.0
    metric = metrics.ActiveUnits(5)
    for part in (slice(0, 2), slice(2, 6)):
        metric.update_state(means[part], mask[part])
    assert float(metric.result()) == (means[mask].var(axis=0) > 0.01).sum() == 2
    metric.reset_state()
    metric.update_state(means)
    assert float(metric.result()) == 5


class Record(keras.callbacks.Callback):
    """The logs of every step."""

    def __init__(self):
        super().__init__()
        self.steps = []

    def on_train_batch_end(self, batch, logs=None):
        self.steps.append(dict(logs))


def test_kl_weight_follows_its_schedule_by_step():
    schedule = {"initial": 0.3, "increment": 0.25, "final": 0.7}
    model, record = compiled(SRNN, objective=ELBO(schedule)), Record()
    model.fit(frames(), batch_size=5, epochs=4, verbose=0, callbacks=[record])
    weights = [logs["kl_weight"] for logs in record.steps]
    np.testing.assert_allclose(weights, [0.3, 0.55, 0.7, 0.7], rtol=1e-6)
    assert [float(KLSchedule(**schedule)(i)) for i in range(4)] == pytest.approx(weights)
    for logs in record.steps:
        loss = logs["kl_weight"] * logs["kl"] - logs["log_likelihood"]
        np.testing.assert_allclose(logs["loss"], loss, rtol=1e-5)


def update_norm(clipnorm):
    model = compiled(SRNN, keras.optimizers.SGD(1.0), clipnorm=clipnorm)
    before = [w.numpy() for w in model.trainable_variables]
    model.fit(frames(), batch_size=5, verbose=0)
    change = [w.numpy() - b for w, b in zip(model.trainable_variables, before, strict=True)]
    return np.sqrt(sum(np.square(c).sum() for c in change))


def test_the_global_norm_of_a_gradient_is_clipped():
    free = update_norm(1e6)
    assert free > 0.1
    np.testing.assert_allclose(update_norm(0.01), 0.01, rtol=1e-3)
    np.testing.assert_allclose(update_norm(2 * free), free, rtol=1e-4)


@pytest.mark.parametrize("flat", [False, True])
def test_loss_per_value(flat):
    case = harness.cases(structure="rnn", cell="gru", likelihood="normal", flat=flat)[0]
    x = frames(case)
    per = {}
    for unit in ("step", "value"):
        model = compiled(case, loss_per=unit)
        per[unit] = model.evaluate(x, verbose=0, return_dict=True)
    np.testing.assert_allclose(per["step"]["loss"], 3 * per["value"]["loss"], rtol=1e-6)
    assert per["step"]["bound"] == per["value"]["bound"]
    np.testing.assert_allclose(per["step"]["loss"], -per["step"]["bound"], rtol=1e-6)


def learner(case, **how):
    schedule = {"initial": 1.0, "increment": 0.0, "final": 1.0}
    small = {"dropout": 0.05, "num_layers": 1}
    model = harness.build(case, scale=0.2, structure=small)
    objective = ELBO(schedule) if case.latent else "elbo"
    model.compile(keras.optimizers.Adam(0.03), clipnorm=5.0, objective=objective, **how)
    return model


@pytest.mark.parametrize("case", [RNN, pytest.param(SRNN, marks=pytest.mark.slow)], ids=str)
def test_compiled_training_learns(case):
    model = learner(case, steps_per_execution=1 if case.latent else 2)
    calls = harness.count_traces(model.emission)
    x = harness.toy(32, 8)
    history = model.fit(x, batch_size=8, epochs=20, verbose=0).history
    assert model.xla and int(model.step) == 80
    assert history["loss"][-1] < 0.6 * history["loss"][0]
    floor = 3 * np.log(0.5)  # nats per step of independent values
    assert model.log_prob(harness.toy(16, 8, seed=1)).numpy().mean() / 8 > 0.6 * floor
    eager = learner(case, run_eagerly=True).fit(x, batch_size=8, verbose=0).history
    np.testing.assert_allclose(eager["loss"], history["loss"][:1], rtol=1e-4)
    traces = len(calls)
    model.fit(x, batch_size=8, verbose=0)
    assert len(calls) == traces  # compiled once


@pytest.mark.parametrize(("case", "dropout"), [(SRNN, 0.0), (RNN, 0.5)], ids=["noise", "dropout"])
def test_randomness_differs_by_step_and_seed(case, dropout):
    def losses(seed):
        settings = {"structure": {"dropout": dropout}, "seed": seed}
        model = compiled(case, keras.optimizers.SGD(0.0), settings)
        return model.fit(frames(), batch_size=5, epochs=2, verbose=0).history["log_likelihood"]

    one, same, other = losses(0), losses(0), losses(1)
    assert one == same and one[0] != one[1] and one[0] != other[0]


@pytest.mark.parametrize("cell", harness.CELLS)
def test_mixed_bfloat16_trains(cell):
    case = harness.cases(structure="parallel_srnn", cell=cell, likelihood="mixture", flat=False)[0]
    how = {"dtype": "mixed_bfloat16", "structure": {"dropout": 0.1}}
    model, x = compiled(case, keras.optimizers.Adam(0.03), how), frames(case)
    assert {w.dtype for w in model.trainable_variables} == {"float32"}
    before = model.evaluate(x, verbose=0, return_dict=True)["bound"]
    losses = model.fit(x, batch_size=5, epochs=4, verbose=0).history["loss"]
    assert np.isfinite(losses).all()
    assert model.evaluate(x, verbose=0, return_dict=True)["bound"] > before + 0.1


@pytest.mark.parametrize("policy", ["float16", "mixed_float16"])
def test_float16_is_refused(policy):
    with pytest.raises(ValueError, match="float16 is not supported"):
        harness.build(RNN, dtype=policy).compile()


def test_xla_is_the_default():
    model = harness.build(RNN)
    model.compile()
    assert model.xla and model.jit_compile
    model.compile(jit_compile=False)
    assert not model.xla and not model.jit_compile


def test_fit_under_a_strategy():
    with tf.distribute.MirroredStrategy(["/cpu:0"]).scope():
        model = harness.build(RNN, structure={"num_layers": 1})
        model.compile()
    losses = model.fit(frames(), batch_size=5, epochs=2, verbose=0).history["loss"]
    alone = compiled(RNN).fit(frames(), batch_size=5, epochs=2, verbose=0).history["loss"]
    np.testing.assert_allclose(losses, alone, rtol=1e-4)


def test_compile_refuses():
    model = harness.build(RNN)
    with pytest.raises(ValueError, match="`clipnorm` must be positive; received -1"):
        model.compile(clipnorm=-1)
    with pytest.raises(ValueError, match="unknown `loss_per` 'values'.*'value'"):
        model.compile(loss_per="values")

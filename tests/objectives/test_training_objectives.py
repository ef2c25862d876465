"""Importance weighted and filtering objectives in training: losses, gradients, what is reported."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from srnn_tf import ELBO
from srnn_tf.core import draws
from srnn_tf.core.random import Key
from srnn_tf.training import update
from tests import harness

ROWS, STEPS, K = 3, 4, 4
MASK = harness.lengths_mask([4, 2, 3], STEPS)
OBJECTIVES = ("iwae", "fivo")
PAIRS = {
    case.structure: case
    for case in harness.cases(cell="lstm", likelihood="bernoulli", flat=False)
    if case.structure in ("vrnn", "zforcing", "parallel_srnn")
}
X = harness.frames(PAIRS["vrnn"], ROWS, STEPS)


def compiled(name, objective="elbo", num_samples=1, model=None, **how):
    """A fresh model whose steps run eagerly: no compilation, for a few steps the quickest."""
    model = harness.build(PAIRS[name], **(model or {}))
    how = {"run_eagerly": True, **how}
    model.compile(objective=objective, num_samples=num_samples, **how)
    return model


def batch():
    return {"frames": tf.constant(X), "mask": tf.constant(MASK)}


def said(model, frames=None, training=False):
    """What the objective says of a batch, and the loss."""
    frames = frames or batch()
    key = update.training_key(model) if training else None
    return update._loss(model, frames, key, update.real_frames(frames))


def score(model, **how):
    """`log_prob` of the batch, not compiled, summed."""
    tf.config.run_functions_eagerly(True)
    try:
        return model.log_prob(X, MASK, **how).numpy().sum()
    finally:
        tf.config.run_functions_eagerly(False)


def calls(model, num_samples):
    """What a call says with each of the draws of the fixed table, (K, ROWS, STEPS)."""
    found = []
    for sample in range(num_samples):
        noise = tf.repeat(harness.table_noise(model, STEPS, sample), ROWS, axis=0)
        found.append(model(X, mask=MASK, noise=noise))
    return {name: np.stack([out[name] for out in found]) for name in harness.PER_FRAME}


@pytest.mark.parametrize("name", ["vrnn", "zforcing"])
def test_evaluate_reports_the_importance_weighted_bound(name):
    model = compiled(name, "iwae", K)
    found = model.evaluate(batch(), verbose=0, return_dict=True)
    bound = score(model, num_samples=K, bound="iwae")
    draws = {name: x.mean(axis=0).sum() for name, x in calls(model, K).items()}
    wanted = {
        "bound": bound,
        "kl": draws["kl"],
        "log_likelihood": draws["log_likelihood"],
        "loss": -bound - draws["auxiliary"],
    }
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value / MASK.sum(), rtol=1e-4, err_msg=name)
    assert found["kl_weight"] == 1.0


@pytest.mark.parametrize("name", ["vrnn", "zforcing", "parallel_srnn"])
def test_evaluate_reports_the_filtering_bound(name):
    model = compiled(name, "fivo", K)
    found = model.evaluate(batch(), verbose=0, return_dict=True)
    bound = score(model, num_samples=K, bound="fivo")
    np.testing.assert_allclose(found["bound"], bound / MASK.sum(), rtol=1e-4)
    terms, loss = said(model)
    np.testing.assert_allclose(loss, terms.value / MASK.sum(), rtol=1e-5)
    np.testing.assert_allclose(found["loss"], loss, rtol=1e-5)
    auxiliary = -float(terms.value) - np.sum(terms.bound)
    assert found["kl_weight"] == 1.0 and (abs(auxiliary) > 1e-2) == (name == "zforcing")
    if name == "parallel_srnn":  # its KL does not depend on the draws
        kl = np.sum(model(X, mask=MASK)["kl"]) / MASK.sum()
        np.testing.assert_allclose(found["kl"], kl, rtol=1e-5)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("name", ["vrnn", "zforcing"])
def test_one_sample_says_what_a_call_says(name, objective):
    model = compiled(name, objective)
    terms, _ = said(model)
    noise = harness.table_noise(model, STEPS)
    if objective == "fivo":
        drawn, _ = draws.filter_noise(Key(draws.filter_seed()), model.latent_size, STEPS, 1, 1)
        noise = tf.transpose(drawn[:, 0], [1, 0, 2])
    out = model(X, mask=MASK, noise=tf.repeat(noise, ROWS, axis=0))
    for term in ("log_likelihood", "kl"):
        found = getattr(terms, term)
        np.testing.assert_allclose(found, out[term], rtol=1e-4, atol=1e-5, err_msg=term)
    auxiliary = -float(terms.value) - np.sum(terms.bound)
    np.testing.assert_allclose(auxiliary, np.sum(out["auxiliary"]), rtol=1e-3, atol=1e-4)
    bound = np.sum(out["log_likelihood"] - out["log_ratio"], axis=1)
    found = np.sum(np.reshape(terms.bound, [ROWS, -1]), axis=1)
    np.testing.assert_allclose(found, bound, rtol=1e-4)


def loss_and_gradients(model):
    with tf.GradientTape() as tape:
        _, loss = said(model, training=True)
    return float(loss), tape.gradient(loss, model.trainable_variables)


@pytest.mark.parametrize("name", ["vrnn", "zforcing"])
def test_draws_at_once_change_nothing(name):
    one, *others = (
        loss_and_gradients(compiled(name, "iwae", K, max_samples=most)) for most in (1, 2, 4)
    )
    for loss, gradients in others:
        np.testing.assert_allclose(loss, one[0], rtol=1e-5)
        for a, b in zip(gradients, one[1], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("num_samples", [1, 3])
@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("name", ["vrnn", "zforcing"])
def test_gradients_match_finite_differences(name, objective, num_samples):
    changes = {"alpha": 0.0} if name == "zforcing" else {}  # its gradient is stopped
    model = compiled(name, objective, num_samples, {"structure": changes, "scale": 0.3})
    weights, random = model.trainable_variables, np.random.default_rng(0)
    direction = [random.normal(size=w.shape).astype(np.float32) for w in weights]
    _, gradients = loss_and_gradients(model)
    analytic = sum(np.sum(g * d) for g, d in zip(gradients, direction, strict=True))
    start = [w.numpy() for w in weights]

    def moved(size):
        for w, v, d in zip(weights, start, direction, strict=True):
            w.assign(v + size * d)
        return float(said(model, training=True)[1])

    numeric = (moved(1e-3) - moved(-1e-3)) / 2e-3
    np.testing.assert_allclose(analytic, numeric, rtol=0.01)
    assert all(np.any(g) for g in gradients)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_training_draws_differ_by_row_sample_and_step(objective):
    model, frames = compiled("vrnn", objective, 2), {"frames": np.repeat(X[:1], ROWS, axis=0)}

    def drawn():
        return np.asarray(said(model, frames, training=True)[0].bound)

    one = drawn()
    assert len(np.unique(one)) == one.size
    np.testing.assert_array_equal(drawn(), one)
    model.step.assign_add(1)
    assert not np.any(drawn() == one)


def test_free_nats_are_in_the_loss_alone():
    plain, free = (
        compiled("vrnn", ELBO({"initial": 0.5}, free_nats=nats), num_samples=None)
        for nats in (0.0, 2.0)
    )
    reported, changed = (m.evaluate(batch(), verbose=0, return_dict=True) for m in (plain, free))
    for name in ("kl", "bound", "log_likelihood", "kl_weight"):
        assert changed[name] == reported[name]
    kl = plain(X, mask=MASK)["kl"].numpy()[MASK]
    assert (kl < 2.0).any() and (kl > 2.0).any()
    pressed = 0.5 * np.maximum(kl, 2.0).mean() - reported["log_likelihood"]
    np.testing.assert_allclose(changed["loss"], pressed, rtol=1e-5)
    assert changed["loss"] > reported["loss"] + 0.01


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_an_update_raises_the_bound(objective):
    model = compiled("zforcing", objective, 2, optimizer=keras.optimizers.Adam(0.03))
    start = [w.numpy() for w in model.trainable_variables]
    before = np.sum(said(model)[0].bound)
    model.train_step(batch())
    assert np.sum(said(model)[0].bound) > before + 0.1
    assert all(np.all(w != s) for w, s in zip(model.trainable_variables, start, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "objective"), [("vrnn", "iwae"), ("zforcing", "fivo")])
def test_compiled_training_is_eager_training(name, objective):
    logs = []
    for how in ({"run_eagerly": True}, {"run_eagerly": False, "jit_compile": True}):
        changes = {"structure": {"dropout": 0.1}}
        model = compiled(name, objective, K, changes, max_samples=2, **how)
        history = model.fit({"frames": X, "mask": MASK}, epochs=3, verbose=0).history
        logs.append([history["loss"], history["bound"], history["kl"]])
    np.testing.assert_allclose(logs[1], logs[0], rtol=1e-3)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_frozen_layers_are_read_and_do_not_move(objective):
    model = compiled("vrnn", objective, K, max_samples=2)
    model.emission.trainable = False
    before = [w.numpy() for w in model.emission.weights]
    others = [w.numpy() for w in model.structure.weights]
    model.fit(X, batch_size=ROWS, verbose=0)
    for now, then in zip(model.emission.weights, before, strict=True):
        np.testing.assert_array_equal(now, then)
    assert all(np.any(w != o) for w, o in zip(model.structure.weights, others, strict=True))
    model.trainable = False
    assert np.isfinite(score(model, num_samples=K, bound=objective))

"""Gradients through draws of bits: their expectation is the gradient, whatever is subtracted."""

import importlib
import itertools
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from srnn_tf import ELBO, FIVO, IWAE, SequenceModel, objectives, structures
from srnn_tf.core.random import Key
from srnn_tf.objectives import evidence, importance_weighted, score_function
from srnn_tf.objectives.importance import weights_of
from tests import harness

STEPS, D = 2, 2
PATHS = np.array(list(itertools.product((0, 1), repeat=STEPS)), np.float32).reshape(-1, STEPS, 1)
NOISE = tf.constant(np.where(PATHS > 0.0, -6.0, 6.0), tf.float32)
FRAMES = np.array([[[1, 0], [1, 1]]], np.float32)
ONE = {"initial": 0.7, "increment": 0.0, "final": 1.0}  # a weight of the KL of its own


@pytest.fixture(scope="module", autouse=True)
def coins():
    """The module of the extension, registered until the tests of this file end."""
    before = dict(structures.STRUCTURES)
    yield importlib.import_module("tests.extension.coins")
    structures.STRUCTURES.clear()
    structures.STRUCTURES.update(before)
    del sys.modules["tests.extension.coins"]


@pytest.fixture
def model(coins):
    """One coin a step, whose prior is a chain: the second one's KL depends on the first."""
    made = SequenceModel(coins.Coins(1), {"class": "factorized", "event_size": D})
    made.xla = False
    return harness.randomize(made, 1.0)


def one(density, path):
    terms = density.terms(density.batch(FRAMES), NOISE[path : path + 1])
    return terms, tf.exp(tf.reduce_sum(terms.score))


def gradients(model, value):
    with tf.GradientTape() as tape:
        total = value()
    weights = [w.value for w in model.trainable_variables]
    return tape.gradient(total, weights, unconnected_gradients="zero")


def same(found, expected, model):
    for weight, a, b in zip(model.trainable_variables, found, expected, strict=True):
        if not weight.path.endswith("baseline"):
            np.testing.assert_allclose(a, b, 1e-3, 1e-5, err_msg=weight.path)
    assert max(float(np.abs(b).max()) for b in expected) > 0.05


def elbo_of(density, terms, weight=0.7, free=0.0):
    return tf.reduce_sum(terms.log_likelihood - weight * tf.maximum(terms.kl, free))


@pytest.mark.parametrize("free_nats", [0.0, 0.4])
@pytest.mark.parametrize("signal", [(0.0, 1.0), (2.5, 0.5)])
def test_the_expected_gradient_of_the_elbo_is_exact(model, signal, free_nats, monkeypatch):
    """Baselines and a running mean change the noise of the estimate, not what it estimates."""
    density, objective = model.density, ELBO(ONE, free_nats)
    objective.build(density)
    for variable, value in zip(objective.variables, signal, strict=True):
        variable.assign(value)
    q = [tf.stop_gradient(one(density, p)[1]) for p in range(len(PATHS))]

    def estimated():
        total = 0.0
        for p in range(len(PATHS)):
            monkeypatch.setattr(evidence, "noise_of", lambda *_, p=p: NOISE[p : p + 1])
            loss = objective.loss(density, density.batch(FRAMES), None, tf.constant(0))
            total -= q[p] * loss.value
        return total

    def exact():
        pairs = (one(density, p) for p in range(len(PATHS)))
        return sum(q * elbo_of(density, terms, free=free_nats) for terms, q in pairs)

    np.testing.assert_allclose(estimated(), exact(), rtol=1e-5)  # the loss says what it is
    same(gradients(model, estimated), gradients(model, exact), model)


@pytest.mark.parametrize("num_samples", [1, 2])
def test_the_expected_gradient_of_vimco_is_that_of_the_iwae_bound(model, num_samples, monkeypatch):
    density, batch = model.density, model.density.batch(FRAMES)

    def noise(seed):
        return tf.gather(NOISE, seed[0])[None]

    def importance(density, batch, key, *_):
        return weights_of(density, batch, drawn, noise, num_samples)

    monkeypatch.setattr(importance_weighted, "importance", importance)
    combinations = list(itertools.product(range(len(PATHS)), repeat=num_samples))
    estimated, exact = [], []
    for chosen in combinations:
        drawn = tf.constant([[p, 0] for p in chosen])

        def probability(chosen=chosen):
            return tf.reduce_prod([one(density, p)[1] for p in chosen])

        q = tf.stop_gradient(probability())

        def estimate(q=q):
            return -q * IWAE(num_samples).loss(density, batch, None, tf.constant(0)).value

        def truth(chosen=chosen):
            terms = [one(density, p)[0] for p in chosen]
            weights = [tf.reduce_sum(t.log_likelihood - t.log_ratio) for t in terms]
            return probability(chosen) * objectives.iwae(tf.stack(weights))

        np.testing.assert_allclose(estimate(), truth(), rtol=1e-4)
        estimated.append(gradients(model, estimate))
        exact.append(gradients(model, truth))
    estimated, exact = ([sum(g) for g in zip(*all_, strict=True)] for all_ in (estimated, exact))
    same(estimated, exact, model)


def test_leaving_one_out():
    weights = np.random.default_rng(0).normal(size=[3, 2]).astype(np.float32)
    for k in range(3):
        others = weights.copy()
        others[k] = np.delete(weights, k, axis=0).mean(axis=0)
        found = score_function.leave_one_out(tf.constant(weights))[k]
        np.testing.assert_allclose(found, np.log(np.exp(others).mean(axis=0)), rtol=1e-5)
    assert not np.any(score_function.leave_one_out(tf.constant(weights[:1])))


def test_padding_earns_nothing(model):
    """Neither in the loss's gradient nor in the running signal."""
    frames = np.tile(FRAMES, [3, 1, 1])
    alone = model.density.batch(frames)
    padded = np.pad(frames, [(0, 0), (0, 2), (0, 0)], constant_values=1.0)
    mask = tf.constant(np.arange(4) < np.array([[2]] * 3))
    padded = model.density.batch(padded, mask=mask)
    found = []
    for batch in (alone, padded):

        def value(batch=batch):
            loss = ELBO(ONE).loss(model.density, batch, None, tf.constant(0))
            found.append(loss.observed)
            return loss.value

        found.append(gradients(model, value))
    np.testing.assert_allclose(found[0], found[2], rtol=1e-5)
    same(found[1], found[3], model)


def test_the_running_signal_is_trained_on_saved_and_restored(model, tmp_path):
    model.compile(keras.optimizers.SGD(0.0), objective=ELBO(ONE), run_eagerly=True)
    x = harness.toy(4, STEPS, width=D)
    loss = model.objective.loss(model.density, model.density.batch(x), _key(model), 0)
    count, total, squares = loss.observed.numpy()
    assert count == 4 * STEPS
    model.fit(x, batch_size=4, verbose=0)
    mean, variance = (float(v) for v in model.objective.variables)
    np.testing.assert_allclose(mean, 0.2 * total / count, rtol=1e-4)
    spread = squares / count - (total / count) ** 2
    np.testing.assert_allclose(variance, 0.2 * spread, rtol=1e-3, atol=1e-6)
    assert not any(v is w for v in model.objective.variables for w in model.trainable_variables)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert [float(v) for v in again.objective.variables] == [mean, variance]
    # A model whose draws are differentiable owns nothing.
    other = harness.build(harness.cases(structure="vrnn", cell="lstm", flat=False)[0])
    other.compile()
    assert not other.objective.variables and not hasattr(other, "objective_state")


def _key(model):
    from srnn_tf.training import update

    return update.training_key(model)


@pytest.mark.parametrize("objective", [ELBO(ONE), ELBO(ONE, reward="local"), IWAE(3)], ids=repr)
def test_compiled_training_raises_the_bound(model, objective):
    x = harness.toy(16, 4, width=D)
    before = float(tf.reduce_mean(model.log_prob(x, bound="iwae", num_samples=8)))
    model.compile(keras.optimizers.Adam(0.05), clipnorm=5.0, objective=objective, jit_compile=True)
    history = model.fit(x, batch_size=16, epochs=40, verbose=0).history
    model.xla = False
    after = float(tf.reduce_mean(model.log_prob(x, bound="iwae", num_samples=8)))
    assert after > before + 0.3 and np.isfinite(history["loss"]).all()


def test_objectives_that_would_leave_out_the_posterior_are_refused(model):
    with pytest.raises(ValueError, match="must be ELBO or IWAE .* not differentiable.*FIVO"):
        model.compile(objective="fivo")
    assert np.isfinite(model.log_prob(FRAMES, bound="fivo", num_samples=4)).all()
    weights = objectives.importance(model.density, model.density.batch(FRAMES), Key([1, 2]), 2)
    with pytest.raises(ValueError, match="draws are differentiable"):
        weights.loss(objectives.iwae(weights.log_weights), model.density)
    with pytest.raises(ValueError, match="unknown `reward` 'locale'. Did you mean 'local'"):
        ELBO(reward="locale")
    assert FIVO.trains_score_function is False

"""Emissions without a partition function: how they are trained, estimated and refused."""

import importlib
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from srnn_tf import AIS, ELBO, RAISE, Exact, SequenceModel, emissions, objectives
from srnn_tf.core.random import Key
from tests import harness

D = 4


@pytest.fixture(scope="module", autouse=True)
def ising():
    """The module of the extension, registered until the tests of this file end."""
    before = dict(emissions.EMISSIONS)
    yield importlib.import_module("tests.extension.ising")
    emissions.EMISSIONS.clear()
    emissions.EMISSIONS.update(before)
    del sys.modules["tests.extension.ising"]


def made(emission, structure="rnn", **changes):
    """A model of weights that make frames depend within, and 5 sequences of 2 frames for it."""
    config = {"rnn": {"units": 3, "embedding_size": 2}, "vrnn": harness.STRUCTURES["vrnn"][0]}
    model = SequenceModel({"class": structure, **config[structure]}, emission)
    model.xla = False
    return harness.randomize(model, 1.0), harness.all_binary(1, D)[::3].reshape(3, 2, D)


def both(**changes):
    """The same RBM, one with and one without its partition function."""
    models = [made(emissions.RBM(D, num_hidden=5, **how, **changes))[0] for how in ({}, ROUGH)]
    assert [m.density.normalized for m in models] == [True, False]
    return models


ROUGH = {"normalized": False}


def exact_of(distribution, x):
    frames = tf.constant(harness.all_binary(1, D)[:, None])
    log_partition = tf.reduce_logsumexp(-distribution.free_energy(frames), axis=0)
    return -distribution.free_energy(x) - log_partition


@pytest.mark.parametrize("name", ["ising", "rbm"])
def test_estimates_agree_with_enumeration(ising, name):
    """Within 4 standard errors, and from the side that they promise."""
    emission = ising.Ising(D) if name == "ising" else emissions.RBM(D, num_hidden=5, **ROUGH)
    model, x = made(emission)
    density, batch = model.density, model.density.batch(x)
    exact = exact_of(density.distribution(batch), batch.steps)
    for cls in (AIS, RAISE):
        found = estimates(cls(300, 12), density, batch)
        assert found.error.shape == found.log_prob.shape == x.shape[:2]
        # Of RAISE the truth is that of the annealed sampler, which tends to the model.
        bias = 0.0 if cls is AIS else 0.1
        off = np.abs(found.log_prob - exact)
        assert np.all(off < 4.0 * found.error + bias) and np.max(found.error) < 0.1
    many = density.batch(np.repeat(x, 200, axis=0))  # rows have draws of their own
    means = [
        np.mean(estimates(cls(1, 2), density, many).log_prob - np.repeat(exact, 200, axis=0))
        for cls in (AIS, RAISE)
    ]
    assert means[1] < -0.005 < 0.005 < means[0]  # conservative, optimistic


def estimates(objective, density, batch):
    return tf.function(objective.estimate, autograph=False)(density, batch, Key([1, 2]))


def test_an_exact_rbm_is_what_annealing_estimates():
    exact, rough = both()
    rough.set_weights(exact.get_weights())
    x = made(emissions.RBM(D))[1]
    want = exact.log_prob(x)
    found = objectives.annealed(rough.density, x, num_samples=300, num_steps=60)
    for estimate in found:
        error = tf.sqrt(tf.reduce_sum(estimate.error**2, axis=1))
        off = np.abs(tf.reduce_sum(estimate.log_prob, axis=1) - want)
        assert np.all(off < 4.0 * error + 0.02) and np.max(error) < 0.1
    report = found.per_step()
    assert set(report) == {"ais", "raise"} and abs(report["ais"][0] - report["raise"][0]) < 0.1
    nats = np.asarray(found.ais.log_prob)
    np.testing.assert_allclose(report["ais"], (nats.mean(), nats.std() / nats.size**0.5), 1e-5)
    mask = tf.constant([[True, False]] * 3)
    np.testing.assert_allclose(
        found.per_step(mask)["raise"][0], found.raised.log_prob[:, 0].numpy().mean(), 1e-5
    )


def test_bounds_of_log_prob_are_compiled_and_their_draws_are_fixed():
    _, rough = both()
    x = made(emissions.RBM(D))[1]
    eager = RAISE(3, 5).bound(rough.density, rough.density.batch(x), None)
    for xla in (False, True):
        rough.xla = xla
        for _ in range(2):
            scores = rough.log_prob(x, bound=RAISE(3, 5))
            np.testing.assert_allclose(scores, eager, rtol=1e-4)
    rough.xla = False
    np.testing.assert_allclose(rough.log_prob(x[:1], bound=RAISE(3, 5)), eager[:1], rtol=1e-4)
    padded = np.pad(x, [(0, 0), (0, 3), (0, 0)])
    mask = np.arange(5) < np.array([[2]] * 3)
    np.testing.assert_allclose(rough.log_prob(padded, mask, bound=RAISE(3, 5)), eager, rtol=1e-4)
    by_name = rough.log_prob(x, bound="ais", num_samples=2)
    np.testing.assert_allclose(by_name, rough.log_prob(x, bound=AIS(2)), rtol=1e-5)
    assert np.all(rough.log_prob(x, bound=AIS(2, 5), seed=3) != rough.log_prob(x, bound=AIS(2, 5)))
    assert np.isnan(AIS(1, 3).estimate(rough.density, rough.density.batch(x), None).error).all()


def test_long_chains_have_the_gradient_of_maximum_likelihood(ising):
    """In expectation: data minus model."""
    model, x = made(ising.Ising(D))
    x = np.repeat(x, 1500, axis=0)
    context = model.structure(model.density.batch(x).previous).context
    emission, weights = model.emission, model.emission.trainable_variables
    with tf.GradientTape(persistent=True) as tape:
        distribution = emission(context)
        distribution.cd_steps = 12
        trained = tf.reduce_mean(distribution.trained(tf.constant(x), Key([1, 2])))
        exact = tf.reduce_mean(exact_of(distribution, tf.constant(x)))
    monitor = tf.reduce_mean(distribution.pseudo_log_likelihood(tf.constant(x)))
    np.testing.assert_allclose(trained, monitor, rtol=1e-5)
    found, want = (tape.gradient(v, [w.value for w in weights]) for v in (trained, exact))
    for a, b in zip(found, want, strict=True):
        np.testing.assert_allclose(a, b, 0, 0.02)
    assert max(np.abs(b).max() for b in want) > 0.1


@pytest.mark.parametrize("structure", ["rnn", "vrnn"])
def test_contrastive_divergence_trains(structure):
    """With XLA and without; what is logged is called what it is."""
    emission = emissions.RBM(
        D, num_hidden=5, visible_context=structure == "rnn", cd_steps=3, **ROUGH
    )
    model, _ = made(emission, structure)
    x = harness.toy(16, 4, width=D)
    model.compile(keras.optimizers.Adam(0.05), clipnorm=5.0, jit_compile=structure == "rnn")
    history = model.fit(x, batch_size=16, epochs=40, verbose=0).history
    latent = {"kl", "kl_weight", "active_units"} if structure == "vrnn" else set()
    assert set(history) == {"loss", "pseudo_log_likelihood", *latent}
    monitor = history["pseudo_log_likelihood"]
    assert np.mean(monitor[-5:]) > np.mean(monitor[:5]) + 0.5 and np.max(monitor) < 0.0
    model.xla = False
    if structure == "rnn":
        exact = SequenceModel(
            model.structure.get_config() | {"class": "rnn"}, emissions.RBM(D, num_hidden=5)
        )
        exact.xla = False
        exact.set_weights(model.get_weights())
        assert float(tf.reduce_mean(exact.log_prob(x))) / 4 > D * np.log(0.5) + 0.5
        drawn = model.sample(2, 3, seed=0)
        assert drawn.shape == (2, 3, D) and np.isin(drawn, (0.0, 1.0)).all()
    said = model(x)
    assert "pseudo_log_likelihood" in said and "log_likelihood" not in said


def test_chains_differ_by_row():
    _, rough = both()
    distribution = rough.emission(tf.zeros([20, 1, 3]))
    after = distribution._after(tf.zeros([20, 1, D]), Key([1, 2]))
    assert len(np.unique(after.numpy().reshape(20, D), axis=0)) > 3


REFUSED = [
    (lambda m, x: m.log_prob(x), "`bound` Exact.* needs log p.x.*bound=AIS.*optimistic.*RAISE"),
    (lambda m, x: m.log_prob(x, bound=Exact()), "needs log p"),
    (lambda m, x: m.evaluate(x, verbose=0), "`evaluate` needs log p"),
    (lambda m, x: m.test_on_batch(x), "`test_on_batch` needs log p"),
    (lambda m, x: m.fit(x, validation_data=x, verbose=0), "`validation_data` needs log p"),
    (lambda m, x: m.initial_states(1), "`score_step` needs log p"),
    (lambda m, x: m.score_step(x[:, 0], {}), "`score_step` needs log p"),
    (lambda m, x: m.export("nowhere"), "an export needs log p"),
    (lambda m, x: m.compile(objective=AIS()), "AIS is for `log_prob` alone"),
    (lambda m, x: m.compile(objective=RAISE()), "RAISE is for `log_prob` alone"),
    (lambda m, x: Exact().bound(m.density, m.density.batch(x), None), "a score needs log p"),
    (lambda m, x: ELBO().bound(m.density, m.density.batch(x), None), "a bound needs log p"),
    (lambda m, x: m.density.distribution(m.density.batch(x)).log_prob(x), "partition function"),
]


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_what_needs_a_density_is_refused(number):
    act, message = REFUSED[number]
    model, x = made(emissions.RBM(D, **ROUGH))
    model.compile("sgd", run_eagerly=True)
    with pytest.raises(ValueError, match=message):
        act(model, x)


def test_with_latents_too():
    model, x = made(emissions.RBM(D, **ROUGH), "vrnn")
    for name in ("iwae", "fivo"):
        with pytest.raises(ValueError, match="`objective` .* needs log p"):
            model.compile(objective=name)
        with pytest.raises(ValueError, match="`bound` .* needs log p"):
            model.log_prob(x, bound=name)
    for name in ("ais", "raise"):
        with pytest.raises(ValueError, match="without latents whose emission has normalized=False"):
            model.log_prob(x, bound=name)
    exact, _ = made(emissions.RBM(D))
    with pytest.raises(ValueError, match="without latents whose emission has normalized=False"):
        exact.log_prob(x, bound="ais")

"""Objectives and estimators as functions of weights, and what is refused of those who use them."""

import numpy as np
import pytest
import tensorflow as tf

from srnn_tf import objectives
from tests import harness

LOWEST = 1.0 - 2.0**-24  # the largest float32 under 1
WEIGHTS = {
    "equal": [0.2] * 5,
    "uneven": [0.5, 0.02, 0.25, 0.0, 0.23],
    "almost one": [1e-30, 1.0, 1e-12, 0.0, 1e-7],
    "first": [1.0, 0.0, 0.0, 0.0, 0.0],
    "last": [0.0, 0.0, 0.0, 0.0, 1.0],
    "many": np.random.default_rng(0).dirichlet(np.full(300, 0.1)),
    "single": [1.0],
}


def log(weights):
    with np.errstate(divide="ignore"):
        return tf.math.log(tf.constant(weights, tf.float32))


@pytest.mark.parametrize("name", WEIGHTS)
def test_children_are_as_many_as_weights_ask_for(name):
    weights = np.asarray(WEIGHTS[name])
    k, draws = len(weights), 97
    uniform = (np.arange(draws, dtype=np.float32) + 0.5) / draws
    ancestors, after = objectives.resample(tf.repeat(log(weights)[None], draws, 0), uniform, 2.0)
    children = np.array([np.bincount(row, minlength=k) for row in ancestors.numpy()])
    assert (np.abs(children - k * weights) < 1.0 + 1e-3).all()  # the floor or the ceiling
    np.testing.assert_allclose(children.mean(axis=0), k * weights, atol=2.0 / draws)
    np.testing.assert_allclose(after, np.full([draws, k], -np.log(k)), rtol=1e-6)


@pytest.mark.parametrize("uniform", [0.0, 0.5, LOWEST])
@pytest.mark.parametrize("name", WEIGHTS)
def test_ancestors_are_particles_that_have_weight(name, uniform):
    weights = np.asarray(WEIGHTS[name], np.float32)
    ancestors, _ = objectives.resample(log(weights)[None], tf.constant([uniform], tf.float32), 2.0)
    found = ancestors[0].numpy()
    assert found.dtype == np.int32 and (np.diff(found) >= 0).all()
    assert 0 <= found.min() and found.max() < len(weights)
    assert (weights[found] > 0.0).all()


def test_only_uneven_rows_are_resampled():
    rows = [[0.25, 0.25, 0.25, 0.25], [0.7, 0.1, 0.1, 0.1], [0.4, 0.4, 0.1, 0.1]]
    given, uniform = log(rows), tf.constant([0.5, 0.5, 0.5])
    sizes = objectives.effective_sample_size(given).numpy()
    np.testing.assert_allclose(sizes, 1.0 / np.square(rows).sum(axis=1), rtol=1e-5)
    for threshold in (0.0, 0.3, 0.5, 0.8, 1.0 - 1e-4):
        ancestors, after = objectives.resample(given, uniform, threshold)
        again = sizes < 4 * threshold
        equal = np.where(again[:, None], np.log(0.25), given)
        np.testing.assert_allclose(after, equal, rtol=1e-6)
        assert (np.all(ancestors == np.arange(4), axis=1) == ~again).all()


def test_no_gradient_passes_through_the_choice():
    given = log([[0.7, 0.1, 0.1, 0.1], [0.4, 0.3, 0.2, 0.1]])
    with tf.GradientTape() as tape:
        tape.watch(given)
        _, after = objectives.resample(given, tf.constant([0.5, 0.5]), 0.6)
        total = tf.reduce_sum(after * [[1.0, 2.0, 3.0, 4.0]])
    np.testing.assert_array_equal(tape.gradient(total, given), [[0] * 4, [1, 2, 3, 4]])


def test_effective_sample_size():
    rows = [[3.0, 3.0, 3.0, 3.0], [0.0, 0.0, 5.0, 0.0], [0.0, 2.0, 2.0, 0.0]]
    sizes = objectives.effective_sample_size(log(rows))
    np.testing.assert_allclose(sizes, [4.0, 1.0, 2.0], rtol=1e-5)
    shifted = objectives.effective_sample_size(log(rows) - 1e3)
    np.testing.assert_allclose(shifted, sizes, rtol=1e-3)


def test_iwae():
    weights = np.random.default_rng(0).normal(0.0, 2.0, [6, 3]).astype(np.float32)
    bound = objectives.iwae(weights).numpy()
    np.testing.assert_allclose(bound, np.log(np.exp(weights).mean(axis=0)), rtol=1e-5)
    np.testing.assert_allclose(objectives.iwae(weights - 1e4), bound - 1e4, rtol=1e-6)
    np.testing.assert_allclose(objectives.iwae(weights.T, axis=1), bound, rtol=1e-6)
    assert (bound > weights.mean(axis=0)).all()
    np.testing.assert_array_equal(objectives.iwae(weights[:1]), weights[0])


def test_elbo_and_free_nats():
    log_likelihood, kl = tf.constant([-3.0, -2.0, -1.0]), tf.constant([0.2, 0.5, 2.0])
    np.testing.assert_allclose(objectives.elbo(log_likelihood, kl), [-3.2, -2.5, -3.0])
    with tf.GradientTape() as tape:
        tape.watch(kl)
        value = objectives.elbo(log_likelihood, kl, 0.25, 0.5, free_nats=1.0)
        total = tf.reduce_sum(value)
    np.testing.assert_allclose(value, [-3.25, -2.25, -1.75])
    np.testing.assert_array_equal(tape.gradient(total, kl), [0.0, 0.0, -0.5])


MODELS = {
    case.structure: case
    for case in harness.cases(cell="lstm", likelihood="bernoulli", flat=False)
    if case.structure in ("vrnn", "rnn")
}
REFUSED = [
    ("vrnn", "score", {"num_samples": 0}, "`num_samples` .* at least 1; received 0"),
    ("vrnn", "compile", {"num_samples": 0}, "`num_samples` .* at least 1; received 0"),
    ("vrnn", "score", {"bound": "iwea"}, "unknown `bound` 'iwea'.*'iwae'.*elbo, exact, fivo, iwae"),
    ("vrnn", "compile", {"objective": "fvo"}, "unknown `objective` 'fvo'.*elbo, exact, fivo, iwae"),
    ("vrnn", "score", {"proposal": "q"}, "unknown `proposal` 'q'.*posterior, prior"),
    ("vrnn", "score", {"ess_threshold": -0.1}, "`ess_threshold` .* at least 0; received -0.1"),
    ("vrnn", "compile", {"free_nats": -1.0}, "`free_nats` .* at least 0; received -1.0"),
    ("vrnn", "compile", {"max_samples": 0}, "`max_samples` .* at least 1; received 0"),
    ("vrnn", "compile", {"num_samples": 2}, "`num_samples` of an ELBO must be 1 .*received 2"),
    ("rnn", "compile", {"free_nats": 1.0}, "`free_nats` belongs to the ELBO .*received 1.0"),
] + [
    refused
    for bound in ("iwae", "fivo")
    for refused in [
        ("rnn", "score", {"bound": bound}, f"`bound` must be 'elbo' .*received '{bound}'"),
        ("rnn", "compile", {"objective": bound}, f"`objective` must be 'elbo' .*'{bound}'"),
        ("vrnn", "compile", {"objective": bound, "free_nats": 1.0}, "`free_nats` belongs to"),
    ]
]


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_bad_arguments(number):
    name, act, given, message = REFUSED[number]
    model, frames = harness.shared(MODELS[name]), harness.frames(MODELS[name])
    with pytest.raises(ValueError, match=message):
        model.compile(**given) if act == "compile" else model.log_prob(frames, **given)

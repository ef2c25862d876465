"""The hidden Markov model: enumeration, symmetry, streams, states, expectation maximization."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from srnn_tf import SequenceModel
from srnn_tf.inference import hidden_states
from srnn_tf.structures import base
from srnn_tf.testing import compare
from srnn_tf.training.em import fit_em
from tests import harness

K, D, T = 3, 2, 4


def hmm(likelihood="bernoulli", event_size=D, states=K, scale=0.8, **given):
    structure = {"class": "hmm", "num_states": states}
    emission = {"class": "state_mixture", "event_size": event_size, "likelihood": likelihood}
    model = SequenceModel(structure, {**emission, "num_states": states}, **given)
    model.xla = False
    return harness.randomize(model, scale)


def probs(model):
    """pi and A, in float64."""
    parts = model.structure.initial_probs(), model.structure.transition_probs()
    return [np.asarray(p, np.float64) for p in parts]


def paths(model, x):
    """log p(x, s) of every path of states, for one sequence: (K^T, T) and (K^T,)."""
    pi, transition = probs(model)
    scores = np.asarray(model.emission.read(tf.constant(x[None])), np.float64)[0]
    every = np.array(list(itertools.product(range(len(pi)), repeat=len(x))))
    nats = np.log(pi[every[:, 0]]) + np.log(transition[every[:, :-1], every[:, 1:]]).sum(axis=1)
    return every, nats + scores[np.arange(len(x)), every].sum(axis=1)


NORMAL = {"class": "gaussian_mixture", "num_components": 1}
both = pytest.mark.parametrize("likelihood", ["bernoulli", NORMAL], ids=["bernoulli", "normal"])


@both
def test_every_path_summed_gives_the_likelihood_and_the_states(likelihood):
    kind = "bernoulli" if likelihood == "bernoulli" else "normal"
    case = harness.Case("hmm", harness.NO_CELL, "factorized", kind)
    model, frames = hmm(likelihood, scale=0.5), harness.frames(case, 3, T, event_size=D)
    mask = harness.lengths_mask([T, 1, T - 1], T)
    found = [f(model.density, frames, mask) for f in STATES]
    for row, x in enumerate(frames):
        x = x[mask[row]]
        every, joint = paths(model, x)
        p = np.exp(joint)
        np.testing.assert_allclose(model.log_prob(x[None])[0], np.log(p.sum()), rtol=1e-5)
        shares = [[p[every[:, t] == k].sum() / p.sum() for k in range(K)] for t in range(len(x))]
        np.testing.assert_allclose(found[0][row, : len(x)], shares, rtol=1e-4, atol=1e-6)
        np.testing.assert_array_equal(found[1][row, : len(x)], every[np.argmax(p)])
        assert not found[0][row, len(x) :].any() and np.all(found[1][row, len(x) :] == -1)


STATES = hidden_states.posterior_marginals, hidden_states.posterior_mode


def test_it_sums_to_one_and_agrees_with_tensorflow_probability():
    model, frames = hmm(), harness.all_binary(T, D)
    nats = model.log_prob(frames)
    assert abs(np.exp(np.asarray(nats, np.float64)).sum() - 1.0) < 1e-4
    theirs = hidden_states.hidden_markov_model(model.density, T)
    np.testing.assert_allclose(theirs.log_prob(frames), nats, rtol=1e-5)


def test_names_of_states_do_not_matter():
    model, frames, order = hmm(), harness.toy(2, T, width=D), np.array([2, 0, 1])
    before = model.log_prob(frames)
    (pi, transition), (params,) = (part.get_weights() for part in (model.structure, model.emission))
    model.structure.set_weights([pi[order], transition[order][:, order]])
    assert np.all(np.abs(model.log_prob(frames) - before) > 1e-3)
    model.emission.set_weights([params[order]])
    np.testing.assert_allclose(model.log_prob(frames), before, rtol=1e-5)


def test_a_state_of_probability_zero_has_finite_scores_and_gradients():
    model, frames = hmm(), harness.toy(2, T, width=D)
    model.structure.set_weights([np.array([0.0, -200.0, -200.0]), -200.0 * (1.0 - np.eye(K))])
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(model(frames)["log_likelihood"])
    gradients = tape.gradient(total, [w.value for w in model.trainable_variables])
    assert np.isfinite(total) and all(np.isfinite(g).all() for g in gradients)


@pytest.mark.parametrize("xla", [False, True])
def test_flat_and_streamed_it_is_the_same_density(xla):
    model, frames = hmm(event_size=1, states=K), harness.toy(2, 3, width=2)
    config = model.get_config()
    model = harness.randomize(SequenceModel.from_config({**config, "event_size": 2}))
    model.xla, states = xla, model.initial_states(2)
    steps = []
    for t in range(3):
        nats, states = model.score_step(frames[:, t], states)
        steps.append(nats)
    np.testing.assert_allclose(tf.add_n(steps), model.log_prob(frames), rtol=1e-5)
    alone = frames.reshape(2, 6, 1)
    inner = hmm(event_size=1, states=K)
    inner.set_weights(model.get_weights())
    np.testing.assert_allclose(inner.log_prob(alone), model.log_prob(frames), rtol=1e-5)


@pytest.mark.slow  # an export takes a process
def test_an_export_scores_alike():
    compare.exported(hmm())
    compare.saved(hmm(NORMAL))


def test_sizes_that_do_not_fit_are_refused():
    hidden = {"class": "hmm", "num_states": 4}
    mixture = {"class": "state_mixture", "event_size": 3, "num_states": 5}
    with pytest.raises(ValueError, match="num_states=4 needs an emission whose `read`.* reads 5 v"):
        SequenceModel(hidden, mixture)
    with pytest.raises(ValueError, match="such as state_mixture.*received one that reads 3 values"):
        SequenceModel(hidden, {"class": "factorized", "event_size": 3})
    with pytest.raises(ValueError, match="needs contexts of num_states=5 log weights.*of 7 values"):
        SequenceModel({"class": "rnn", "units": 7}, mixture)
    with pytest.raises(ValueError, match="must be one without latents"):
        SequenceModel(harness.structure_config("vrnn"), mixture)
    with pytest.raises(ValueError, match="`num_states` must be an integer of at least 1"):
        SequenceModel({**hidden, "num_states": 0}, mixture)
    other = SequenceModel({"class": "rnn", "units": 7}, {**mixture, "weights": "dense"})
    for function in (*STATES, fit_em):
        with pytest.raises(ValueError, match="a hidden Markov model, .*received RNN with StateMix"):
            function(other.density, np.zeros([1, 2, 3]))


def test_a_frame_of_a_pen_is_a_mixture_too():
    model = hmm("handwriting", event_size=3)
    case = harness.Case("hmm", harness.NO_CELL, "factorized", "handwriting")
    frames = harness.frames(case, 2, T)
    every, joint = paths(model, frames[0])
    total = np.log(np.exp(joint).sum())
    np.testing.assert_allclose(model.log_prob(frames)[0], total, rtol=1e-4)
    with pytest.raises(ValueError, match="must be bernoulli, or gaussian_mixture with num_comp"):
        fit_em(model.density, frames)


def test_where_a_row_is_fresh():
    fresh = tf.constant([1.0, 0.0])
    first, later = {"a": tf.constant([7.0, 8.0])}, {"a": tf.zeros([2, 2])}
    chosen = base.where_fresh(fresh, first, later)["a"]
    np.testing.assert_array_equal(chosen, [[7.0, 8.0], [0.0, 0.0]])
    steps = base.fresh_steps(fresh, 3)
    np.testing.assert_array_equal(steps, [[1.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    chosen = base.where_fresh(steps, 5.0, tf.zeros([3, 2, 1]))
    np.testing.assert_array_equal(chosen[..., 0], 5.0 * steps)


def drawn(model, rows=24, steps=7):
    """Sequences of several lengths, drawn from a model."""
    frames = model.sample(rows, steps, seed=1).numpy()
    return [x[: 1 + i % steps] for i, x in enumerate(frames)]


def nats_per_step(model, sequences):
    lengths = [len(x) for x in sequences]
    frames = np.zeros([len(sequences), max(lengths), D], np.float32)
    for row, x in enumerate(sequences):
        frames[row, : len(x)] = x
    mask = harness.lengths_mask(lengths, max(lengths))
    return float(tf.reduce_sum(model.log_prob(frames, mask))) / sum(lengths)


@both
def test_em_without_smoothing_climbs_and_one_sweep_is_the_sum_over_paths(likelihood):
    source, model = hmm(likelihood, scale=1.5), hmm(likelihood, scale=0.5)
    sequences = drawn(source)
    before, weights = nats_per_step(model, sequences), model.get_weights()
    smooth = {"frame_count": 0.0, "transition_count": 0.0, "start": "weights", "batch_size": 5}
    # Expected counts by enumeration, in the same place.
    first, moved, frames = np.zeros(K), np.zeros([K, K]), np.zeros(K)
    sums, squares = np.zeros([K, D]), np.zeros([K, D])
    for x in sequences:
        every, joint = paths(model, x)
        p = np.exp(joint - joint.max())
        p /= p.sum()
        np.add.at(first, every[:, 0], p)
        for t in range(len(x)):
            share = np.bincount(every[:, t], p, K)
            frames += share
            sums += share[:, None] * x[t]
            squares += share[:, None] * x[t] ** 2
            if t:
                np.add.at(moved, (every[:, t - 1], every[:, t]), p)
    history = fit_em(model.density, sequences, sweeps=1, **smooth)
    np.testing.assert_allclose(history["log_likelihood"], [before], rtol=1e-5)
    pi, transition = probs(model)
    np.testing.assert_allclose(pi, first / first.sum(), rtol=1e-3)
    np.testing.assert_allclose(transition, moved / moved.sum(axis=1, keepdims=True), rtol=1e-3)
    mean, square = sums / frames[:, None], squares / frames[:, None]
    params = model.emission.state_params.numpy()
    if likelihood == "bernoulli":
        np.testing.assert_allclose(1.0 / (1.0 + np.exp(-params)), mean, rtol=1e-3)
    else:
        loc, log_scale = np.moveaxis(params.reshape(K, D, 2), -1, 0)
        np.testing.assert_allclose(loc, mean, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(np.exp(2 * log_scale), square - mean**2, rtol=1e-3)
    model.set_weights(weights)
    nats = fit_em(model.density, sequences, sweeps=6, **smooth)["log_likelihood"]
    assert len(nats) == 6 and np.all(np.diff(nats) > 0.0)
    assert nats_per_step(model, sequences) > nats[-1]


def test_em_keeps_the_weights_of_the_best_validation():
    source, model = hmm(scale=3.0), hmm(states=8, scale=0.1)
    sequences, other = drawn(source, 6), drawn(source, 20)[10:]
    history = fit_em(model.density, sequences, other, sweeps=40, patience=2, frame_count=0.01)
    scores = history["val_log_likelihood"]
    assert len(scores) == int(np.argmax(scores)) + 3 < 40
    np.testing.assert_allclose(nats_per_step(model, other), max(scores), rtol=1e-4)
    again = hmm(states=8, scale=0.1)
    assert (
        fit_em(again.density, sequences, other, sweeps=40, patience=2, frame_count=0.01) == history
    )
    for a, b in zip(again.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_smoothing_keeps_what_was_never_seen_possible():
    sequences, model = [np.zeros([5, D], np.float32)], hmm(event_size=D)
    fit_em(model.density, sequences, sweeps=2)
    _, transition = probs(model)
    assert transition.min() > 1e-3
    unseen = np.ones([1, 3, D], np.float32)
    fit_em(model.density, [*sequences, unseen[0]], sweeps=2)
    assert -20.0 < float(model.log_prob(unseen)[0]) < 0.0


def test_em_then_gradients(tmp_path):
    source, model = hmm(scale=3.0), hmm(states=4)
    frames = source.sample(16, 6, seed=0).numpy()
    fit_em(model.density, frames, sweeps=2)
    before = float(tf.reduce_mean(model.log_prob(frames)))
    model.compile(keras.optimizers.Adam(0.02), jit_compile=False)
    model.fit(frames, batch_size=8, epochs=5, verbose=0)
    after = float(tf.reduce_mean(model.log_prob(frames)))
    assert after > before


def test_bad_arguments_of_em():
    model, bits = hmm(), [np.zeros([3, D], np.float32)]
    for given, message in [
        ({"sequences": []}, "`sequences` must hold at least one array"),
        ({"sequences": [np.zeros([3, 5])]}, r"`sequences` must be arrays \(T, 2\); received D=5"),
        ({"validation": [np.zeros([3, 1])]}, r"`validation` must be arrays \(T, 2\)"),
        ({"sweeps": 0}, "`sweeps` must be an integer of at least 1"),
        ({"frame_count": -1.0}, "`frame_count` must be a number of at least 0"),
        ({"start": "means"}, "unknown `start` 'means'.*frames, weights"),
        ({"sequences": [np.full([3, D], 0.5)]}, "must be 0 or 1"),
    ]:
        with pytest.raises(ValueError, match=message):
            fit_em(model.density, **{"sequences": bits, **given})

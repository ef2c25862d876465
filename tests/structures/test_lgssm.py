"""The linear Gaussian state space model: the dense joint Gaussian, gaps, streams, bad arguments."""

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from srnn_tf import SequenceModel
from srnn_tf.core import kalman
from srnn_tf.inference import linear_states
from tests import harness

N, D, T = 2, 3, 4
SEEN = np.array([[1, 0, 0, 1], [0, 1, 1, 0], [1, 1, 0, 1]], bool)


def lgssm(size=N, width=D, seed=0, **given):
    emission = {"class": "state_gaussian", "event_size": width, "state_size": size}
    model = SequenceModel({"class": "lgssm", "state_size": size}, emission, **given)
    model.xla = False
    return harness.randomize(model, 0.6, seed)


def frames(rows=3, steps=T, seed=0, width=D):
    return np.random.default_rng(seed).normal(size=[rows, steps, width]).astype("float32")


def joint(model, steps=T):
    """Mean and covariance of all states, (T n), and of all frames, (T D); their covariance."""
    s, e = model.structure, model.emission
    weights = s.transition_matrix, s.transition_bias, s.initial_mean, e.observation_matrix
    a, b, mean, c = (np.asarray(w, np.float64) for w in weights)
    means, covariances = [mean], {(0, 0): np.asarray(s.initial_covariance(), np.float64)}
    for t in range(1, steps):
        means.append(a @ means[-1] + b)
        covariances[t, t] = a @ covariances[t - 1, t - 1] @ a.T + s.transition_covariance().numpy()
        for u in range(t):
            covariances[t, u] = a @ covariances[t - 1, u]
            covariances[u, t] = covariances[t, u].T
    z = np.block([[covariances[t, u] for u in range(steps)] for t in range(steps)])
    wide = np.kron(np.eye(steps), c)
    noise = np.kron(np.eye(steps), np.diag(e.observation_variance()))
    offset = np.tile(np.asarray(e.observation_bias, np.float64), steps)
    mean = np.concatenate(means)
    return (mean, z), (wide @ mean + offset, wide @ z @ wide.T + noise), z @ wide.T


def test_scores_are_those_of_the_dense_joint_gaussian():
    model, x = lgssm(), frames()
    mask = harness.lengths_mask([T, 1, 3], T)
    found = model.log_prob(x, mask)
    for row, n in enumerate([T, 1, 3]):
        _, dense, _ = joint(model, n)
        expected = scipy.stats.multivariate_normal(*dense).logpdf(x[row, :n].ravel())
        np.testing.assert_allclose(found[row], expected, 1e-5)


def test_states_and_scores_with_gaps_are_those_of_the_dense_joint_gaussian():
    model, x = lgssm(), frames()
    nats = linear_states.step_log_prob(model.density, x, SEEN)
    means, covariances = linear_states.posterior_marginals(model.density, x, observed=SEEN)
    (mean, z), (frame_mean, cov), cross = joint(model)
    for row, seen in enumerate(np.repeat(SEEN, D, axis=1)):
        part = scipy.stats.multivariate_normal(frame_mean[seen], cov[np.ix_(seen, seen)])
        np.testing.assert_allclose(np.sum(nats[row]), part.logpdf(x[row].ravel()[seen]), 1e-5)
        gain = cross[:, seen] @ np.linalg.inv(cov[np.ix_(seen, seen)])
        found = mean + gain @ (x[row].ravel()[seen] - frame_mean[seen])
        np.testing.assert_allclose(means[row].ravel(), found, 1e-4, 1e-5)
        smoothed = z - gain @ cross[:, seen].T
        blocks = [smoothed[N * t : N * t + N, N * t : N * t + N] for t in range(T)]
        np.testing.assert_allclose(covariances[row], blocks, 1e-4, 1e-5)
    assert not np.any(nats[~SEEN])
    other = np.where(SEEN[..., None], x, 50.0)
    np.testing.assert_array_equal(linear_states.step_log_prob(model.density, other, SEEN), nats)
    np.testing.assert_array_equal(
        linear_states.posterior_marginals(model.density, other, observed=SEEN)[0], means
    )


def test_padding_is_no_part_of_the_smoothed_states():
    model, x = lgssm(), frames()
    mask = harness.lengths_mask([T, 1, 3], T)
    found = linear_states.posterior_marginals(model.density, x, mask)
    for row, n in enumerate([T, 1, 3]):
        alone = linear_states.posterior_marginals(model.density, x[row : row + 1, :n])
        for one, other in zip(found, alone, strict=True):
            np.testing.assert_allclose(one[row, :n], other[0], 1e-5, 1e-6)
            assert not np.any(one[row, n:])


def test_the_model_of_tensorflow_probability_is_the_same():
    model, x = lgssm(), frames()
    found = linear_states.linear_gaussian_model(model.density, T).log_prob(x.astype("float64"))
    np.testing.assert_allclose(model.log_prob(x), found, 1e-5)


def test_the_covariance_is_computed_once_for_rows_that_begin_together(monkeypatch):
    model, rows = lgssm(), []
    original = kalman.filtered_factor

    def recording(scale_tril, precision):
        rows.append(scale_tril.shape[0])
        return original(scale_tril, precision)

    monkeypatch.setattr(kalman, "filtered_factor", recording)
    structure, weights = model.structure, model.trainable_variables
    inputs, readout = model.emission.read(tf.constant(frames())), frames(width=5)
    mask = tf.constant(harness.lengths_mask([T, 1, 3], T))
    given = {"states": structure.initial_states(3)}, {"observed": tf.fill([3, T], True)}
    found = []
    for extra in ({}, *given):
        rows.clear()
        with tf.GradientTape() as tape:
            inputs = model.emission.read(tf.constant(frames()))
            trace = structure(inputs, mask=mask, **extra)
            total = tf.reduce_sum(tf.where(mask[..., None], trace.context * readout, 0.0))
        assert set(rows) == {3 if extra else 1}
        gradients = tape.gradient(total, weights, unconnected_gradients="zero")
        context = tf.boolean_mask(trace.context, mask)
        found.append(tf.nest.flatten((context, trace.states, gradients)))
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            np.testing.assert_allclose(a, b, 1e-4, 1e-5)


def test_a_stream_of_frames_sums_to_the_score():
    model, x = lgssm(), frames()
    states, nats = model.initial_states(3), 0.0
    for t in range(T):
        step, states = model.score_step(x[:, t], states)
        nats += step
    np.testing.assert_allclose(nats, model.log_prob(x), 1e-5)


def test_samples_have_the_moments_of_the_joint_gaussian():
    model = lgssm()
    x = model.sample(batch_size=20_000, num_steps=2, seed=0).numpy().reshape(-1, 2 * D)
    _, (mean, covariance), _ = joint(model, 2)
    scale = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose((x.mean(axis=0) - mean) / scale, 0.0, atol=0.03)
    off = (np.cov(x.T) - covariance) / np.outer(scale, scale)
    np.testing.assert_allclose(off, 0.0, atol=0.04)


def test_values_of_a_flat_model_are_steps():
    emission = {"class": "state_gaussian", "event_size": 1, "state_size": N}
    model = SequenceModel({"class": "lgssm", "state_size": N}, emission, event_size=2)
    model.xla = False
    harness.randomize(model)
    x, seen = frames(width=2), SEEN
    long = lgssm(width=1)
    for one, other in ((long.structure, model.structure), (long.emission, model.emission)):
        one.set_weights(other.get_weights())
    np.testing.assert_allclose(model.log_prob(x), long.log_prob(x.reshape(3, 2 * T, 1)), 1e-5)
    nats = linear_states.step_log_prob(model.density, x, seen)
    steps = linear_states.step_log_prob(
        long.density, x.reshape(3, 2 * T, 1), np.repeat(seen, 2, axis=1)
    )
    np.testing.assert_allclose(nats, tf.reduce_sum(tf.reshape(steps, [3, T, 2]), axis=-1), 1e-5)


def test_a_structure_needs_its_emission():
    with pytest.raises(ValueError, match="lgssm with state_size=2 needs .* reads 3 values"):
        SequenceModel(
            {"class": "lgssm", "state_size": 2}, harness.emission_config("factorized", "normal")
        )
    with pytest.raises(ValueError, match="lgssm with state_size=3 needs an emission"):
        emission = {"class": "state_gaussian", "event_size": 3, "state_size": 2}
        SequenceModel({"class": "lgssm", "state_size": 3}, emission)
    with pytest.raises(ValueError, match="`state_size` must be .* received 0"):
        SequenceModel(
            {"class": "lgssm", "state_size": 0}, harness.emission_config("factorized", "normal")
        )


OBSERVED = {
    "must be boolean": np.ones([3, T], np.float32),
    r"must have shape \(B, T\) = \(3, 4\); received \(3, 3\)": SEEN[:, :3],
}


@pytest.mark.parametrize("message", OBSERVED)
def test_bad_gaps(message):
    model, x, observed = lgssm(), frames(), OBSERVED[message]
    with pytest.raises(ValueError, match=f"`observed` {message}"):
        linear_states.step_log_prob(model.density, x, observed)
    with pytest.raises(ValueError, match=f"`observed` {message}"):
        linear_states.posterior_marginals(model.density, x, observed=observed)
    inputs = model.emission.read(tf.constant(x))
    with pytest.raises(ValueError, match=f"`observed` {message}"):
        model.structure(inputs, observed=tf.constant(observed))


def test_a_mask_has_no_gaps():
    model, x = lgssm(), frames()
    mask = np.array([[1, 0, 1, 1]] * 3, bool)
    for function in (
        model.log_prob,
        lambda x, m: linear_states.posterior_marginals(model.density, x, m),
    ):
        with pytest.raises(ValueError, match="row 0 has a hole"):
            function(x, mask)


def test_other_models_have_no_such_states():
    model = harness.build(harness.case_of("rnn", "normal"))
    with pytest.raises(ValueError, match="linear Gaussian state space model.* received RNN with"):
        linear_states.posterior_marginals(model.density, frames())
    with pytest.raises(ValueError, match="linear Gaussian state space model"):
        linear_states.linear_gaussian_model(model.density, 3)


def test_a_filter_has_no_particles():
    with pytest.raises(ValueError, match="`num_particles`"):
        lgssm().initial_states(1, num_particles=4, seed=0)

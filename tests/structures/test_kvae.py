"""The Kalman variational autoencoder: special cases, the dense joint Gaussian, gaps, errors."""

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from srnn_tf import SequenceModel, structures
from srnn_tf.core import kalman, nn
from tests import harness

A, N, T = 2, 3, 4
SEEN = np.array([[1, 0, 0, 1], [0, 1, 1, 0]], bool)
SIZES = {"latent_size": A, "state_size": N, "units": 4, "hidden_size": 3}


def kvae(num_modes=2, seed=0, **given):
    structure = structures.KVAE(**SIZES, num_modes=num_modes, initial_variance=1.5, **given)
    structure.build((None, None, 3))
    return harness.randomize(structure, 0.6, seed)


def latents(rows=2, steps=T, seed=0):
    return harness.noise(rows, steps, A, seed)


def nats(f):
    """log p(a_t | a_<t), (B, T)."""
    terms = nn.gaussian_log_prob_tril(f.a, f.prior_mean, f.prior_scale_tril)
    return tf.reduce_sum(terms, axis=-1).numpy()


def test_the_prior_is_the_dense_joint_gaussian():
    structure, a = kvae(train_variances=True), latents()
    f = structure.filter(a)
    assert np.ptp(f.alpha, axis=1).min() > 1e-3  # the modes do switch
    q, r = (np.diag(v) for v in (structure.transition_variance(), structure.observation_variance()))
    for row in range(2):
        transition, c = (m[row].numpy() for m in (f.transition_matrix, f.observation_matrix))
        z = {(0, 0): 1.5 * np.eye(N)}
        for t in range(1, T):
            z[t, t] = transition[t] @ z[t - 1, t - 1] @ transition[t].T + q
            for u in range(t):
                z[t, u] = transition[t] @ z[t - 1, u]
                z[u, t] = z[t, u].T
        rows = [[c[t] @ z[t, u] @ c[u].T + (t == u) * r for u in range(T)] for t in range(T)]
        dense = scipy.stats.multivariate_normal(np.zeros(T * A), np.block(rows))
        np.testing.assert_allclose(nats(f)[row].sum(), dense.logpdf(a[row].numpy().ravel()), 1e-4)


def test_one_mode_is_a_linear_gaussian_state_space_model():
    structure, a = kvae(num_modes=1), latents()
    emission = {"class": "state_gaussian", "event_size": A, "state_size": N}
    model = SequenceModel({"class": "lgssm", "state_size": N}, emission)
    model.xla = False

    def lower(variance):
        return kalman.packed(tf.linalg.diag(tf.sqrt(variance - 1e-4)))

    zero = np.zeros(N)
    model.structure.set_weights(
        [
            structure.transition_matrices[0],
            zero,
            zero,
            lower(structure.transition_variance()),
            lower(1.5 * tf.ones([N])),
        ]
    )
    noise = np.log(np.expm1(structure.observation_variance() - 1e-4))
    model.emission.set_weights([structure.observation_matrices[0], np.zeros(A), noise])
    np.testing.assert_allclose(nats(structure.filter(a)), model(a)["log_likelihood"], 1e-4, 1e-4)


@pytest.mark.parametrize("mode", [0, 1])
def test_a_certain_mode_is_the_only_one(mode):
    structure, alone, a = kvae(), kvae(num_modes=1), latents()
    structure.mode_weights.set_weights([np.zeros([4, 2]), 100.0 * np.eye(2)[mode]])
    for name in ("transition_matrices", "observation_matrices"):
        getattr(alone, name).assign(getattr(structure, name)[mode : mode + 1])
    f = structure.filter(a)
    np.testing.assert_array_equal(f.alpha[0, 0], np.eye(2)[mode])
    np.testing.assert_allclose(nats(f), nats(alone.filter(a)), 1e-5)


def test_latents_in_turn_are_filtered_as_all_at_once():
    structure, x = kvae(), harness.noise(2, T, 3)
    given = {
        "targets": x,
        "noise": latents(),
        "mask": tf.constant([[True] * 4, [True] * 2 + 2 * [False]]),
    }
    once = structure(x, **given)
    turns = structure(x, **given, observed=tf.fill([2, T], True))
    mask = np.array([[1] * 4, [1, 1, 0, 0]], bool)
    once, turns = ([x for x in tf.nest.flatten(t) if x is not None] for t in (once, turns))
    for one, other in zip(once, turns, strict=True):
        if one.shape[:2] == (2, T):
            one, other = one[mask], other[mask]
        np.testing.assert_allclose(one, other, 1e-4, 1e-5)


def test_draws_of_the_prior_are_what_it_scores():
    """A draw is scored with the same mean and scale that it was drawn with."""
    structure, noise = kvae(), latents(steps=T)
    rows = structure(tf.zeros([2, T, 3]), noise=noise)
    a = structure.filter(latents()).a  # any latents
    states, found = structure.initial_states(2), []
    for t in range(T):
        step = structure(tf.zeros([2, 1, 3]), noise=noise[:, t : t + 1], states=states)
        states = step.states
        found.append(states["a"])
    f = structure.filter(tf.stack(found, axis=1))
    drawn = f.prior_mean + tf.linalg.matvec(f.prior_scale_tril, noise)
    np.testing.assert_allclose(drawn, f.a, 1e-4, 1e-5)
    np.testing.assert_allclose(rows.posterior_mean, f.prior_mean, 1e-4, 1e-5)
    assert a.shape == f.a.shape


def test_missing_frames_are_not_read():
    structure, x, noise = kvae(), harness.noise(2, T, 3), latents()
    seen = tf.constant(SEEN)

    def run(missing):
        targets = tf.where(seen[..., None], x, missing)
        return structure(x, targets=targets, noise=noise, observed=seen)

    one, other = run(0.0), run(5.0)
    np.testing.assert_array_equal(one.context, other.context)
    np.testing.assert_array_equal(one.kl, other.kl)
    for cost in (one.kl, one.log_ratio):
        assert not np.any(cost[~SEEN]) and np.all(cost[SEEN] != 0.0)
    # A missing frame is no frame: the score of those before it is as if there was none.
    np.testing.assert_allclose(one.kl[0, 0], structure(x, targets=x, noise=noise).kl[0, 0], 1e-5)


def test_variances_are_trained_on_request():
    fixed, trained = kvae(), kvae(train_variances=True)
    assert len(trained.trainable_variables) == len(fixed.trainable_variables) + 2
    np.testing.assert_allclose(fixed.transition_variance(), 0.08, 1e-6)
    np.testing.assert_allclose(fixed.observation_variance(), 0.03, 1e-6)
    q = fixed(latents(), targets=harness.noise(2, T, 3), noise=latents())
    assert np.max(q.posterior_log_variance) < np.log(0.03)


BAD = {
    "`state_size` must be": {"state_size": 0},
    "`num_modes` must be": {"num_modes": 0},
    "`hidden_size` must be": {"hidden_size": 0},
    "`latent_size` must be": {"latent_size": 0},
    "`initial_variance` must be a positive number; received 0": {"initial_variance": 0},
    "`posterior_variance` must be a positive number; received 'a'": {"posterior_variance": "a"},
}


@pytest.mark.parametrize("message", BAD)
def test_bad_arguments(message):
    with pytest.raises(ValueError, match=message):
        structures.KVAE(**{**SIZES, **BAD[message]})


def test_bad_gaps():
    structure, x, noise = kvae(), harness.noise(2, T, 3), latents()
    with pytest.raises(ValueError, match="`observed` must be None without `targets`"):
        structure(x, noise=noise, observed=tf.constant(SEEN))
    with pytest.raises(ValueError, match="`observed` must be boolean"):
        structure(x, targets=x, noise=noise, observed=tf.ones([2, T]))
    with pytest.raises(ValueError, match=r"`observed` must have shape \(B, T\) = \(2, 4\)"):
        structure(x, targets=x, noise=noise, observed=tf.constant(SEEN[:, :3]))

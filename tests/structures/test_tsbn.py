"""Chains of bits: exact likelihoods by the forward algorithm, bounds and streams against them."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from srnn_tf import SequenceModel, structures
from tests import harness

J, T = 2, 3


def made(**changes):
    config = {"class": "tsbn", "latent_size": J, "baseline_size": 3, **changes}
    model = SequenceModel(config, {"class": "factorized", "event_size": 2})
    model.xla = False
    return harness.randomize(model, 0.4), harness.toy(1, T, width=2)


def paths(model, x, steps=T):
    """log p(x, h) of all paths of the bits, by calls of the density."""
    bits = np.array(list(itertools.product((0, 1), repeat=steps * J)), np.float32)
    bits = bits.reshape(-1, steps, J)
    noise = tf.constant(np.where(bits > 0.0, -8.0, 8.0), tf.float32)
    frames = np.repeat(x, len(bits), axis=0)
    terms = model.density.terms(model.density.batch(frames), noise)
    log_p = tf.reduce_sum(terms.log_likelihood - terms.log_ratio + terms.score, axis=1)
    return tf.reduce_sum(terms.score, axis=1), log_p


@pytest.mark.parametrize(("order", "read_previous"), [(2, True), (1, False)])
def test_bounds_and_streams_tend_to_the_sum_over_all_paths(order, read_previous):
    model, x = made(order=order, read_previous=read_previous)
    log_q, log_p = paths(model, x)
    np.testing.assert_allclose(tf.reduce_sum(tf.exp(log_q)), 1.0, rtol=1e-4)
    exact = float(tf.reduce_logsumexp(log_p))
    assert float(model.log_prob(x)[0]) < exact
    for bound in ("iwae", "fivo"):
        found = [model.log_prob(x, bound=bound, num_samples=512, seed=s) for s in range(2)]
        np.testing.assert_allclose(np.mean(found), exact, atol=0.1)
    states, total = model.initial_states(1, num_particles=1024), 0.0
    for t in range(T):
        nats, states = model.score_step(x[:, t], states)
        total += float(nats[0])
    np.testing.assert_allclose(total, exact, atol=0.15)


def test_the_density_of_all_sequences_is_one():
    model, _ = made(order=2)
    total = 0.0
    for x in harness.all_binary(2, 2):
        total += float(tf.exp(tf.reduce_logsumexp(paths(model, x[None], 2)[1])))
    np.testing.assert_allclose(total, 1.0, rtol=1e-4)


def test_without_previous_frames_it_is_a_hidden_markov_model():
    """The exact forward algorithm over the 2^J states."""
    model, x = made(read_previous=False)
    w = {v.name: v.numpy() for v in model.structure.weights}
    kernel, bias = (v.numpy() for v in model.emission.weights)
    states = np.array(list(itertools.product((0, 1), repeat=J)), float)

    def bernoulli(logits, bits):
        return np.exp((bits * logits - np.logaddexp(0.0, logits)).sum(axis=-1))

    logits = states @ w["prior_states"] + w["prior_bias"]
    transition = bernoulli(logits[:, None], states[None])
    alpha = bernoulli(w["prior_initial_bias"], states)
    for t in range(T):
        fresh = np.full([len(states), 1], float(t == 0))
        context = np.concatenate([states, fresh], axis=1)
        alpha = (alpha if t == 0 else alpha @ transition) * bernoulli(
            context @ kernel + bias, x[0, t]
        )
    np.testing.assert_allclose(tf.reduce_logsumexp(paths(model, x)[1]), np.log(alpha.sum()), 1e-4)


def test_a_temperature_scales_the_probit_of_a_bit():
    """A scaled draw compares with the same probability: at 0 each bit is the more probable one."""
    structure = structures.get({"class": "tsbn", "latent_size": J})
    structure.build((None, None, 2))
    harness.randomize(structure)
    cold = structure(tf.zeros([5, T, 2]), noise=1e-6 * harness.noise(5, T, J))
    bits = cold.context[..., :J].numpy()
    np.testing.assert_array_equal(bits, cold.posterior_mean.numpy() > 0.5)


@pytest.mark.parametrize("name", ["latent_size", "order", "baseline_size"])
def test_sizes_that_are_refused(name):
    with pytest.raises(ValueError, match=f"`{name}` must be an integer of at least 1; received 0"):
        structures.get({"class": "tsbn", "latent_size": 2, name: 0})

"""Importance weighted and filtering bounds against likelihoods that are known exactly."""

import functools

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
import tensorflow_probability as tfp

from srnn_tf import SequenceModel, structures
from srnn_tf.core import nn
from srnn_tf.inference import scoring
from srnn_tf.structures.base import Draws, Structure, latent_trace
from tests import harness

tfd = tfp.distributions
LATENT = [c for c in harness.cases(cell="lstm", likelihood="bernoulli", flat=False) if c.latent]

# z_t = TRANSITION z_{t-1} + DRIFT noise, x_t = READOUT z_t + OFFSET + noise, z_0 = 0.
TRANSITION = np.array([[0.8, 0.2], [-0.3, 0.7]], np.float32)
READOUT = np.array([[1.0, 0.4], [-0.2, 0.9]], np.float32)
OFFSET, DRIFT = np.array([0.3, -0.5], np.float32), np.float32(0.6)
LENGTHS, STEPS, RUNS = [6, 2, 4], 6, 500
MASK = harness.lengths_mask(LENGTHS, STEPS)
SEQUENCES = np.random.default_rng(0).normal(0.0, 1.3, [3, STEPS, 2]).astype(np.float32)


@pytest.fixture(autouse=True)
def eagerly():
    """Nothing is compiled, which is quick for a few steps."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


class LinearGaussian(Structure):
    """Contexts are the latents; the posterior is a guess from x_t."""

    latent_size = context_size = 2
    options = {}

    def initial_states(self, batch_size):
        return tf.zeros([batch_size, 2])

    def call(
        self, inputs, targets=None, states=None, noise=None, mask=None, key=None, evidence=None
    ):
        z = self.initial_states(tf.shape(inputs)[0]) if states is None else states
        if targets is not None:
            evidence = targets if self.filtering else self.evidence(inputs, targets, mask)
        steps = []
        for t in range(inputs.shape[1]):
            mean = tf.linalg.matvec(TRANSITION, z)
            p = q = (mean, tf.fill(tf.shape(mean), 2.0 * tf.math.log(DRIFT)))
            if evidence is not None:
                q = (mean + 0.3 * (evidence[:, t] - OFFSET - mean), p[1] - 0.2)
            new = nn.gaussian_draw(q, noise[:, t])
            steps.append(Draws(new, new, q, p))
            z = new if mask is None else tf.where(mask[:, t, None], new, z)
        draws = tf.nest.map_structure(lambda *x: tf.stack(x), *steps)
        return latent_trace(draws, draws.context, z)


class Foreseeing(LinearGaussian):
    """The guess reads x_{t+1} too."""

    def evidence(self, inputs, targets, mask=None, key=None):
        after = tf.concat([targets[:, 1:], tf.zeros_like(targets[:, :1])], axis=1)
        return 0.7 * targets + 0.3 * after


@functools.cache
def linear_gaussian(structure):
    emission = harness.emission_config("factorized", "normal", 2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(structures.STRUCTURES, "linear_gaussian", structure)
        model = SequenceModel("linear_gaussian", emission)
    kernel, bias = np.zeros([2, 2, 2], np.float32), np.zeros([2, 2], np.float32)
    kernel[..., 0], bias[:, 0] = READOUT.T, OFFSET  # the rest, log scales, are 0
    model.emission.dense.set_weights([kernel.reshape(2, 4), bias.reshape(4)])
    model.xla = False
    return model


@functools.cache
def exact():
    """log p(x) of each sequence, by a Kalman filter."""
    noise = tfd.MultivariateNormalDiag(scale_diag=[DRIFT, DRIFT])
    seen = tfd.MultivariateNormalDiag(OFFSET)
    args = (TRANSITION, noise, READOUT, seen, noise)
    pairs = zip(SEQUENCES, LENGTHS, strict=True)
    return np.array([tfd.LinearGaussianStateSpaceModel(n, *args).log_prob(x[:n]) for x, n in pairs])


@functools.cache
def excess(structure, bound, num_samples, proposal="posterior", ess_threshold=0.5):
    """How far independent bounds are above log p(x), (RUNS, sequences)."""
    x, mask = (np.repeat(a[None], RUNS, 0).reshape(-1, *a.shape[1:]) for a in (SEQUENCES, MASK))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scoring, "MAX_PARTICLES", 2**15)  # one group of rows, which is quick
        patch.setattr(scoring, "BLOCK", 4)  # two blocks
        found = linear_gaussian(structure).log_prob(
            x, mask, num_samples, 1, "full", bound, proposal, ess_threshold
        )
    return found.numpy().reshape(RUNS, -1).astype(np.float64) - exact()


def error(values):
    return values.std(axis=0) / np.sqrt(len(values))


def agrees(values, expected, power, errors=3):
    """The mean over runs is as expected to some standard errors, and those are small."""
    assert (error(values) < power).all()
    assert (np.abs(values.mean(axis=0) - expected) < errors * error(values)).all()


# What the posterior reads does not matter to particles from the prior.
PROPOSALS = [(LinearGaussian, "prior"), (LinearGaussian, "posterior"), (Foreseeing, "posterior")]


@pytest.mark.sampled(2)
@pytest.mark.parametrize("num_samples", [1, 4, 16])
@pytest.mark.parametrize(("structure", "proposal"), PROPOSALS)
def test_estimates_of_the_likelihood_are_unbiased(structure, proposal, num_samples):
    power = {"prior": 0.2, "posterior": 0.08}[proposal] / num_samples**0.5
    agrees(np.exp(excess(structure, "iwae", num_samples)), 1.0, power)
    for threshold in (0.5, 0.0, 2.0)[: 1 if num_samples == 1 else 3]:
        agrees(np.exp(excess(structure, "fivo", num_samples, proposal, threshold)), 1.0, power)


@pytest.mark.parametrize(("structure", "proposal"), PROPOSALS)
def test_bounds_grow_with_samples_towards_the_likelihood(structure, proposal):
    elbo = excess(structure, "elbo", 1)
    agrees(excess(structure, "iwae", 1) - elbo, 0.0, 0.1)
    weighted = [elbo, excess(structure, "iwae", 4), excess(structure, "iwae", 16)]
    filtered = [excess(structure, "fivo", k, proposal) for k in (1, 4, 16)]
    for found in (weighted, filtered):
        assert (np.diff([f.mean(axis=0) for f in found], axis=0) > 0.05).all()
        assert (found[-1].mean(axis=0) < 0.0).all()


@pytest.mark.parametrize("structure", [LinearGaussian, Foreseeing])
def test_never_resampling_is_importance_weighting_in_distribution(structure):
    filtered, weighted = (
        excess(structure, bound, 4, "posterior", 0.0) for bound in ("fivo", "iwae")
    )
    agrees(filtered - weighted, 0.0, 0.07)
    for one, other in zip(filtered.T, weighted.T, strict=True):
        assert scipy.stats.ks_2samp(one, other).pvalue > 0.01


def quadrature(model, sequences, nodes):
    """log p(x_1, x_2) of a model with one latent per step, drawn from the prior at nodes."""
    at, weights = np.polynomial.hermite_e.hermegauss(nodes)
    noise = np.stack(np.meshgrid(at, at), axis=-1).reshape(-1, 2).astype(np.float32)
    log_weights = np.log(np.outer(weights, weights).ravel() / (2.0 * np.pi))
    steps = np.repeat(sequences, len(noise), axis=0)
    noise, total = np.tile(noise, [len(sequences), 1]), 0.0
    states, before = model.structure.initial_states(len(steps)), np.zeros_like(steps[:, :1])
    for t in range(2):
        trace = model.structure(tf.constant(before), states=states, noise=noise[:, t, None, None])
        before, states = steps[:, t : t + 1], trace.states
        total = total + model.emission(trace.context).log_prob(before)[:, 0].numpy()
    total = total.reshape(len(sequences), -1) + log_weights
    return np.exp(np.logaddexp.reduce(total, axis=1))


def wide(case):
    """A model of one latent whose posterior is wider than the prior: estimates vary little."""
    model = harness.build(case, event_size=2, structure={"latent_size": 1}, scale=0.4)
    kernel = model.emission.dense.kernel
    kernel.assign(6.0 * kernel)
    for weight in model.trainable_variables:
        if "posterior/out/bias" in weight.path:
            weight.assign([0.0, 1.2])
        elif weight.path.endswith(("posterior/head/bias", "_message/bias")):  # a softplus
            weight.assign([0.0, 3.0])
    return model


@pytest.mark.sampled(2)
@pytest.mark.parametrize("case", LATENT, ids=str)
def test_estimates_agree_with_quadrature(case, monkeypatch):
    model, every, runs = wide(case), harness.all_binary(2, 2), 100
    p, coarse, mean = (quadrature(model, every, nodes) for nodes in (60, 45, 1))
    # Rectified contexts are not smooth.
    np.testing.assert_allclose(p, coarse, rtol=1e-2 if case.structure.startswith("dmm") else 1e-3)
    np.testing.assert_allclose(p.sum(), 1.0, rtol=1e-5)
    assert np.abs(mean / p - 1.0).max() > 0.02  # the latents matter
    monkeypatch.setattr(scoring, "MAX_PARTICLES", 2**14)
    for how in ({"bound": "iwae"}, {"bound": "fivo"}, {"bound": "fivo", "proposal": "prior"}):
        found = model.log_prob(np.tile(every, [runs, 1, 1]), num_samples=8, seed=0, **how)
        found = np.exp(found.numpy().astype(np.float64)).reshape(runs, 16)
        agrees(found / p, 1.0, 0.15, errors=4)  # hundreds of comparisons
        agrees(found.sum(axis=1), 1.0, 0.03)

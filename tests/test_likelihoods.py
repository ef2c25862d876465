"""Likelihoods against TensorFlow Probability, sums, integrals and their own samples."""

import itertools
from functools import partial

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from srnn_tf.emissions import Factorized
from srnn_tf.likelihoods import LIKELIHOODS, Bernoulli, GaussianMixture
from tests.core.test_scan import draw, xla

tfd = tfp.distributions
MIXTURES = [1, 2, 5]
ALL = {"bernoulli": Bernoulli(), "normal": GaussianMixture(1), "mixture": GaussianMixture(3)}


def mixture_of(params, components):
    """The distribution of TensorFlow Probability."""
    if components == 1:
        return tfd.Normal(params[..., 0], tf.exp(params[..., 1]))
    logits, loc, log_scale = tf.split(params, 3, axis=-1)
    normal = tfd.Normal(loc, tf.exp(log_scale))
    return tfd.MixtureSameFamily(tfd.Categorical(logits=logits), normal)


def params_of(likelihood, *shape, seed=1):
    return draw(seed, *shape, likelihood.params_size)


def test_params_sizes():
    assert [GaussianMixture(k).params_size for k in (1, 2, 20)] == [2, 6, 60]
    assert Bernoulli().params_size == 1
    assert Bernoulli.binary and not GaussianMixture.binary


def test_bernoulli_sums_to_one():
    params = 5 * draw(1, 50, 1)
    p = tf.exp([Bernoulli()(params).log_prob(tf.fill([50], x)) for x in (0.0, 1.0)])
    np.testing.assert_allclose(tf.reduce_sum(p, axis=0), 1.0, rtol=1e-5)
    np.testing.assert_allclose(p[1], tf.sigmoid(params[:, 0]), rtol=1e-5)


def test_bernoulli_values_and_gradients_equal_those_of_probability():
    """Of bits and of values between them, at logits of any size, zero and infinite ones too."""
    logits = np.array([0.0, 1e-6, 0.3, -2.0, 15.0, -15.0, 40.0, -40.0, 80.0, np.inf, -np.inf])
    for x in (0.0, 1.0, 0.25):
        results = []
        for dtype, make in ((tf.float32, ours_of_logits), (tf.float64, tfd_of_logits)):
            sources = tf.constant(logits, dtype), tf.fill(logits.shape, tf.cast(x, dtype))
            with tf.GradientTape() as tape:
                tape.watch(sources)
                nats = make(sources[0]).log_prob(sources[1])
            results.append([nats, *(g[:-2] for g in tape.gradient(nats, sources))])
        for ours, theirs in zip(*results, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def ours_of_logits(logits):
    return Bernoulli()(logits[:, None])


def tfd_of_logits(logits):
    return tfd.Bernoulli(logits=logits, dtype=logits.dtype)


@pytest.mark.parametrize("components", MIXTURES)
def test_mixture_values_and_gradients_equal_those_of_probability(components):
    likelihood = GaussianMixture(components)
    params, x = 2 * params_of(likelihood, 4, 6), 2 * draw(2, 4, 6)
    results = []
    for make in (likelihood, partial(mixture_of, components=components)):
        with tf.GradientTape() as tape:
            tape.watch([params, x])
            value = make(params).log_prob(x)
            loss = tf.reduce_sum(value * draw(3, 4, 6))
        results.append([value, *tape.gradient(loss, [params, x])])
    for ours, theirs in zip(*results, strict=True):
        scale = np.abs(theirs).max()
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5 * scale)


@pytest.mark.parametrize("components", MIXTURES)
def test_mixture_integrates_to_one(components):
    likelihood = GaussianMixture(components)
    grid = tf.linspace(-40.0, 40.0, 20_001)[:, None]
    density = tf.exp(likelihood(params_of(likelihood, 3)).log_prob(grid))
    np.testing.assert_allclose(tf.reduce_sum(density, axis=0) * 80 / 20_000, 1.0, atol=1e-4)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("name", ALL)
def test_extreme_parameters_give_finite_values_and_gradients(name, compiled):
    likelihood = ALL[name]
    extremes = itertools.product([-20.0, 0.0, 20.0], repeat=min(3, likelihood.params_size))
    rows = np.array([np.resize(row, likelihood.params_size) for row in extremes], np.float32)
    rows[:, 0] *= 1.0 if name == "normal" else 1000.0  # a logit
    x = tf.zeros([len(rows)])

    def answer(params):
        with tf.GradientTape() as tape:
            tape.watch(params)
            value = likelihood(params).log_prob(x)
        return value, tape.gradient(value, params)

    value, gradient = (xla(answer) if compiled else answer)(tf.constant(rows))
    assert np.isfinite(value).all()
    assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0


def test_bernoulli_samples_have_their_frequencies():
    params = 2 * draw(4, 6, 1)
    draws = Bernoulli()(params).sample(20_000, seed=[1, 2]).numpy()
    assert draws.shape == (20_000, 6) and set(np.unique(draws)) == {0.0, 1.0}
    np.testing.assert_allclose(draws.mean(axis=0), tf.sigmoid(params[:, 0]), atol=0.015)
    assert np.abs(np.corrcoef(draws.T) - np.eye(6)).max() < 0.04


@pytest.mark.parametrize("components", MIXTURES)
def test_mixture_samples_have_their_moments(components):
    likelihood = GaussianMixture(components)
    params = params_of(likelihood, 4)
    draws = likelihood(params).sample(40_000, seed=[1, 2]).numpy()
    expected = mixture_of(params, components)
    deviation = expected.stddev().numpy()
    assert draws.shape == (40_000, 4)
    np.testing.assert_allclose((draws.mean(axis=0) - expected.mean()) / deviation, 0, atol=0.03)
    np.testing.assert_allclose(draws.std(axis=0) / deviation, 1, atol=0.03)
    # The share of draws under 0 tells a mixture from one normal of its mean and variance.
    np.testing.assert_allclose((draws < 0).mean(axis=0), expected.cdf(0.0), atol=0.015)
    assert np.abs(np.corrcoef(draws.T) - np.eye(4)).max() < 0.04


@pytest.mark.parametrize("name", ALL)
def test_samples_are_equal_in_eager_graph_and_xla(name):
    likelihood = ALL[name]
    params = params_of(likelihood, 5, 7)

    def sample(seed):
        return likelihood(params).sample(3, seed=seed)

    eager, *others = [f(tf.constant([5, 6])) for f in (sample, tf.function(sample), xla(sample))]
    assert eager.shape == (3, 5, 7) and eager.dtype == tf.float32
    for other in others:
        np.testing.assert_allclose(other, eager, atol=1e-4)
    assert np.abs(eager - sample(tf.constant([5, 7]))).max() > 0


def test_temperature_divides_logits_and_multiplies_scales_by_its_root():
    params = params_of(ALL["bernoulli"], 4)
    np.testing.assert_allclose(Bernoulli()(params, 0.5).logits, params[:, 0] / 0.5)
    params = params_of(ALL["normal"], 4)
    cold, plain = (GaussianMixture(1)(params, t) for t in (0.25, 1.0))
    np.testing.assert_allclose(cold.loc, plain.loc)
    np.testing.assert_allclose(cold.scale, 0.5 * plain.scale, rtol=1e-6)
    params = params_of(ALL["mixture"], 4)
    cold = GaussianMixture(3)(params, 0.25)
    logits, loc, log_scale = tf.split(params, 3, axis=-1)
    np.testing.assert_allclose(cold.mixture_distribution.logits, logits / 0.25)
    np.testing.assert_allclose(cold.components_distribution.loc, loc)
    scale = cold.components_distribution.scale
    np.testing.assert_allclose(scale, 0.5 * tf.exp(log_scale), rtol=1e-6)


@pytest.mark.parametrize("name", ALL)
def test_bfloat16_parameters_give_float32_values(name):
    params = tf.cast(params_of(ALL[name], 3, 4), tf.bfloat16)
    ours, single = (
        ALL[name](p).log_prob(tf.ones([3, 4])) for p in (params, tf.cast(params, "float32"))
    )
    assert ours.dtype == tf.float32
    np.testing.assert_array_equal(ours, single)


@pytest.mark.parametrize("components", [0, -1])
def test_mixtures_need_a_component(components):
    with pytest.raises(ValueError, match=f"`num_components` must be.*{components}"):
        GaussianMixture(components)


@pytest.mark.parametrize("name", ALL)
def test_configs_rebuild_likelihoods(name):
    likelihood = ALL[name]
    again = type(likelihood)(**likelihood.get_config())
    assert type(likelihood) in LIKELIHOODS.values()
    assert again.params_size == likelihood.params_size


@pytest.mark.parametrize("name", ALL)
def test_factorized_shapes(name):
    emission = Factorized(4, ALL[name])
    distribution = emission(draw(1, 2, 5, 3))
    assert distribution.batch_shape == (2, 5) and distribution.event_shape == (4,)
    assert distribution.log_prob(tf.ones([2, 5, 4])).shape == (2, 5)
    draws = distribution.sample(seed=[1, 2])
    assert draws.shape == (2, 5, 4) and np.isfinite(draws).all()


def test_factorized_sums_to_one_over_all_frames():
    emission = Factorized(4, "bernoulli")
    distribution = emission(3 * draw(1, 2, 5, 3))
    frames = np.array(list(itertools.product([0.0, 1.0], repeat=4)), np.float32)
    values = distribution.log_prob(np.broadcast_to(frames[:, None, None], [16, 2, 5, 4]))
    np.testing.assert_allclose(tf.reduce_logsumexp(values, axis=0), 0.0, atol=1e-5)
    assert np.ptp(values) > 1.0


def test_factorized_values_read_their_own_parameters():
    emission = Factorized(2, "bernoulli")
    context = draw(1, 1, 1, 3)
    emission(context)
    kernel, bias = emission.dense.get_weights()
    logits = context.numpy()[0, 0] @ kernel + bias
    cold = emission(context, temperature=0.5).distribution
    np.testing.assert_allclose(cold.logits[0, 0], logits / 0.5, rtol=1e-5)

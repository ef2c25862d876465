"""The distributions of emissions, used as those of TensorFlow Probability are."""

import numpy as np
import pytest
import tensorflow as tf

from tests import harness

PAIRS = [
    (emission, likelihood)
    for emission in harness.EMISSIONS
    for likelihood in harness.LIKELIHOODS
    if likelihood != "handwriting" or emission in harness.FRAMED
    if likelihood == "normal" or emission not in harness.NORMAL
]
D = harness.EVENT_SIZE


def made(emission, likelihood):
    layer = harness.emission(emission, likelihood)
    return layer(tf.constant(np.random.default_rng(0).standard_normal([2, 4, 4]), tf.float32))


def same(one, other):
    np.testing.assert_allclose(one, other, 1e-5, 1e-5)


@pytest.mark.parametrize("emission, likelihood", PAIRS)
def test_seeds(emission, likelihood):
    """An integer stands for the same draws each time, none for others each time."""
    distribution = made(emission, likelihood)
    assert distribution.sample().shape == [2, 4, D]
    assert np.any(distribution.sample(9) != distribution.sample(9))
    drawn = distribution.sample(9, seed=3)
    for seed in (3, np.int64(3), tf.constant(3), [3, 0]):
        same(distribution.sample(9, seed=seed), drawn)
    for seed in (4, 3 + 2**32, -3):
        assert np.any(distribution.sample(9, seed=seed) != drawn)
    assert distribution.sample([2, 3], seed=3).shape == [2, 3, 2, 4, D]
    with pytest.raises(ValueError, match="`seed` must be None, an integer, or two integers"):
        distribution.sample(seed=[1, 2, 3])


@pytest.mark.parametrize("emission, likelihood", PAIRS)
def test_slices_copies_and_broadcasting(emission, likelihood):
    distribution = made(emission, likelihood)
    x = distribution.sample(seed=1)
    nats = distribution.log_prob(x)
    same(distribution[0].log_prob(x[0]), nats[0])
    same(distribution[:, 1:3].log_prob(x[:, 1:3]), nats[:, 1:3])
    same(distribution[..., 0].greedy(), distribution.greedy()[:, 0])
    assert distribution[..., 0].sample(5, seed=1).shape == [5, 2, D]
    same(distribution.copy().log_prob(x), nats)
    same(distribution.copy().sample(seed=1), x)
    same(distribution.log_prob(tf.stack([x, x])), tf.stack([nats, nats]))
    same(distribution.log_prob(x[0, 0])[0, 0], nats[0, 0])


@pytest.mark.parametrize("likelihood", harness.LIKELIHOODS)
def test_mean_and_mode_of_independent_values(likelihood):
    distribution = made("factorized", likelihood)
    samples = distribution.sample(20000, seed=1)
    error = 5 * np.std(samples, axis=0) / np.sqrt(20000)
    assert np.all(np.abs(distribution.mean() - np.mean(samples, axis=0)) <= error + 1e-6)
    if likelihood in ("bernoulli", "normal"):
        same(distribution.mode(), distribution.greedy())
    else:  # that of the largest component is not the mode
        with pytest.raises(NotImplementedError, match="no closed form; `greedy"):
            distribution.mode()

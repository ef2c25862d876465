"""A linear Gaussian observation, against its formula; its other promises are those of all."""

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from srnn_tf import SequenceModel, emissions
from srnn_tf.core import kalman
from tests import harness

N, D, H = 2, 3, 5


def observation(state="context", width=H):
    layer = emissions.StateGaussian(D, state_size=N, state=state)
    layer.build((None, None, width))
    return harness.randomize(layer, 0.8)


def parts(layer):
    """C, d and R, in float64."""
    weights = layer.observation_matrix, layer.observation_bias, layer.observation_variance()
    return [np.asarray(w, np.float64) for w in weights]


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_it_is_a_normal_of_low_rank_plus_diagonal_covariance(temperature):
    layer, context, x = observation(), harness.noise(2, 2, H), harness.noise(2, 2, D, 1)
    (c, d, r), values = parts(layer), context.numpy()
    found = layer(context, temperature=temperature)
    drawn = found.sample(20_000, seed=[0, 1]).numpy()
    lower = kalman.triangular(context[..., N:]).numpy()
    for row in np.ndindex(2, 2):
        wide = c @ lower[row]
        mean, covariance = c @ values[row][:N] + d, temperature * (wide @ wide.T + np.diag(r))
        normal = scipy.stats.multivariate_normal(mean, covariance)
        np.testing.assert_allclose(found.log_prob(x)[row], normal.logpdf(x[row]), 1e-5)
        np.testing.assert_allclose(found.greedy()[row], mean, 1e-5)
        scale, sample = np.sqrt(np.diag(covariance)), drawn[(slice(None), *row)]
        np.testing.assert_allclose((sample.mean(axis=0) - mean) / scale, 0.0, atol=0.03)
        off = (np.cov(sample.T) - covariance) / np.outer(scale, scale)
        np.testing.assert_allclose(off, 0.0, atol=0.04)


def test_the_structure_reads_natural_parameters():
    layer, x = observation(), harness.noise(2, 3, D)
    c, d, r = parts(layer)
    read = layer.read(x)
    assert read.shape == [2, 3, layer.read_size]
    np.testing.assert_allclose(read[..., :N], (x - d) / r @ c, 1e-5)
    precision = np.broadcast_to(c.T / r @ c, [2, 3, N, N])
    np.testing.assert_allclose(kalman.unpacked(read[..., N:]), precision, 1e-5)


def test_a_dense_state_serves_other_structures():
    layer, x = observation("dense", 4), harness.noise(2, 3, D)
    np.testing.assert_array_equal(layer.read(x), x)
    context = harness.noise(2, 3, 4, 1)
    values = layer.dense(context)
    same = observation()
    for name in ("observation_matrix", "observation_bias", "observation_spread"):
        getattr(same, name).assign(getattr(layer, name))
    np.testing.assert_allclose(layer(context).log_prob(x), same(values).log_prob(x), 1e-6)


def test_with_a_recurrent_network_it_is_trained_saved_and_sampled():
    config = harness.emission_config("state_gaussian", "normal")
    model = SequenceModel(harness.structure_config("rnn"), config)
    model.xla = False
    x = harness.frames(harness.case_of("rnn", "normal"), rows=4, steps=3)
    model.compile("adam", run_eagerly=True)
    losses = model.fit(x, batch_size=4, epochs=5, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    again = type(model).from_config(model.get_config())
    assert again.get_config() == model.get_config()
    assert model.sample(2, 3, seed=0).shape == [2, 3, D]


@pytest.mark.parametrize("likelihood", ["bernoulli", "mixture", "handwriting"])
def test_frames_must_be_normal(likelihood):
    config = harness.emission_config("state_gaussian", likelihood)
    with pytest.raises(ValueError, match="`likelihood` must be .*num_components=1.* real values"):
        emissions.get(config)


def test_bad_arguments():
    with pytest.raises(ValueError, match="`state_size` must be"):
        emissions.StateGaussian(3, state_size=0)
    with pytest.raises(ValueError, match="`state` 'weights'"):
        emissions.StateGaussian(3, state="weights")
    with pytest.raises(ValueError, match="contexts of 4 values: for other structures use"):
        emissions.StateGaussian(3, state_size=2).build((None, None, 4))


def test_rows_are_scored_in_blocks():
    """More rows than a block has: memory of N D n does not grow with the sequence."""
    layer, context = observation(), harness.noise(1, 2100, H)
    x = harness.noise(1, 2100, D, 1)
    found = layer(context).log_prob(x)
    np.testing.assert_allclose(
        found[:, 2090:], layer(context[:, 2090:]).log_prob(x[:, 2090:]), 1e-5
    )
    assert found.shape == [1, 2100] and tf.reduce_all(tf.math.is_finite(found))

"""The mixture over discrete states, against its formula; its other promises are those of all."""

import numpy as np
import pytest
import tensorflow as tf

from srnn_tf import SequenceModel, emissions, likelihoods
from tests import harness

K, D = 3, 4


def mixture(likelihood="bernoulli", **given):
    layer = emissions.StateMixture(D, likelihood, num_states=K, **given)
    layer.build((None, None, K))
    return harness.randomize(layer, 1.0)


def shares(context):
    return np.exp(context) / np.exp(context).sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("temperature", [1.0, 0.5, 3.0])
def test_it_is_the_mixture_of_the_likelihoods_of_its_states(temperature):
    layer, context = mixture(), harness.noise(2, 3, K)
    x = harness.all_binary(1, D)[:, None]
    p = 1.0 / (1.0 + np.exp(-layer.state_params.numpy() / temperature))
    of_state = np.prod(np.where(x[..., None, :] > 0.0, p, 1.0 - p), axis=-1)  # (16, 1, 1, K)
    expected = np.sum(shares(context / temperature) * of_state, axis=-1)
    found = layer(context, temperature=temperature).log_prob(x)
    np.testing.assert_allclose(np.exp(found), expected, rtol=1e-4)
    np.testing.assert_allclose(np.exp(found).sum(axis=0), 1.0, rtol=1e-5)


@pytest.mark.parametrize("name", harness.LIKELIHOODS)
def test_scores_of_each_state_are_those_of_the_likelihood(name):
    likelihood = likelihoods.LIKELIHOODS[harness.LIKELIHOODS[name]["class"]]
    given = {k: v for k, v in harness.LIKELIHOODS[name].items() if k != "class"}
    likelihood, size = likelihood(**given), 3
    params = harness.noise(1, K, likelihood.frame_params_size(size))[0]
    case = harness.Case("rnn", "lstm", "factorized", name)
    x = tf.constant(harness.frames(case, 2, 5, event_size=size))
    for temperature in (1.0, 2.0):
        found = likelihood.log_prob_of_each(params, x, temperature)
        assert found.shape == (2, 5, K) and found.dtype == tf.float32
        for k in range(K):
            alone = likelihood.frame(params[k], size, temperature).log_prob(x)
            np.testing.assert_allclose(found[..., k], alone, rtol=1e-4, atol=1e-5)


def test_what_is_read():
    layer, x = mixture(), tf.constant(harness.toy(2, 3, width=D))
    one = tf.one_hot([[1, 1, 1]] * 2, K) * 1e3  # the context of one state alone
    assert layer.read_size == K
    np.testing.assert_allclose(layer.read(x)[..., 1], layer(one).log_prob(x), rtol=1e-5)
    layer = mixture(weights="dense")
    assert layer.read_size == D and layer.read(x) is x


def test_the_greedy_choice_is_that_of_the_heaviest_state():
    layer, context = mixture(), harness.noise(2, 3, K)
    best = np.argmax(context, axis=-1)
    np.testing.assert_array_equal(layer(context).greedy(), layer.state_params.numpy()[best] > 0.0)


def test_it_makes_a_recurrent_network_exact_with_several_modes():
    """Two frames alone that occur equally often, which independent values cannot say."""
    frames = np.array([[1, 1, 0, 0], [0, 0, 1, 1]], np.float32)
    structure = {"class": "rnn", "units": 2, "embedding_size": 2}
    emission = {"class": "state_mixture", "event_size": 4, "num_states": 2, "weights": "dense"}
    model = SequenceModel(structure, emission)
    model.xla = False
    model.emission.state_params.assign(np.where(frames > 0.0, 20.0, -20.0))
    model.emission.dense.kernel.assign(np.zeros([2, 2]))
    np.testing.assert_allclose(model.log_prob(frames[:, None]), np.log(0.5), rtol=1e-5)
    drawn = model.sample(20, 1, seed=0)[:, 0].numpy()
    np.testing.assert_array_equal(np.unique(drawn, axis=0), frames[::-1])


def test_arguments_that_are_refused():
    for given, message in [
        ({"num_states": 0}, "`num_states` must be an integer of at least 1; received 0"),
        ({"weights": "sparse"}, "unknown `weights` 'sparse'.*context, dense"),
        ({"likelihood": "handwriting"}, "`event_size` must be 3 for a handwriting likelihood"),
    ]:
        with pytest.raises(ValueError, match=message):
            emissions.StateMixture(D, **given)
    with pytest.raises(ValueError, match="needs contexts of num_states=16 log weights.*of 5 val"):
        emissions.StateMixture(D).build((None, None, 5))

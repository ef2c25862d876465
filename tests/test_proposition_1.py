"""A split frame is a stochastic model whose latents are a part of the frame.

The bound of such a model, from draws of its latents, against the density of `DeltaSplit`.

Reference: Proposition 1 of Lai et al., arXiv:1902.01388.
"""

import numpy as np
import pytest
import tensorflow as tf

from srnn_tf import objectives
from srnn_tf.core.frames import shift
from srnn_tf.emissions import DeltaSplit
from tests import harness
from tests.test_likelihoods import mixture_of

SIZE, COMPONENTS = 4, 3
ROWS = [name for name in harness.EMISSIONS if name.startswith("delta_split")]
splits = pytest.mark.parametrize("name", ROWS)


def close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


def model_of(name, likelihood):
    case = harness.cases(
        emission=name, structure="rnn", cell="lstm", likelihood=likelihood, flat=False
    )[0]
    model, x = harness.build(case, SIZE, scale=0.4), harness.frames(case, event_size=SIZE)
    return model, x, model.structure(shift(tf.constant(x))).context


def double(emission):
    """The same emission in float64, its context (N, H) to be given to its parts."""
    config = {**emission.get_config(), "dtype": "float64"}
    copy = DeltaSplit(**{k: v for k, v in config.items() if k != "name"})
    copy.build((None, None, emission.hidden[0].units))
    copy.set_weights(emission.get_weights())
    return copy


def values_of(head, context):
    """The mixtures of a head's values, in float64."""
    params = head.dense(context)
    shape = [*params.shape[:-1], head.event_size, params.shape[-1] // head.event_size]
    assert params.dtype == tf.float64
    return mixture_of(tf.reshape(params, shape), COMPONENTS)


def features(emission, context, z):
    """What x_b is predicted from."""
    a = tf.concat([context, z], axis=-1)
    for dense, norm in zip(emission.hidden, emission.norms, strict=True):
        a = tf.nn.relu(norm(dense(a)))
    return a


def total(log_prob):
    return tf.reduce_sum(log_prob, axis=-1)


def normal(x, mean, s):
    return total(-0.5 * tf.square((x - mean) / s) - np.log(s) - 0.5 * np.log(2 * np.pi))


def parts(emission, x):
    return (tf.gather(x, part, axis=-1) for part in (emission.first, emission.rest))


def sampled_bound(emission, context, x, s, noise):
    """The ELBO of each frame, one draw of z, q = N(x_a, s^2) and p(x_a | z) = N(z, s^2)."""
    x_a, x_b = parts(emission, x)
    z = x_a + s * noise
    log_q, log_p = normal(z, x_a, s), total(values_of(emission.first_head, context).log_prob(z))
    rest = values_of(emission.rest_head, features(emission, context, z))
    log_likelihood = normal(x_a, z, s) + total(rest.log_prob(x_b))
    return objectives.elbo(log_likelihood, log_q - log_p)


def density(emission, context, x):
    """log p(x_a | h) + log p(x_b | x_a, h)."""
    x_a, x_b = parts(emission, x)
    rest = values_of(emission.rest_head, features(emission, context, x_a))
    return total(values_of(emission.first_head, context).log_prob(x_a)) + total(rest.log_prob(x_b))


@splits
def test_the_bound_tends_to_the_density(name):
    model, x, context = model_of(name, "mixture")
    emission = double(model.emission)
    context, x64 = (tf.cast(a, tf.float64) for a in (context, x))
    noise = np.random.default_rng(0).normal(size=[200, *x.shape[:2], len(emission.first)])
    wide = [tf.broadcast_to(a, [200, *a.shape]) for a in (context, x64)]
    exact, errors = density(emission, context, x64), []
    for s in 10.0 ** -np.arange(1, 9):
        bound = sampled_bound(emission, *wide, s, noise)
        assert bound.dtype == tf.float64
        errors.append(np.abs(bound - exact).max())
        gap = exact - tf.reduce_mean(bound, axis=0)
    assert errors[0] > 0.05 and errors[-1] < 1e-6 and np.abs(gap).max() < 1e-6
    # Every draw is off by about as much as z is off x_a.
    pairs = zip(errors[1:], errors[2:], strict=False)  # at s = 0.1 not yet linear
    assert all(late < 0.3 * early for early, late in pairs) and errors[1] < errors[0]
    # What is left is the density of the emission and, over time, of the model.
    last = tf.reduce_mean(bound, axis=0)
    close(model.emission(tf.cast(context, tf.float32)).log_prob(x), last)
    close(model.log_prob(x), tf.reduce_sum(last, axis=1))


@splits
@pytest.mark.parametrize("s", [1.0, 1e-3, 1e-8])
def test_the_width_of_the_posterior_cancels_in_every_draw(name, s):
    model, x, _ = model_of(name, "mixture")
    x_a, _ = parts(model.emission, tf.cast(x, tf.float64))
    z = x_a + s * np.random.default_rng(1).normal(size=x_a.shape)
    np.testing.assert_array_equal(normal(x_a, z, s), normal(z, x_a, s))
    assert np.abs(normal(z, x_a, s)).max() > 0.5


def certain(z, x):
    """log of a distribution that has all its mass at x."""
    return tf.where(tf.reduce_all(z == x, axis=-1), 0.0, -np.inf)


@splits
def test_the_bound_of_binary_frames_is_the_density(name):
    model, x, context = model_of(name, "bernoulli")
    emission, x = model.emission, tf.reshape(x, [-1, SIZE])
    context = tf.reshape(context, [-1, context.shape[-1]])
    x_a, x_b = parts(emission, x)
    z = tf.identity(x_a)  # the one draw of a posterior that is certain
    rest = emission.rest_head(features(emission, context, z))
    log_likelihood = certain(x_a, z) + rest.log_prob(x_b)
    kl = certain(z, x_a) - emission.first_head(context).log_prob(z)
    bound = objectives.elbo(log_likelihood, kl)
    assert np.ptp(bound) > 0.1
    np.testing.assert_array_equal(emission(context[None]).log_prob(x[None])[0], bound)
    x, bound = tf.reshape(x, [3, -1, SIZE]), tf.reshape(bound, [3, -1])
    close(model.log_prob(x), tf.reduce_sum(bound, axis=1))

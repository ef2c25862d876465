"""What every emission promises: a density, its own samples, and who reads whom."""

import functools

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from srnn_tf import likelihoods
from srnn_tf.emissions import DeltaSplit, Factorized
from tests import harness

NAMES = harness.OF_ANY
IN_TURN = [name for name in NAMES if name.startswith(("autoregressive", "masked", "nade"))]
every = pytest.mark.parametrize("name", NAMES)
# Those whose densities are products of likelihoods of values.
by_value = pytest.mark.parametrize("name", [n for n in NAMES if n not in harness.JOINT])


def contexts(rows=2, steps=2, seed=0, width=4):
    return harness.noise(rows, steps, width, seed)


def close(actual, expected, rtol=1e-5, atol=1e-5):
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=atol)


def order_of(layer):
    """The values in the order in which they are drawn."""
    if isinstance(layer, DeltaSplit):
        return [int(i) for i in (*layer.first, *layer.rest)]
    return list(range(layer.event_size))


def reads(layer):
    """Which values (column) the parameters of each value (row) may depend on."""
    if isinstance(layer, Factorized):
        return np.zeros([layer.event_size] * 2, bool)
    if isinstance(layer, DeltaSplit):
        value = np.arange(layer.event_size)
        return np.isin(value, layer.rest)[:, None] & np.isin(value, layer.first)
    return np.tri(layer.event_size, k=-1, dtype=bool)


def table(distribution, event_size):
    """The probability of every binary frame: (2,) * D, then the batch shape."""
    x = harness.all_binary(1, event_size)[:, None]
    p = np.exp(distribution.log_prob(x).numpy().astype(np.float64))
    return p.reshape([2] * event_size + list(p.shape[1:]))


@functools.cache
def plane(extent=15.0, count=301):
    """All points of a grid, (count^2, 1, 1, 2), and the area of a cell."""
    axis = np.linspace(-extent, extent, count)
    points = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1)
    area = (axis[1] - axis[0]) ** 2
    return points.reshape(-1, 1, 1, 2).astype(np.float32), area


@pytest.fixture
def recorded(monkeypatch):
    """The parameters that likelihoods of values are called with, one call after another."""
    found = []
    for kind in (likelihoods.Bernoulli, likelihoods.GaussianMixture):

        def call(self, params, temperature=1.0, original=kind.__call__):
            found.append(params)
            return original(self, params, temperature)

        monkeypatch.setattr(kind, "__call__", call)
    return found


def params_of(layer, recorded, context, x):
    """The parameters of each value of one frame, with those before it as they are in x."""
    recorded.clear()
    layer(context).log_prob(x)
    rows = [row for p in recorded for row in tf.unstack(tf.reshape(p, [-1, p.shape[-1]]))]
    assert len(rows) == layer.event_size
    return [row for _, row in sorted(zip(order_of(layer), rows, strict=True), key=lambda p: p[0])]


@every
def test_shapes_and_dtypes(name):
    distribution = harness.emission(name, event_size=5)(contexts(2, 3))
    assert distribution.batch_shape == [2, 3] and distribution.event_shape == [5]
    assert tuple(distribution.batch_shape_tensor()) == (2, 3)
    assert tuple(distribution.event_shape_tensor()) == (5,)
    assert distribution.log_prob(tf.ones([2, 3, 5])).shape == [2, 3]
    for drawn in (distribution.sample(seed=[0, 1]), distribution.greedy()):
        assert drawn.shape == [2, 3, 5] and drawn.dtype == tf.float32


@every
def test_it_sums_to_one(name):
    total = table(harness.emission(name, event_size=6)(contexts(2, 3)), 6)
    assert total.shape[-2:] == (2, 3) and np.ptp(total[0, 0, 0, 0, 0, 0]) > 1e-3
    close(total.sum(axis=tuple(range(6))), 1.0)


@every
def test_it_integrates_to_one_and_samples_have_its_moments(name):
    layer = harness.emission(name, "mixture", event_size=2, scale=0.25)
    distribution, (points, area) = layer(contexts(1, 2, seed=1)), plane()
    weights = np.exp(distribution.log_prob(points).numpy().astype(np.float64)) * area
    close(weights.sum(axis=0), 1.0, 0, 1e-3)
    points = points[:, 0].astype(np.float64)
    mean = np.einsum("nbt,nbv->btv", weights, points)
    variance = np.einsum("nbt,nbv->btv", weights, points**2) - mean**2
    draws = distribution.sample(20_000, seed=[1, 2]).numpy()
    deviation = np.sqrt(variance)
    close((draws.mean(axis=0) - mean) / deviation, 0.0, 0, 0.03)
    close(draws.std(axis=0) / deviation, 1.0, 0, 0.06)
    product = np.einsum("nbt,n->bt", weights, points[:, 0].prod(axis=-1))
    spread = 0.05 * deviation.prod(axis=-1)
    assert (np.abs(draws.prod(axis=-1).mean(axis=0) - product) < spread).all()


@pytest.mark.parametrize("name", harness.FRAMED)
def test_handwriting_integrates_to_one(name):
    layer = harness.emission(name, "handwriting", scale=0.3)
    distribution, (points, area) = layer(contexts(1, 2, seed=1)), plane(12.0, 121)
    total = 0.0
    for bit in (0.0, 1.0):
        x = np.concatenate([np.full_like(points[..., :1], bit), points], axis=-1)
        part = np.exp(distribution.log_prob(x).numpy().astype(np.float64)).sum(axis=0) * area
        assert (part > 0.05).all()
        total += part
    close(total, 1.0, 0, 1e-3)


@by_value
@pytest.mark.parametrize("likelihood", ["bernoulli", "mixture", "handwriting"])
def test_values_read_those_before_them_alone(name, likelihood, recorded):
    if likelihood == "handwriting" and name not in harness.FRAMED:
        pytest.skip("it takes values of one likelihood")
    size = 3 if likelihood == "handwriting" else 5
    layer, found = harness.emission(name, likelihood, event_size=size), np.zeros([size, size])
    for seed in range(4):
        x = harness.noise(1, 1, size, seed + 50)
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(x)
            params = params_of(layer, recorded, contexts(1, 1, seed), x)
            ends = [tf.tensordot(p, tf.range(1.0, len(p) + 1.0), 1) for p in params]
        zero = tf.UnconnectedGradients.ZERO
        found += [np.abs(tape.gradient(end, x, unconnected_gradients=zero)[0, 0]) for end in ends]
    np.testing.assert_array_equal(found > 0.0, reads(layer))


@by_value
def test_every_value_reads_the_context_but_a_learned_first_one(name, recorded):
    layer, context = harness.emission(name, event_size=4), contexts(1, 1)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(context)
        params = params_of(layer, recorded, context, tf.ones([1, 1, 4]))
    gradients = [tape.gradient(p, context) for p in params]
    found = [g is not None and bool(np.any(g)) for g in gradients]
    assert found == [name != "autoregressive_rnn", True, True, True]


@every
def test_20000_samples_have_the_frequencies_of_the_density(name):
    distribution = harness.emission(name, event_size=4)(contexts(1, 1, seed=3))
    expected = table(distribution, 4).reshape(-1)
    draws = distribution.sample(20_000, seed=[4, 5]).numpy().reshape(-1, 4)
    assert set(np.unique(draws)) == {0.0, 1.0} and np.ptp(expected) > 0.03
    counts = np.bincount((draws @ [8, 4, 2, 1]).astype(int), minlength=16)
    assert scipy.stats.chisquare(counts, expected / expected.sum() * 20_000).pvalue > 1e-3


@every
@pytest.mark.parametrize("likelihood", ["bernoulli", "mixture"])
def test_samples_lead_and_log_prob_broadcasts_over_them(name, likelihood):
    layer, context = harness.emission(name, likelihood, scale=0.3), contexts(2, 3)
    draws = layer(context).sample([2, 4], seed=[0, 1])
    assert draws.shape == [2, 4, 2, 3, 3]
    np.testing.assert_array_equal(layer(context).sample([2, 4], seed=[0, 1]), draws)
    assert np.any(layer(context).sample([2, 4], seed=[0, 2]) != draws)
    together = layer(context).log_prob(draws)
    assert together.shape == [2, 4, 2, 3] and np.ptp(together) > 0.1
    for i, b, t in [(0, 0, 0), (1, 1, 2), (0, 1, 1)]:
        alone = layer(context[b : b + 1, t : t + 1])
        close(alone.log_prob(draws[i, :, b : b + 1, t : t + 1]), together[i, :, b : b + 1, t, None])
    one = layer(context).log_prob(draws[0, 0])
    close(one, together[0, 0])
    close(layer(context).log_prob(draws[0, 0, 0, 0])[0, 0], one[0, 0])


@every
@pytest.mark.parametrize("likelihood", ["bernoulli", "mixture"])
def test_a_score_does_not_depend_on_the_rest_of_the_batch(name, likelihood):
    layer, context = harness.emission(name, likelihood, scale=0.3), contexts(3, 4)
    x = layer(context).sample(seed=[2, 3])
    together = layer(context).log_prob(x)
    close(layer(context[1:2]).log_prob(x[1:2]), together[1:2])
    padded = [tf.pad(a, [[0, 0], [0, 2], [0, 0]], constant_values=7.0) for a in (context, x)]
    close(layer(padded[0]).log_prob(padded[1])[:, :4], together)


def logits(p, order):
    """By the prefix of values before it, in their order, the logit of each value."""
    p = p.transpose(*order, *range(len(order), p.ndim))
    for i in range(len(order)):
        q = p.sum(axis=tuple(range(i + 1, len(order))))
        yield np.log(q.take(1, axis=i)) - np.log(q.take(0, axis=i))


@by_value
def test_greedy_takes_the_likelier_value_in_turn(name):
    layer, context = harness.emission(name, event_size=5, scale=1.0), contexts(3, 3)
    p, order = table(layer(context), 5), order_of(layer)
    expected = np.zeros([3, 3, 5], np.float32)
    steps = list(logits(p, order))
    for row in np.ndindex(3, 3):
        prefix = ()
        for i, step in zip(order, steps, strict=True):
            prefix += (int(step[prefix + row] > 0.0),)
            expected[(*row, i)] = prefix[-1]
    assert 0.1 < expected.mean() < 0.9
    for _ in range(2):
        np.testing.assert_array_equal(layer(context).greedy(), expected)


@by_value
@pytest.mark.parametrize("likelihood", ["mixture", "normal"])
def test_greedy_takes_the_heaviest_mean_in_turn(name, likelihood, recorded):
    layer, context = harness.emission(name, likelihood, event_size=4), contexts(1, 1, seed=2)
    x = np.zeros([1, 1, 4], np.float32)
    for i in order_of(layer):
        params = params_of(layer, recorded, context, tf.constant(x))[i].numpy()
        x[0, 0, i] = params[0 if likelihood == "normal" else 3 + np.argmax(params[:3])]
    for _ in range(2):
        close(layer(context).greedy(), x)
    close(layer(context, temperature=1e-12).sample(5, seed=[0, 1]), np.stack([x] * 5), 0, 1e-3)


@by_value
@pytest.mark.parametrize("temperature", [0.25, 2.0])
def test_temperature_divides_every_logit(name, temperature):
    layer, context = harness.emission(name, event_size=4), contexts()
    tables = [table(layer(context, temperature=t), 4) for t in (1.0, temperature)]
    close(tables[1].sum(axis=(0, 1, 2, 3)), 1.0)
    for warm, ours in zip(*(logits(p, order_of(layer)) for p in tables), strict=True):
        close(ours, warm / temperature, 1e-3, 1e-3)


@every
def test_cold_samples_are_greedy(name):
    layer, context = harness.emission(name, event_size=6), contexts(4, 3)
    draws = layer(context, temperature=1e-6).sample(3, seed=[1, 2])
    np.testing.assert_array_equal(draws, np.stack([layer(context).greedy()] * 3))

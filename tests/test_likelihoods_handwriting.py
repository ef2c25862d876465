"""The likelihood of handwriting: a bit and two mixtures, their log scales without a bias."""

import numpy as np
import pytest
import tensorflow as tf

from srnn_tf import SequenceModel
from srnn_tf.core import checks
from srnn_tf.emissions import Factorized
from srnn_tf.likelihoods import Handwriting
from tests.core.test_scan import draw, xla
from tests.test_likelihoods import mixture_of

PENS = [Handwriting(1), Handwriting(5)]
pens = pytest.mark.parametrize("pen", PENS, ids=["one", "five"])


def pen_params(pen, *shape, seed=1):
    """Parameters of frames, and those of each value as its own likelihood takes them."""
    params, k = draw(seed, *shape, pen.frame_params_size(3)).numpy(), pen.move.num_components
    parts = np.split(params[..., 1:], range(k, params.shape[-1] - 1, k), axis=-1)
    moves = [np.concatenate(parts[i::2], axis=-1) for i in (0, 1)]
    return tf.constant(params), [params[..., :1], *moves]


def log_mixture(x, params, k):
    """By hand, in float64."""
    *logits, loc, log_scale = np.split(params.astype(np.float64), params.shape[-1] // k, axis=-1)
    weights = np.exp(logits[0]) if logits else np.ones_like(loc)
    density = np.exp(-0.5 * ((x[..., None] - loc) / np.exp(log_scale)) ** 2 - log_scale)
    return np.log((weights * density).sum(-1) / weights.sum(-1) / np.sqrt(2 * np.pi))


@pens
def test_handwriting_equals_its_formula(pen):
    params, (logit, *moves) = pen_params(pen, 4, 6)
    x = 2 * draw(2, 4, 6, 3).numpy()
    x[..., 0] = x[..., 0] > 0
    distribution = pen.frame(params, 3)
    assert distribution.batch_shape == (4, 6) and distribution.event_shape == (3,)
    k = pen.move.num_components
    expected = -np.log1p(np.exp(np.where(x[..., 0] == 1, -1, 1) * logit[..., 0]))
    expected += sum(log_mixture(x[..., i], moves[i - 1], k) for i in (1, 2))
    np.testing.assert_allclose(distribution.log_prob(x), expected, rtol=1e-4, atol=1e-5)
    # The likelihoods of the values say the same.
    pairs = zip(pen.values(3), (logit, *moves), strict=True)
    each = [value(tf.constant(p)).log_prob(x[..., i]) for i, (value, p) in enumerate(pairs)]
    np.testing.assert_allclose(distribution.log_prob(x), tf.add_n(each), rtol=1e-4, atol=1e-5)


@pens
def test_handwriting_integrates_to_one(pen):
    params, (_, _, last) = pen_params(pen, 3)
    grid = np.linspace(-40, 40, 20_001, dtype=np.float32)
    frames = np.zeros([2, len(grid), 1, 3], np.float32)
    frames[1, ..., 0], frames[..., 1] = 1, grid[:, None]
    density = np.exp(pen.frame(params, 3).log_prob(frames)).sum(axis=(0, 1)) * 80 / 20_000
    at_zero = np.exp(log_mixture(np.zeros(3), last, pen.move.num_components))  # of dy, held there
    np.testing.assert_allclose(density / at_zero, 1.0, atol=1e-4)


@pens
def test_handwriting_samples_have_their_frequencies_and_moments(pen):
    params, (logit, *moves) = pen_params(pen, 2)
    draws = pen.frame(params, 3).sample(40_000, seed=[1, 2]).numpy()
    assert draws.shape == (40_000, 2, 3) and set(np.unique(draws[..., 0])) == {0.0, 1.0}
    np.testing.assert_allclose(draws[..., 0].mean(0), tf.sigmoid(logit[:, 0]), atol=0.015)
    for i, move in enumerate(moves):
        expected, values = mixture_of(move, pen.move.num_components), draws[..., 1 + i]
        deviation = expected.stddev().numpy()
        np.testing.assert_allclose((values.mean(0) - expected.mean()) / deviation, 0, atol=0.03)
        np.testing.assert_allclose(values.std(0) / deviation, 1, atol=0.03)
        np.testing.assert_allclose((values < 0).mean(0), expected.cdf(0.0), atol=0.015)
    assert np.abs(np.corrcoef(draws.reshape(len(draws), -1).T) - np.eye(6)).max() < 0.04


@pens
def test_handwriting_is_equal_in_eager_graph_and_xla(pen):
    params, _ = pen_params(pen, 5, 7)

    def answer(seed):
        draws = pen.frame(params, 3, temperature=0.5).sample(3, seed=seed)
        return draws, pen.frame(params, 3).log_prob(draws)

    eager, *others = [f(tf.constant([5, 6])) for f in (answer, tf.function(answer), xla(answer))]
    assert eager[0].shape == (3, 5, 7, 3) and eager[0].dtype == eager[1].dtype == tf.float32
    for other in others:
        np.testing.assert_allclose(other[0], eager[0], atol=1e-4)
        np.testing.assert_allclose(other[1], eager[1], rtol=1e-4, atol=1e-3)
    assert np.abs(eager[0] - answer(tf.constant([5, 7]))[0]).max() > 0
    np.testing.assert_array_equal(eager[0], answer(tf.constant([5, 6]))[0])


def test_temperature_of_handwriting_reaches_every_value():
    pen = Handwriting(3)
    params, values = pen_params(pen, 4)
    pairs = zip(pen.values(3), values, strict=True)
    cold = [value(tf.constant(p), 0.25).log_prob(tf.ones([4])) for value, p in pairs]
    ours = pen.frame(params, 3, temperature=0.25).log_prob(tf.ones([4, 3]))
    np.testing.assert_allclose(ours, tf.add_n(cold), rtol=1e-5)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
@pens
def test_log_scales_of_handwriting_have_no_bias(pen, policy):
    emission, k = Factorized(3, pen, dtype=policy), pen.move.num_components
    distribution = emission(tf.zeros([2, 5, 4]))
    total = 1 + 2 * (3 * k if k > 1 else 2)
    shapes = {v.name: tuple(v.shape) for v in emission.trainable_variables}
    assert shapes == {"bias": (total - 2 * k,), "kernel": (4, total)}
    # With the context zero only the biases are left: the scales stay 1, whatever these are.
    emission.bias.assign(tf.fill(emission.bias.shape, 3.0))
    distribution = emission(tf.zeros([2, 5, 4]))
    value = distribution.log_prob(tf.fill([2, 5, 3], 1.0))
    assert value.dtype == tf.float32
    expected = -np.log1p(np.exp(-3)) + 2 * (-0.5 * np.log(2 * np.pi) - 0.5 * (1 - 3) ** 2)
    np.testing.assert_allclose(value, np.full([2, 5], expected), rtol=1e-5)


@pytest.mark.parametrize("size", [1, 2, 4])
def test_handwriting_has_three_values(size):
    with pytest.raises(ValueError, match=f"`event_size` must be 3 .*handwriting.*received {size}"):
        Factorized(size, "handwriting")


def test_only_the_pen_bit_is_binary():
    model = SequenceModel(
        {"class": "rnn", "units": 2, "embedding_size": 2},
        {"class": "factorized", "event_size": 3, "likelihood": "handwriting"},
        event_size=6,
    )
    assert model.binary == (True, False, False) * 2
    good = np.tile(np.float32([1, 0.5, -2, 0, 1.5, 3]), [2, 4, 1])
    np.testing.assert_array_equal(checks.frames(good, 6, model.binary), good)
    for place in (0, 3):
        bad = good.copy()
        bad[1, 2, place] = 0.5
        with pytest.raises(ValueError, match=rf"must be 0 or 1 .* 0.5 at \(1, 2, {place}\)"):
            checks.frames(bad, 6, model.binary)
        with pytest.raises(tf.errors.InvalidArgumentError, match="`frames` must be 0 or 1"):
            checks.check_batch({"frames": tf.constant(bad)}, 6, model.binary)
    batch = checks.check_batch({"frames": tf.constant(good)}, 6, model.binary)
    np.testing.assert_array_equal(batch["frames"], good)


def test_configs_rebuild_handwriting():
    emission = Factorized(3, {"class": "handwriting", "num_components": 4})
    again = Factorized.from_config(emission.get_config())
    assert again.likelihood.get_config() == {"num_components": 4}
    with pytest.raises(ValueError, match="`num_components` must be"):
        Handwriting(0)

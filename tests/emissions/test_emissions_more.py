"""How emissions compute: dropout, blocks, compilation, and formulas by hand."""

import numpy as np
import pytest
import tensorflow as tf

from srnn_tf.core.random import Key
from srnn_tf.emissions import DeltaSplit, MaskedMLP, autoregressive, chain, nade
from tests import harness
from tests.core.test_scan import xla
from tests.emissions.test_emissions import IN_TURN, NAMES, close, contexts, every

LOW = [name for name in NAMES if name.startswith("autoregressive")]
NO_DROPOUT = ("factorized", "masked_linear", "nade", *harness.JOINT)
DROPPING = [name for name in NAMES if name not in NO_DROPOUT]
SEED = tf.constant([3, 4])


def rising(x):
    """A number per row, each its own."""
    return tf.cos(1.0 + tf.range(tf.cast(tf.shape(x)[0], tf.float32)))[:, None]


def scored(layer, context, x, seed=None):
    """log p(x | h), and the gradients of a fixed projection of it, the context's first."""
    with tf.GradientTape() as tape:
        tape.watch(context)
        log_prob = layer(context, key=None if seed is None else Key(seed)).log_prob(x)
        loss = tf.reduce_sum(log_prob * rising(x))
    return log_prob, tape.gradient(loss, [context, *layer.trainable_variables])


def assert_same(actual, expected, tolerance=1e-5):
    close(actual[0], expected[0], tolerance, tolerance)
    for a, e in zip(actual[1], expected[1], strict=True):
        scale = float(tf.reduce_max(tf.abs(e)))
        assert scale > 0.0
        close(a, e, 0, tolerance * max(1.0, scale))


def binary(rows=1, size=5, seed=9):
    random = np.random.default_rng(seed)
    return tf.constant(random.integers(0, 2, [rows, 1, size]), tf.float32)


@pytest.mark.parametrize("name", DROPPING)
def test_dropout_draws_from_its_seed_alone(name):
    layer = harness.emission(name, event_size=5, dropout=0.5, width=16)
    context, x = contexts(40, 1, width=16), binary(40)

    def score(seed, layer=layer):
        return layer(context, key=None if seed is None else Key(seed)).log_prob(x).numpy()

    np.testing.assert_array_equal(score(SEED), score(SEED))
    assert (score(SEED) != score([3, 5])).mean() > 0.9
    assert (score(SEED) != score(None)).mean() > 0.9
    plain = harness.emission(name, event_size=5, width=16)
    np.testing.assert_array_equal(score(None), score(None, plain))
    np.testing.assert_array_equal(score(SEED, plain), score(None, plain))


@pytest.mark.parametrize("name", DROPPING)
def test_rows_drop_values_of_their_own(name):
    layer = harness.emission(name, event_size=5, dropout=0.5, width=16)
    same, ones = tf.repeat(contexts(1, 1, width=16), 30, axis=0), tf.ones([30, 1, 5])
    assert len(np.unique(layer(same, key=Key(SEED)).log_prob(ones))) > 10
    assert np.ptp(layer(same).log_prob(ones)) < 1e-5


@pytest.mark.sampled(3)
@every
def test_graph_and_xla_agree_with_eager(name):
    layer, x = harness.emission(name, "mixture", scale=0.3), binary(2, 3)

    def answer(context, seed):
        distribution = layer(context)
        return distribution.log_prob(x), distribution.sample(3, seed=seed), distribution.greedy()

    eager, *others = [f(contexts(2, 1), SEED) for f in (answer, tf.function(answer), xla(answer))]
    for other in others:
        for ours, expected, atol in zip(other, eager, (1e-4, 1e-3, 1e-4), strict=True):
            assert ours.shape == expected.shape and ours.dtype == expected.dtype == tf.float32
            close(ours, expected, 1e-4, atol)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", IN_TURN)
def test_gradients_are_equal_in_graph_and_xla(name):
    layer, context, x = harness.emission(name, event_size=4), contexts(3, 1), binary(3, 4)
    expected = scored(layer, context, x)
    for wrap in (tf.function, xla):
        assert_same(wrap(lambda *args: scored(layer, *args))(context, x), expected)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("rows", [4, 7, 8])
@pytest.mark.parametrize("name", IN_TURN)
def test_blocks_of_rows_change_nothing(name, rows, monkeypatch):
    layer, context, x = harness.emission(name, event_size=4), contexts(rows, 1), binary(rows, 4)
    expected = scored(layer, context, x)
    monkeypatch.setattr(chain, "scored_rows", lambda event_size: 3)
    assert_same(scored(layer, context, x), expected)
    spec = [tf.TensorSpec([None, 1, size]) for size in (4, 4)]
    program = tf.function(lambda *args: scored(layer, *args), input_signature=spec)
    assert_same(program(context, x), expected)
    assert_same(program(context[:2], x[:2]), scored(layer, context[:2], x[:2]))
    if rows == 7:
        assert_same(xla(lambda *args: scored(layer, *args))(context, x), expected)


def test_blocks_are_of_one_size_and_none_is_a_block_too(monkeypatch):
    layer, sizes = harness.emission(IN_TURN[0], event_size=4), []
    monkeypatch.setattr(chain, "scored_rows", lambda event_size: 4)
    spec = [tf.TensorSpec([None, 1, 4])] * 2
    program = tf.function(lambda c, x: layer(c).log_prob(x), input_signature=spec)
    for rows in (0, 1, 5):
        found = program(contexts(rows, 1), binary(rows, 4))
        assert found.shape == (rows, 1)
        expected = [
            layer(contexts(rows, 1)[i : i + 1]).log_prob(binary(rows, 4)[i : i + 1])
            for i in range(rows)
        ]
        np.testing.assert_allclose(found[:, 0], np.reshape(expected, [-1]), rtol=1e-5)

    def score(context, x, key=None):
        sizes.append(context.shape[0])
        return tf.reduce_sum(x, axis=-1)

    x = tf.random.stateless_normal([10, 4], [1, 2])
    found = chain.in_blocks(layer, score, x, x, 4, None)
    np.testing.assert_allclose(found, tf.reduce_sum(x, axis=-1), rtol=1e-5)
    assert set(sizes) == {4}  # three blocks, not two of 4 and a half
    sizes.clear()
    chain.in_blocks(layer, score, x[:6], x[:6], 4, None)
    assert set(sizes) == {3}


@pytest.mark.parametrize("rows", [3, 7, 8])
@pytest.mark.parametrize("name", LOW)
def test_working_it_out_again_changes_nothing(name, rows, monkeypatch):
    monkeypatch.setattr(autoregressive, "RECOMPUTED_ROWS", 4)
    context, x = contexts(rows, 1), binary(rows)
    plain, again = (harness.emission(name, event_size=5, recompute=r) for r in (False, True))
    assert_same(scored(again, context, x), scored(plain, context, x))
    assert_same(scored(again, context, x, SEED), scored(plain, context, x))  # there is no dropout


@pytest.mark.parametrize("name", LOW)
@pytest.mark.parametrize("rate", ["dropout", "embedding_dropout"])
def test_dropout_that_is_worked_out_again_is_that_of_the_score(name, rate, monkeypatch):
    monkeypatch.setattr(autoregressive, "RECOMPUTED_ROWS", 4)
    layer = harness.emission(name, event_size=5, recompute=True, **{rate: 0.5})
    context, x = contexts(7, 1), binary(7)
    log_prob, (gradient, *_) = scored(layer, context, x, SEED)
    direction = gradient / tf.norm(gradient)
    np.testing.assert_array_equal(log_prob, scored(layer, context, x, SEED)[0])
    assert np.abs(log_prob - scored(layer, context, x)[0]).max() > 0.01
    step = 1e-2 * direction
    up, down = (layer(c, key=Key(SEED)).log_prob(x) for c in (context + step, context - step))
    slope = tf.reduce_sum((up - down) * rising(x)) / 2e-2
    assert abs(slope) > 0.1
    close(slope, tf.reduce_sum(gradient * direction), 1e-2, 1e-2)
    # Every block draws its own.
    same = tf.zeros_like(context) + context[:1]
    ones = layer(same, key=Key(SEED)).log_prob(tf.ones([7, 1, 5]))
    assert len(np.unique(ones)) > 4


@pytest.mark.parametrize("name", LOW)
def test_inputs_that_are_formed_equal_those_that_are_not(name):
    # A rate that rounds to zero keeps all values, but forms them.
    layer = harness.emission(name, event_size=5, embedding_dropout=1e-3)
    context, x = contexts(6, 1), binary(6)
    expected = scored(layer, context, x)
    assert_same(scored(layer, context, x, SEED), expected)
    for rate in (0.0, 0.5):
        other = harness.emission(name, event_size=5, embedding_dropout=rate)
        assert_same(scored(other, context, x), expected)
    dropped = scored(other, context, x, SEED)[0]
    np.testing.assert_array_equal(dropped, scored(other, context, x, SEED)[0])
    assert np.abs(dropped - expected[0]).max() > 0.01


@pytest.mark.parametrize("name", IN_TURN)
@pytest.mark.parametrize("likelihood", ["bernoulli", "mixture"])
def test_frames_of_one_value(name, likelihood):
    known = {"initial_state": "context"} if name == "autoregressive_rnn" else {}
    layer, context = harness.emission(name, likelihood, event_size=1, **known), contexts(2, 3)
    assert np.ptp(layer(context).log_prob(tf.ones([2, 3, 1]))) > 0.0  # it sees the context
    if likelihood == "bernoulli":
        p = [tf.exp(layer(context).log_prob(tf.fill([2, 3, 1], v))) for v in (0.0, 1.0)]
        close(p[0] + p[1], np.ones([2, 3]))
    draws = layer(context).sample(4, seed=SEED)
    assert draws.shape == [4, 2, 3, 1] and np.isfinite(scored(layer, context, draws[0])[0]).all()


SPLIT = [2, 8, 4, 9]  # of ten values, by seed 0


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def bernoulli(logit, x):
    return -np.log1p(np.exp(np.where(x == 1.0, -logit, logit)))


@pytest.mark.parametrize("name", LOW)
def test_the_low_recurrence_equals_its_formula(name):
    layer, context, x = harness.emission(name, event_size=4), contexts(3, 1), binary(3, 4)
    w = {v.path.split("/", 1)[1]: v.numpy().astype(np.float64) for v in layer.trainable_variables}
    h, values, total = context.numpy()[:, 0], x.numpy()[:, 0], 0.0
    if "initial" in w:
        low, cell = (np.tile(a, [3, 1]) for a in w["initial"])
    else:
        low, cell = np.split(h @ w["initial/kernel"] + w["initial/bias"], 2, axis=1)
        low = np.tanh(low)
    for i in range(4):
        at = i if name.endswith("private") else 0
        logit = low @ w["heads/kernel"][at, :, 0] + w["heads/bias"][at]
        total += bernoulli(logit, values[:, i])
        embedded = values[:, i : i + 1] @ w["embed/kernel"] + w["embed/bias"]
        z = np.concatenate([embedded, h], axis=1) @ w["low/kernel"] + w["low/bias"]
        a, f, g, o = np.split(z + low @ w["low/recurrent_kernel"], 4, axis=1)
        cell = sigmoid(f) * cell + sigmoid(a) * np.tanh(g)
        low = sigmoid(o) * np.tanh(cell)
    close(layer(context).log_prob(x)[:, 0], total, 1e-4, 1e-5)


def normalized(x, scale, shift):
    x = (x - x.mean(axis=1, keepdims=True)) / np.sqrt(x.var(axis=1, keepdims=True) + 1e-5)
    return np.maximum(x * scale + shift, 0.0)


@pytest.mark.parametrize("num_layers", [0, 1, 3])
def test_the_masked_perceptron_equals_its_formula(num_layers):
    layer = MaskedMLP(4, "bernoulli", num_layers=num_layers, units=4)
    layer.build((None, None, 4))
    context, x = contexts(3, 1), binary(3, 4)
    w = {
        v.path.split("/", 1)[1]: v.numpy().astype(np.float64)
        for v in harness.randomize(layer).trainable_variables
    }
    h, values, total = context.numpy()[:, 0], x.numpy()[:, 0], 0.0
    width = 4 if num_layers else 1
    for i in range(4):
        own = slice(width * i, width * (i + 1))
        a = h @ w["first/context_kernel"][:, own] + w["first/bias"][own]
        a = a + values[:, :i] @ w["first/kernel"][:i, own]
        for k in range(num_layers):
            if k:
                a = a @ w[f"hidden/kernel_{k}"][i] + w[f"hidden/bias_{k}"][i]
            a = normalized(a, w[f"hidden/scale_{k}"][i], w[f"hidden/shift_{k}"][i])
        if num_layers:
            a = a @ w["heads/kernel"][i] + w["heads/bias"][i]
        total += bernoulli(a[:, 0], values[:, i])
    close(layer(context).log_prob(x)[:, 0], total, 1e-4, 1e-5)


@pytest.mark.parametrize("size", [1, 4, 8, 9, 19])
def test_the_sums_of_nade_are_those_of_the_values_before(size):
    random = np.random.default_rng(0)
    x, kernel = random.normal(size=[3, size]), random.normal(size=[size, 2])
    terms = x.T[..., None] * kernel[:, None]
    found = nade.sums_before(*(tf.constant(a, tf.float32) for a in (x, kernel)))
    close(found, np.cumsum(terms, axis=0) - terms, 1e-4, 1e-4)
    # Of the values before alone: not the last digit of one depends on a later value.
    x[:, size // 2 :] += 1e3
    changed = nade.sums_before(*(tf.constant(a, tf.float32) for a in (x, kernel)))
    kept = size // 2 + 1
    np.testing.assert_array_equal(changed[:kept], found[:kept])


@pytest.mark.parametrize("split", [{"indices": [4, 1, 3]}, {"kind": "interleave", "stride": 3}])
def test_a_split_frame_equals_its_formula(split):
    layer = DeltaSplit(5, "bernoulli", **split)
    layer.build((None, None, 4))
    harness.randomize(layer)
    first, rest = ([4, 1, 3], [0, 2]) if "indices" in split else ([0, 3], [1, 2, 4])
    assert list(layer.first) == first and list(layer.rest) == rest
    context, x = contexts(3, 1), binary(3)
    h, values = context.numpy()[:, 0], x.numpy()[:, 0]

    def head(head, a, part):
        logits = a @ head.dense.kernel.numpy() + head.dense.bias.numpy()
        return bernoulli(logits, values[:, part]).sum(axis=1)

    a = np.concatenate([h, values[:, first]], axis=1)
    for dense, norm in zip(layer.hidden, layer.norms, strict=True):
        a = normalized(a @ dense.kernel.numpy(), norm.gamma.numpy(), norm.beta.numpy())
    expected = head(layer.first_head, h, first) + head(layer.rest_head, a, rest)
    close(layer(context).log_prob(x)[:, 0], expected, 1e-4, 1e-5)


def test_random_indices_are_those_of_the_seed():
    one, again, other = (DeltaSplit(40, split_size=12, seed=s) for s in (1, 1, 2))
    assert one.options["indices"] == again.options["indices"] != other.options["indices"]
    assert len(set(one.options["indices"])) == 12
    assert sorted([*one.first, *one.rest]) == list(range(40))
    assert len(DeltaSplit(40).first) == 10 and len(DeltaSplit(2).first) == 1


def test_the_split_of_a_seed_never_changes():
    emission = harness.emission("delta_split", event_size=10, split_size=4, seed=0)
    assert emission.first.tolist() == SPLIT


def test_no_rows_are_no_error():
    layer = harness.emission("masked_mlp")

    @tf.function(input_signature=[tf.TensorSpec([None, None, 4])] * 1)
    def score(context):
        return layer(context).log_prob(tf.zeros([tf.shape(context)[0], tf.shape(context)[1], 3]))

    assert score(tf.zeros([0, 2, 4])).shape == [0, 2]

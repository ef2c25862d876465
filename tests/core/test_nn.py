"""Random numbers, Gaussians and recurrent layers; what long sequences cost."""

import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from srnn_tf.core import nn, random, recurrent, scan
from srnn_tf.core.random import Key
from tests.core.test_scan import BASIC, assert_close, draw, graph, xla

SEED = tf.constant([3, 14])
MODES = {"eager": lambda f: f, "graph": graph, "xla": xla}
DRAWS = {"uniform": (random.uniform, 0.0), "normal": (random.normal, 2e-5)}


@pytest.mark.parametrize("name", DRAWS)
def test_draws_are_equal_in_eager_graph_and_xla(name):
    function, tolerance = DRAWS[name]
    programs = [wrap(partial(function, [50, 7])) for wrap in MODES.values()]
    for seed in (SEED, tf.constant([-5, 2**31 - 1])):
        first, *others = [program(seed) for program in programs]
        assert first.dtype == tf.float32 and len(np.unique(first)) > 300
        for other in others:
            np.testing.assert_allclose(other, first, rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", DRAWS)
def test_longer_draws_continue_shorter_ones(name):
    function = DRAWS[name][0]
    np.testing.assert_array_equal(function([5, 3], SEED), function([9, 3], SEED)[:5])
    shorter, longer = (xla(partial(function, [n, 2, 3]))(SEED) for n in (5, 9))
    np.testing.assert_allclose(shorter, longer[:5], rtol=0, atol=1e-6)


def test_moments_of_the_draws():
    u, z = (np.asarray(f([200_000], SEED), np.float64) for f in (random.uniform, random.normal))
    assert 0.0 < u.min() < 1e-4 and 1 - 1e-4 < u.max() < 1.0
    np.testing.assert_allclose([u.mean(), u.var()], [1 / 2, 1 / 12], atol=3e-3)
    np.testing.assert_allclose([np.mean(z**k) for k in (1, 2, 3, 4)], [0, 1, 0, 3], atol=0.06)
    assert abs(np.corrcoef(z[:-1], z[1:])[0, 1]) < 0.01 and 4 < np.abs(z).max() < 7


def test_seeds_of_different_places_differ():
    places = [*range(4), "inputs", "context"]
    seeds = [Key(SEED).fold(place).seed for place in places] + list(random.split(SEED, 4))
    assert len({tuple(s.numpy()) for s in seeds}) == 10
    np.testing.assert_array_equal(xla(random.fold_in)(SEED, 2), Key(SEED).fold(2).seed)
    np.testing.assert_array_equal(Key(SEED).fold("a").seed, Key(SEED).fold("a").seed)
    assert random.fold(None, 2) is None


@pytest.mark.parametrize(("rate", "level"), [(0.5, 128), (0.3, 77), (0.25, 64), (0.9, 230)])
def test_dropout_keeps_the_mean_and_rounds_its_rate(rate, level):
    y = nn.dropout(tf.ones([301, 333]), rate, Key(SEED)).numpy()
    dropped, scale = level / 256, 256 / (256 - level)
    assert set(np.unique(y)) == {0.0, np.float32(scale)}
    error = 5 * np.sqrt(dropped * (1 - dropped) / y.size)
    assert abs(np.mean(y == 0) - dropped) < error
    assert abs(y.mean() - 1) < error * scale


@pytest.mark.parametrize("shape", [[1], [3], [2, 3, 5], [7, 1], [8]])
def test_dropout_of_any_size_is_equal_everywhere(shape):
    x = draw(1, *shape)
    masks = [
        wrap(lambda seed: nn.dropout(x, 0.5, Key(seed)))(SEED) for wrap in (*MODES.values(), graph)
    ]
    for mask in masks:
        np.testing.assert_array_equal(mask, masks[0])
        assert mask.shape == x.shape


def test_dropout_masks_follow_the_seed():
    x = tf.ones([64, 4])
    a, b = nn.dropout(x, 0.5, Key(SEED)).numpy(), nn.dropout(x, 0.5, Key(SEED).fold(1)).numpy()
    assert 0.3 < (a != b).mean() < 0.7
    # Four values share one random word.
    assert np.abs(np.corrcoef(a.T) - np.eye(4)).max() < 0.5


def test_dropout_without_seed_or_rate_is_the_identity():
    x = draw(1, 3, 4)
    assert nn.dropout(x, 0.5, None) is x and nn.dropout(x, 0.001, Key(SEED)) is x


def test_dropout_of_bfloat16_and_its_gradient():
    x = tf.ones([5, 7], tf.bfloat16)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = nn.dropout(x, 0.5, Key(SEED))
    assert y.dtype == tf.bfloat16
    np.testing.assert_array_equal(tape.gradient(y, x), y)


def test_dropout_of_nearly_everything_is_finite():
    y = nn.dropout(tf.ones([4000]), 0.999, Key(SEED)).numpy()
    assert np.isfinite(y).all() and np.mean(y == 0) > 0.98


def test_gaussians_agree_with_tensorflow_probability():
    q, p = ((draw(i, 6, 4), 3 * draw(i + 1, 6, 4)) for i in (1, 3))
    x = 2 * draw(5, 6, 4)
    ours, theirs = (tfp.distributions.Normal(m, tf.exp(0.5 * v)) for m, v in (q, p))
    np.testing.assert_allclose(nn.gaussian_log_prob(x, *q), ours.log_prob(x), rtol=1e-4, atol=1e-5)
    expected = tfp.distributions.kl_divergence(ours, theirs)
    np.testing.assert_allclose(nn.gaussian_kl(q, p), expected, rtol=1e-4, atol=1e-5)


def test_kl_of_equal_gaussians_is_exactly_zero():
    p = draw(1, 100), 8 * draw(2, 100)
    for wrap in MODES.values():
        np.testing.assert_array_equal(wrap(nn.gaussian_kl)(p, p), np.zeros(100))


def test_the_kl_to_a_full_covariance_is_split_by_the_chain_rule():
    tfd, mean, other = tfp.distributions, draw(0, 4, 3), draw(1, 4, 3)
    log_variance, scale = draw(2, 4, 3), tf.linalg.band_part(draw(3, 4, 3, 3), -1, 0)
    scale = tf.linalg.set_diag(scale, tf.exp(draw(4, 4, 3)))
    units = nn.gaussian_kl_tril((mean, log_variance), other, scale)
    p = tfd.MultivariateNormalTriL(other, scale)
    q = tfd.MultivariateNormalTriL(mean, tf.linalg.diag(tf.exp(0.5 * log_variance)))
    np.testing.assert_allclose(tf.reduce_sum(units, -1), q.kl_divergence(p), rtol=1e-4)
    assert np.min(units) >= 0.0
    # The first unit alone: KL(q(z_1) || p(z_1)), whatever comes after it.
    first = other[:, 0], 2.0 * tf.math.log(scale[:, 0, 0])
    alone = nn.gaussian_kl((mean[:, 0], log_variance[:, 0]), first)
    np.testing.assert_allclose(units[:, 0], alone, rtol=1e-4, atol=1e-6)


def test_the_product_of_gaussians_is_proportional_to_both():
    one, other = ((draw(i, 4, 2), draw(i + 1, 4, 2)) for i in (0, 2))
    product = nn.gaussian_product(one, other)
    points = [
        nn.gaussian_log_prob(z, *one)
        + nn.gaussian_log_prob(z, *other)
        - nn.gaussian_log_prob(z, *product)
        for z in (-1.0, 0.3, 2.0)
    ]
    np.testing.assert_allclose(points[1:], [points[0]] * 2, rtol=1e-4, atol=1e-5)
    wide, narrow = (0.3, 20.0), (-0.2, -13.0)
    np.testing.assert_allclose(nn.gaussian_product(wide, narrow), narrow, rtol=1e-5)


def test_the_variance_of_a_softplus_is_never_zero():
    mean, log_variance = nn.softplus_gaussian(tf.constant([[1.0, 2.0, -200.0, 50.0]]))
    np.testing.assert_array_equal(mean, [[1.0, 2.0]])
    np.testing.assert_allclose(np.exp(log_variance), [[nn.LEAST_VARIANCE, 50.0]], 1e-4)
    assert nn.softplus_gaussian(tf.zeros([1, 2], tf.bfloat16))[1].dtype == tf.float32


def test_gaussian_head_clips_its_outputs():
    head = nn.GaussianHead(3, dtype="mixed_bfloat16")
    mean, log_variance = head(1e3 * draw(1, 5, 4))
    assert mean.shape == log_variance.shape == (5, 3) and mean.dtype == tf.float32
    both = np.concatenate([mean, log_variance])
    assert both.min() == -8.0 and both.max() == 8.0


def test_gaussian_head_with_a_hidden_layer():
    x, head = 20 * draw(1, 50, 4), nn.GaussianHead(3, hidden_size=6, dropout=0.5)
    ours = np.concatenate(head(x), axis=-1)
    (w, b), (v, c) = (layer.get_weights() for layer in (head.hidden, head.out))
    hidden = x.numpy() @ w + b
    hidden = np.clip(np.where(hidden > 0, hidden, hidden / 3), -3, 3)
    assert {-3.0, 3.0} <= set(np.unique(hidden))
    np.testing.assert_allclose(ours, np.clip(hidden @ v + c, -8, 8), atol=1e-4)
    dropped = np.concatenate(head(x, key=Key(SEED)), axis=-1)
    assert np.abs(dropped - ours).max() > 0.1


# Recurrent layers. Ours are time major; the arrays below are batch major.
LENGTHS, X = np.array([6, 2, 4], np.int32), draw(7, 3, 6, 5)
REAL = (np.arange(6) < LENGTHS[:, None])[..., None]


KERAS = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU, "simple": keras.layers.SimpleRNN}


def layer_of(name, **options):
    layer = recurrent.RECURRENT[name](4, **options)
    layer.build((None, None, 5))
    for i, weight in enumerate(layer.weights):
        weight.assign(draw(20 + i, *weight.shape))
    return layer


def pair_of_layers(name):
    """A layer of ours and that of Keras with the same weights."""
    ours = layer_of(name)
    theirs = KERAS[name](4, return_sequences=True, return_state=True)
    theirs.build((None, None, 5))
    bias = np.stack([ours.bias, ours.recurrent_bias]) if name == "gru" else ours.bias
    theirs.set_weights([ours.kernel, ours.recurrent_kernel, bias])
    return ours, theirs


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("name", KERAS)
def test_recurrent_layers_equal_those_of_keras(name, padded):
    ours, theirs = pair_of_layers(name)
    mask = tf.sequence_mask(LENGTHS, 6) if padded else None
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(X)
        outputs, states = ours(nn.time_major(X), lengths=LENGTHS if padded else None)
        outputs = nn.time_major(outputs) * (REAL if padded else 1.0)
        expected, *ends = theirs(X, mask=mask)
        expected = expected * (REAL if padded else 1.0)
        losses = [tf.reduce_sum(tf.sin(3 * y)) for y in (outputs, expected)]
    for a, b in zip((outputs, *states), (expected, *ends), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    kernels = ours.kernel, theirs.cell.kernel
    gradients = [tape.gradient(a, [X, k]) for a, k in zip(losses, kernels, strict=True)]
    for a, b in zip(*gradients, strict=True):
        assert np.abs(b).max() > 0.1
        np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.parametrize("name", recurrent.RECURRENT)
def test_reversed_layers_start_at_the_end_of_each_row(name):
    layer = layer_of(name)
    outputs, states = layer(nn.time_major(X), lengths=LENGTHS, reverse=True)
    for row, n in enumerate(LENGTHS):
        alone, ends = layer(nn.time_major(X[row : row + 1, :n][:, ::-1]))
        np.testing.assert_allclose(outputs[:n, row], alone[::-1, 0], atol=1e-6)
        for a, b in zip(states, ends, strict=True):
            np.testing.assert_allclose(a[row], b[0], atol=1e-6)


@pytest.mark.parametrize("name", recurrent.RECURRENT)
def test_scalars_equal_their_embedding(name):
    layer = layer_of(name)
    scalars = nn.Scalars(draw(1, 6, 3), draw(2, 5), draw(3, 5))
    results = []
    for x in (lambda: scalars, scalars.embedding):
        with tf.GradientTape() as tape:
            tape.watch(scalars)
            outputs, states = layer(x(), lengths=LENGTHS, reverse=True)
            loss = tf.reduce_sum(tf.sin(3 * outputs))
        gradients = tape.gradient(loss, [*scalars, *layer.trainable_variables])
        results.append([outputs, *states, *gradients])
    for a, b in zip(*results, strict=True):
        assert_close(a, b, 5e-5)


@pytest.mark.parametrize("steps", [1, 30], ids=["embedding first", "kernels first"])
def test_a_projection_equals_that_of_the_embedding(steps, monkeypatch):
    affine = nn.Affine(draw(1, steps, 1, 3), draw(2, 3, 8), draw(3, 8))
    kernel, bias = draw(4, 8, 9), draw(5, 9)
    sources, results, formed = [*affine, kernel, bias], [], []
    form = nn.Affine.embedding
    monkeypatch.setattr(nn.Affine, "embedding", lambda self: formed.append(1) or form(self))
    for x in (lambda: affine, lambda: form(affine)):
        with tf.GradientTape() as tape:
            tape.watch(sources)
            projected = nn.project(x(), kernel, bias, "float32")
            loss = tf.reduce_sum(tf.sin(projected))
        results.append([projected, *tape.gradient(loss, sources)])
    for a, b in zip(*results, strict=True):
        assert_close(a, b, 5e-5)
    assert nn.width(affine) == 8 and nn.width(projected) == 9
    assert bool(formed) is (steps == 1)


def complex_recurrence(layer, x):
    """A linear recurrent unit as published, one step after another, batch major."""
    nu, theta, gamma = np.exp(layer.eigenvalues)
    decay = np.exp(-nu + 1j * theta)
    real, imaginary, direct, direct_gate = np.split(np.asarray(layer.kernel), 4, axis=1)
    out = np.asarray(layer.output_kernel)
    c = out[:4] - 1j * out[4:]  # Re(C s) = Re(C) Re(s) - Im(C) Im(s)
    state, outputs = 0.0, []
    for t in range(x.shape[1]):
        state = decay * state + gamma * (x[:, t] @ (real + 1j * imaginary))
        y = (state @ c).real + x[:, t] @ np.hstack([direct, direct_gate]) + np.asarray(layer.bias)
        outputs.append(np.tanh(y[:, :4]) / (1.0 + np.exp(-y[:, 4:])))
    return np.stack(outputs, axis=1), (state.real, state.imag)


def test_a_linear_recurrent_unit_is_a_complex_recurrence():
    layer = layer_of("lru")
    outputs, states = layer(nn.time_major(X))
    expected, ends = complex_recurrence(layer, np.asarray(X))
    for a, b in zip((nn.time_major(outputs), *states), (expected, *ends), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_eigenvalues_start_on_their_ring_and_stay_in_the_circle():
    layer = recurrent.RECURRENT["lru"](2000, min_radius=0.5, max_radius=0.9, max_phase=1.0)
    layer.build((None, None, 1))
    nu, theta, gamma = np.exp(layer.eigenvalues)
    radius = np.exp(-nu)
    assert 0.5 <= radius.min() < 0.51 and 0.89 < radius.max() <= 0.9
    # Uniform on the area, not on the radius.
    assert np.mean(radius**2) == pytest.approx((0.25 + 0.81) / 2, abs=0.01)
    assert 0.0 <= theta.min() < 0.01 and 0.99 < theta.max() <= 1.0
    np.testing.assert_allclose(gamma**2, 1.0 - radius**2, rtol=1e-4)
    layer.eigenvalues.assign(draw(1, 3, 2000) * 9.0)
    decay, _ = layer._recurrence()
    assert np.hypot(*np.split(np.asarray(decay), 2)).max() <= 1.0


@pytest.mark.parametrize("name", recurrent.RECURRENT)
def test_a_layer_inside_a_loop_is_the_layer(name):
    """Its first inputs known before the loop, the others in it; gradients too."""
    layer, fixed = layer_of(name), 2

    def inside():
        part = layer.part(nn.time_major(X)[..., :fixed])

        def step(inputs, states, dense):
            return part.step(inputs["part"], inputs["extra"], states, dense)

        extra = nn.time_major(X)[..., fixed:]
        inputs, state = {"part": part.inputs, "extra": extra}, layer.zero_state(3)
        return scan.unroll(step, inputs, state, weights=part.weights, time_major=True)

    results = []
    for run in (inside, lambda: layer(nn.time_major(X))):
        with tf.GradientTape() as tape:
            outputs, states = run()
            loss = tf.reduce_sum(tf.sin(3 * outputs))
        results.append([outputs, *states, *tape.gradient(loss, layer.trainable_variables)])
    for a, b in zip(*results, strict=True):
        assert_close(a, b, 5e-5)
    same = np.array_equal(results[1][0][-1], results[1][1])
    assert same == layer.output_is_state


def test_a_linear_recurrent_unit_keeps_its_state_in_float32():
    layer, half = (layer_of("lru", dtype=d) for d in ("float32", "mixed_bfloat16"))
    (expected, _), (outputs, states) = (layer(nn.time_major(X)) for layer in (layer, half))
    assert outputs.dtype == tf.bfloat16 and {s.dtype for s in states} == {tf.float32}
    assert {s.dtype for s in half.zero_state(3)} == {tf.float32}
    np.testing.assert_allclose(tf.cast(outputs, tf.float32), expected, atol=0.1)


# What a scan costs as the number of steps grows.
def gradient_program(name, traces):
    """The gradients of all inputs under XLA."""

    @xla
    def program(*tensors):
        traces.append(name)
        sources = [x for x in tf.nest.flatten(tensors) if x.dtype.is_floating]
        with tf.GradientTape() as tape:
            tape.watch(sources)
            outputs, states = BASIC[name].run(*tensors)
            ends = [x for x in tf.nest.flatten((outputs, states)) if x.dtype.is_floating]
            loss = tf.add_n([tf.reduce_sum(tf.square(x)) for x in ends])
        return loss, tape.gradient(loss, sources)

    return program


def lengthened(name, steps, copies=1):
    """The tensors of a case, repeated along time and rows."""
    inputs, weights, states = BASIC[name].tensors(12)

    def rows(x):
        return tf.repeat(x, copies, axis=0)

    def longer(x):
        return rows(tf.repeat(x, -(-steps // 12), axis=1)[:, :steps])

    return tf.nest.map_structure(longer, inputs), weights, tf.nest.map_structure(rows, states)


@pytest.mark.parametrize("name", BASIC)
def test_one_trace_per_number_of_steps(name):
    traces = []
    program = gradient_program(name, traces)
    for steps in (4, 12, 4, 12):
        program(*BASIC[name].tensors(steps))
    assert len(traces) == 2


@pytest.mark.slow
@pytest.mark.parametrize("name", BASIC)
def test_ten_thousand_steps(name):
    loss, gradients = gradient_program(name, [])(*lengthened(name, 10_000))
    assert np.isfinite(loss) and loss > 100.0
    for gradient in gradients:
        assert np.isfinite(gradient).all() and np.abs(gradient).max() > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("name", BASIC)
def test_time_grows_linearly_with_the_steps(name):
    program, times = gradient_program(name, []), {}
    for steps in (2000, 4000):
        tensors = lengthened(name, steps, copies=32)
        program(*tensors)[0].numpy()
        runs = []
        for _ in range(5):
            start = time.perf_counter()
            program(*tensors)[0].numpy()
            runs.append(time.perf_counter() - start)
        times[steps] = min(runs)
    assert times[4000] < 3 * times[2000]


def peak():
    """The largest memory of this process in KiB; `ru_maxrss` would inherit that of its parent."""
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])


def peak_growth(name, steps):
    """KiB by which one long call raises the peak over a short one."""
    program = gradient_program(name, [])
    program(*lengthened(name, 12, copies=256))
    before = peak()
    program(*lengthened(name, steps, copies=256))
    return peak() - before


@pytest.mark.slow
@pytest.mark.parametrize("name", BASIC)
def test_memory_grows_linearly_with_the_steps(name):
    def measure(steps):
        code = f"from tests.core import test_nn\nprint(test_nn.peak_growth({name!r}, {steps}))"
        command = [sys.executable, "-c", code]
        result = subprocess.run(
            command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True
        )
        return int(result.stdout.split()[-1])

    short, long = measure(2000), measure(4000)
    assert 10_000 < short and long < 2.6 * short, (short, long)

"""What every latent structure promises."""

import json

import h5py
import numpy as np
import pytest
import tensorflow as tf

from srnn_tf import SequenceModel, emissions, likelihoods, structures
from srnn_tf.core import registry
from srnn_tf.core.random import Key
from srnn_tf.zoo import artifacts
from tests import harness

ROWS, STEPS, WIDTH = 3, 6, harness.EVENT_SIZE
PAIRS = harness.PAIRS
LATENT = [p for p in PAIRS if harness.cases(structure=p[0])[0].latent]
DETERMINISTIC = [p for p in PAIRS if p not in LATENT]


def make(name, cell, **changes):
    return harness.structure(name, cell, **changes)


def data(seed, rows=ROWS, steps=STEPS):
    return tf.constant(np.random.default_rng(seed).normal(size=[rows, steps, WIDTH]), tf.float32)


@pytest.fixture(params=PAIRS, ids="-".join, scope="module")
def pair(request):
    return request.param


@pytest.fixture(scope="module")
def structure(pair):
    return make(*pair)


@pytest.fixture(params=LATENT, ids="-".join, scope="module")
def latent(request):
    return make(*request.param)


def draws(structure, rows=ROWS, steps=STEPS, seed=0):
    return (
        harness.noise(rows, steps, structure.latent_size, seed) if structure.latent_size else None
    )


def close(actual, expected, atol=1e-5):
    np.testing.assert_allclose(
        np.asarray(actual, np.float32), np.asarray(expected, np.float32), rtol=atol, atol=atol
    )


def test_the_table_has_every_structure_emission_and_likelihood():
    named = {config.get("class", name) for name, (config, _) in harness.STRUCTURES.items()}
    assert named == set(structures.STRUCTURES)
    named = {config.get("class", name) for name, config in harness.EMISSIONS.items()}
    assert named == set(emissions.EMISSIONS)
    classes = {config["class"] for config in harness.LIKELIHOODS.values()}
    assert classes == set(likelihoods.LIKELIHOODS)


def test_shapes_and_dtypes(structure):
    x = data(0)
    trace = structure(x, targets=data(1), noise=draws(structure))
    assert trace.context.shape == [ROWS, STEPS, structure.context_size]
    for part in (trace.kl, trace.log_ratio, trace.auxiliary):
        assert part.shape == [ROWS, STEPS] and part.dtype == tf.float32
    units = [ROWS, STEPS, structure.latent_size]
    for part in (trace.posterior_mean, trace.posterior_log_variance, trace.kl_per_unit):
        assert part.shape == units if structure.latent_size else part is None
    tf.nest.assert_same_structure(trace.states, structure.initial_states(ROWS))


def test_whole_sequence_equals_step_by_step(structure):
    x, noise = data(0), draws(structure)
    whole = structure(x, noise=noise)
    states, contexts = structure.initial_states(ROWS), []
    for t in range(STEPS):
        part = None if noise is None else noise[:, t : t + 1]
        step = structure(x[:, t : t + 1], states=states, noise=part)
        states = step.states
        contexts.append(step.context)
    close(whole.context, tf.concat(contexts, axis=1))
    for a, b in zip(harness.flatten(whole.states), harness.flatten(states), strict=True):
        close(a, b)
    differ = np.ptp(np.asarray(whole.context), axis=1)  # of a rectified unit, or a bit, some not
    assert differ.max(axis=1).min() > 1e-3


def test_prior_costs_nothing(latent):
    trace = latent(data(0), noise=draws(latent))
    for part in (trace.kl, trace.log_ratio, trace.auxiliary, trace.kl_per_unit):
        assert not np.any(part)


def test_posterior_costs_something(latent):
    trace = latent(data(0), targets=data(1), noise=draws(latent))
    assert np.min(trace.kl) >= 0 and np.min(trace.kl_per_unit) >= -1e-6
    assert np.max(trace.kl) > 0.1
    close(trace.kl, np.sum(trace.kl_per_unit, axis=-1))


@pytest.mark.parametrize("pair", LATENT, ids="-".join)
def test_analytic_kl_is_the_mean_of_the_log_ratio(pair):
    # Smaller weights than elsewhere: the KL to a chain's prior has outliers where that is narrow.
    latent, rows = harness.randomize(make(*pair), scale=0.4), 20_000
    x, y = (tf.repeat(data(seed, rows=1, steps=3), rows, axis=0) for seed in (0, 1))
    trace = latent(x, targets=y, noise=draws(latent, rows, 3))
    difference = np.asarray(trace.log_ratio - trace.kl, np.float64)
    error = difference.std(axis=0) / np.sqrt(rows)
    assert (np.abs(difference.mean(axis=0)) < 3 * error).all()
    assert (error < 0.05 * np.asarray(trace.kl).mean(axis=0)).all()  # the test has power


def test_prior_contexts_are_causal(pair, structure):
    x, noise = data(0), draws(structure)
    weights = data(2)[..., :1]
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        context = structure(x, noise=noise).context * weights
        sums = [tf.reduce_sum(context[:, t]) for t in range(STEPS)]
    first = "fresh" in structure.initial_states(1)  # what is before it is not read
    for t, total in enumerate(sums):
        gradient = tape.gradient(total, x)
        if pair[0] in harness.UNREAD:
            assert gradient is None
            continue
        read = np.abs(gradient).max(axis=(0, 2)) > 0
        # No gradient passes through states of bits.
        assert not read[t + 1 :].any() and not read[: int(first)].any()
        if not structure.score_function:
            assert read.tolist() == [first <= s <= t for s in range(STEPS)]


@pytest.mark.parametrize("pair", LATENT, ids="-".join)
def test_posterior_reads_the_steps_it_should(pair):
    structure, x, y = make(*pair), data(0), data(1)
    noise = draws(structure)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(y)
        mean = structure(x, targets=y, noise=noise).posterior_mean
        sums = [tf.reduce_sum(mean[:, t]) for t in range(STEPS)]
    for t, total in enumerate(sums[:-1]):
        gradient = np.abs(tape.gradient(total, y))
        assert gradient[:, t].any()
        assert gradient[:, t + 1 :].any() == harness.STRUCTURES[pair[0]][1]


@pytest.mark.parametrize("pair", DETERMINISTIC, ids="-".join)
def test_without_latents_targets_are_not_read(pair):
    structure, x = make(*pair), data(0)
    with_targets, without = structure(x, targets=data(1)), structure(x)
    np.testing.assert_array_equal(with_targets.context, without.context)
    assert not np.any(with_targets.kl) and not np.any(with_targets.log_ratio)


def test_padding_changes_nothing(structure):
    lengths = [STEPS, 2, 4]
    mask = harness.lengths_mask(lengths, STEPS)
    noise = draws(structure)

    def run(seed):
        x, y = (tf.where(mask[..., None], data(s), data(s + seed)) for s in (0, 1))
        return structure(x, targets=y, noise=noise, mask=tf.constant(mask))

    one, other = run(2), run(4)
    close(tf.boolean_mask(one.context, mask), tf.boolean_mask(other.context, mask), 1e-6)
    close(tf.boolean_mask(one.kl, mask), tf.boolean_mask(other.kl, mask), 1e-6)
    for a, b in zip(harness.flatten(one.states), harness.flatten(other.states), strict=True):
        close(a, b, 1e-6)


def test_a_padded_row_is_the_row_alone(structure):
    lengths = [STEPS, 2, 4]
    x, y, noise = data(0), data(1), draws(structure)
    mask = tf.constant(harness.lengths_mask(lengths, STEPS))
    batch = structure(x, targets=y, noise=noise, mask=mask)
    for row, n in enumerate(lengths):
        part = None if noise is None else noise[row : row + 1, :n]
        alone = structure(x[row : row + 1, :n], targets=y[row : row + 1, :n], noise=part)
        close(batch.context[row, :n], alone.context[0])
        close(batch.kl[row, :n], alone.kl[0])
        states = zip(harness.flatten(batch.states), harness.flatten(alone.states), strict=True)
        for together, single in states:
            close(together[row], single[0])


@pytest.mark.sampled(4)
def test_gradients_match_finite_differences(pair):
    """Along one random direction through all weights, padding and backward passes included."""
    changes = {"alpha": 0.0} if "zforcing" in pair[0] else {}  # its gradient is stopped
    structure = harness.randomize(make(*pair, **changes), scale=0.3)
    x, y, noise = data(0), data(1), draws(structure)
    mask = tf.constant(harness.lengths_mask([STEPS, 2, 4], STEPS))
    weights, random = structure.trainable_variables, np.random.default_rng(0)
    direction = [random.normal(size=w.shape).astype(np.float32) for w in weights]
    readout = random.normal(size=[ROWS, STEPS, structure.context_size]) * mask[..., None]

    def value():
        trace = structure(x, targets=y, noise=noise, mask=mask)
        kl = tf.where(mask, trace.kl, 0.0)
        for drawn in (trace.score, trace.baseline):  # of bits, which so small a change leaves
            kl += 0.0 if drawn is None else tf.where(mask, drawn, 0.0)
        return tf.reduce_sum(trace.context * tf.cast(readout, tf.float32)) + tf.reduce_sum(kl)

    def moved(size):
        for w, v, d in zip(weights, start, direction, strict=True):
            w.assign(v + size * d)
        return float(value())

    with tf.GradientTape() as tape:
        total = value()
    gradients = tape.gradient(total, weights)
    analytic = sum(np.sum(g * d) for g, d in zip(gradients, direction, strict=True))
    start = [w.numpy() for w in weights]
    numeric = (moved(2e-3) - moved(-2e-3)) / 4e-3
    moved(0.0)
    np.testing.assert_allclose(analytic, numeric, rtol=0.01)
    assert all(np.any(g) for g in gradients)


def test_config_round_trip(structure):
    layer = getattr(structure, "structure", structure)
    config = json.loads(json.dumps(registry.describe(structures.STRUCTURES, layer)))
    again = structures.get(config)
    again.build(layer.get_build_config()["input_shape"])
    assert registry.describe(structures.STRUCTURES, again) == config
    again.set_weights(layer.get_weights())
    if layer is not structure:
        again = harness.Reading(again, structure.emission)
    noise = draws(structure)
    close(again(data(0), noise=noise).context, structure(data(0), noise=noise).context, 0)


@pytest.mark.sampled(4)
def test_dropout_needs_a_seed(pair, structure):
    if "dropout" not in structure.options:
        pytest.skip("it has none")
    dropped = make(*pair, dropout=0.5)
    x, noise = data(0), draws(structure)

    def context(layer, seed=None):
        key = None if seed is None else Key([seed, 0])
        return np.asarray(layer(x, targets=x, noise=noise, key=key).context)

    np.testing.assert_array_equal(context(dropped), context(structure))
    np.testing.assert_array_equal(context(dropped, 1), context(dropped, 1))
    if not pair[0].startswith("dmm"):
        assert (context(dropped, 1) == 0.0).mean() > 0.2  # the last one is before the emission
    assert np.abs(context(dropped, 1) - context(dropped, 2)).max() > 0.1
    close(context(structure, 1), context(structure))  # which may multiply in another order


def forced(likelihood="mixture", structure=None):
    """A model of Z-Forcing with both costs."""
    structure = structure or harness.structure_config("zforcing")
    model = SequenceModel(structure, harness.emission_config("factorized", likelihood))
    model.xla = False
    return harness.randomize(model)


def test_the_reconstruction_is_a_cost_of_the_structure_alone():
    model, x = forced(), np.asarray(data(0))
    density, options = model.density, model.structure.options
    batch, noise = density.batch(x), density.table(STEPS)
    evidence = density.evidence(batch)
    log_prob = density.layers["reconstruction"](evidence["b"]).log_prob(batch.previous)
    close(evidence["cost"][:, 1:], options["beta"] * log_prob[:, 1:])
    assert not np.any(evidence["cost"][:, 0])  # what is before the first step need not be data
    terms, scores = density.terms(batch, noise), model.log_prob(x)
    for weight in density.layers["reconstruction"].weights:
        weight.assign_add(tf.ones_like(weight))
    moved = density.terms(batch, noise)
    assert np.all(np.abs(moved.auxiliary - terms.auxiliary)[:, 1:] > 1e-3)
    close(moved.auxiliary[:, 0], terms.auxiliary[:, 0])
    np.testing.assert_array_equal(model.log_prob(x), scores)


def test_the_reconstruction_is_saved_where_it_was(tmp_path):
    """Beside structure and emission: files of before it was the structure's have it there."""
    model = forced()
    last = [v.path.split("/", 1)[1] for v in model.trainable_variables][-2:]
    assert last == ["reconstruction/dense/kernel", "reconstruction/dense/bias"]
    assert list(artifacts.weights(model))[-2:] == last
    assert not [v for v in model.structure.weights if "reconstruction" in v.path]
    model.save_weights(tmp_path / "model.weights.h5")
    with h5py.File(tmp_path / "model.weights.h5") as file:
        # Keras numbers layers by their class; the first of this class is the emission.
        assert {*file["layers"]} == {"z_forcing", "factorized_1"}
        assert "layers/factorized_1/dense/vars/0" in file


def test_a_structure_keeps_its_reconstruction():
    model = forced()
    again = forced(structure=model.structure)
    assert again.density.layers["reconstruction"] is model.density.layers["reconstruction"]
    with pytest.raises(ValueError, match="`structure` must be a new one"):
        forced("bernoulli", model.structure)

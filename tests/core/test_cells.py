"""The public cells follow the protocol of Keras: inputs and states in, outputs and states out."""

import inspect

import numpy as np
import pytest
import tensorflow as tf

from srnn_tf import structures
from srnn_tf.core import nn, scan
from tests import harness

ROWS, STEPS, WIDTH = 3, 4, harness.EVENT_SIZE
CELLS = {
    "storn": structures.STORNCell,
    "vrnn": structures.VRNNCell,
    "srnn": structures.SRNNCell,
    "srnn_residual": structures.SRNNCell,
    "zforcing": structures.VRNNCell,
    "zforcing_goyal": structures.ZForcingCell,
}
CASES = [(name, *rest) for name in CELLS for rest in (("lstm", 4), ("gru", 0))]


def draw(seed, *shape):
    return tf.constant(np.random.default_rng(seed).normal(size=shape), tf.float32)


def owner(name, kind, hidden_size):
    """The structure whose cell it is."""
    structure = structures.get(harness.structure_config(name, kind, hidden_size=hidden_size))
    structure.build((None, None, WIDTH))
    return harness.randomize(structure)


def unbuilt(name, kind="lstm", hidden_size=4, **changes):
    """The public cell of a row of the harness."""
    config = harness.structure_config(name, kind, hidden_size=hidden_size)
    if name == "zforcing":
        config["evidence_size"] = config["units"]
    accepted = inspect.signature(CELLS[name]).parameters
    return CELLS[name](**{k: v for k, v in config.items() if k in accepted}, **changes)


def make(*case):
    cell = unbuilt(*case)
    cell.build()
    return harness.randomize(cell)


@pytest.fixture(params=CASES, ids=lambda case: "-".join(map(str, case)), scope="module")
def case(request):
    return request.param


@pytest.fixture(scope="module")
def cell(case):
    return make(*case)


def inputs(cell, evidence=True):
    """Batch major."""
    given = {
        "x": draw(0, ROWS, STEPS, cell.embedding_size),
        "noise": draw(1, ROWS, STEPS, cell.latent_size),
    }
    width = getattr(cell, "evidence_size", cell.embedding_size)
    return given | ({"evidence": draw(2, ROWS, STEPS, width)} if evidence else {})


def stepwise(cell, given):
    return scan.unroll(cell, given, cell.get_initial_state(ROWS))


def whole(cell, given):
    """`over_time`, batch major."""
    x, noise, evidence = (
        None if given.get(name) is None else nn.time_major(given[name])
        for name in ("x", "noise", "evidence")
    )
    draws, states = cell.over_time(x, noise, evidence, cell.get_initial_state(ROWS))
    return tf.nest.map_structure(nn.time_major, draws), states


def close(actual, expected, tolerance=1e-5):
    """Of two nests of the same leaves; a Gaussian may be a list or a tuple."""
    for a, b in zip(tf.nest.flatten(actual), tf.nest.flatten(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("evidence", [True, False])
def test_step_by_step_equals_the_whole_sequence(cell, evidence):
    given = inputs(cell, evidence)
    draws, states = stepwise(cell, given)
    close((draws, states), whole(cell, given))
    assert draws.z.shape == [ROWS, STEPS, cell.latent_size]
    assert np.ptp(draws.context, axis=1).min() > 1e-4  # steps do differ
    assert np.any(draws.q[0] != draws.p[0]) == evidence


def test_the_cell_is_that_of_the_structure(case, cell):
    structure = owner(*case)
    assert type(structure.cell) is type(cell)
    cell.set_weights(structure.cell.get_weights())
    x, y, noise = (draw(s, ROWS, STEPS, w) for s, w in ((3, WIDTH), (4, WIDTH), (5, 3)))
    embedded = [nn.time_major(structure.embed(values)) for values in (x, y)]
    evidence = embedded[1] if structure.filtering else structure.evidence(x, y)
    given = {"x": embedded[0], "noise": noise, "evidence": evidence}
    trace, (draws, states) = structure(x, targets=y, noise=noise), stepwise(cell, given)
    close(draws.context, trace.context)
    close(draws.q, (trace.posterior_mean, trace.posterior_log_variance))
    close(nn.gaussian_kl(draws.q, draws.p), trace.kl_per_unit, 1e-4)
    close(states, trace.states)
    prior = structure(x, noise=noise)
    draws, _ = stepwise(cell, {"x": embedded[0], "noise": noise})
    close((draws.context, draws.p[0]), (prior.context, prior.posterior_mean))


def test_gradients_step_by_step_equal_those_over_time(cell):
    given = inputs(cell)
    sources = [*cell.trainable_variables, *tf.nest.flatten(given)]

    def gradients(run):
        with tf.GradientTape() as tape:
            tape.watch(given)
            outputs = tf.nest.flatten(run(cell, given))
            total = sum(tf.reduce_sum(x * draw(i, *x.shape)) for i, x in enumerate(outputs))
        return tape.gradient(total, sources)

    expected = gradients(whole)
    close(gradients(stepwise), expected, 1e-4)
    assert all(np.any(g) for g in expected)


def test_prior_and_posterior_read_the_latents_before(case, cell):
    given = inputs(cell)
    moved = {**given, "noise": given["noise"] + np.float32(np.arange(STEPS) == 1)[:, None]}
    pairs = zip(*(stepwise(cell, x)[0][2:] for x in (given, moved)), strict=True)
    for (mean, _), (other, _) in pairs:
        changed = np.any(mean != other, axis=(0, 2))
        later = np.arange(STEPS) > 1
        np.testing.assert_array_equal(changed, later & (case[0] != "storn"))


def test_a_first_call_builds(case):
    cell, again = unbuilt(*case), make(*case)
    given = {name: x[:, 0] for name, x in inputs(cell).items()}
    assert not cell.built
    draws, states = cell(given, cell.get_initial_state(ROWS))
    assert [w.shape for w in cell.weights] == [w.shape for w in again.weights]
    cell.set_weights(again.get_weights())
    close(cell(given, cell.get_initial_state(ROWS)), again(given, again.get_initial_state(ROWS)))
    tf.nest.assert_same_structure(states, cell.get_initial_state(ROWS))
    assert draws.context.shape[0] == ROWS


def test_config_round_trip(case, cell):
    for one in (cell, owner(*case).cell):
        config = one.get_config()
        again = type(one).from_config(config)
        again.build()
        assert again.get_config() == config
        assert [w.shape for w in again.weights] == [w.shape for w in one.weights]
        assert again.compute_dtype == one.compute_dtype


def defaults(layer):
    """The constructor's arguments, but those of Keras."""
    parameters = inspect.signature(type(layer)).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is not p.VAR_KEYWORD}


def test_a_config_has_every_argument_and_a_cell_the_defaults_of_its_structure(case):
    structure = owner(*case)
    for layer in (structure, structure.cell):
        assert set(layer.options) == set(defaults(layer)) <= set(layer.get_config())
    of_structure, of_cell = defaults(structure), defaults(structure.cell)
    assert set(of_cell) - set(of_structure) <= {"evidence_size"}
    shared = set(of_cell) & set(of_structure) - {"embedding_size"}  # a cell is told its inputs
    assert {k: of_cell[k] for k in shared} == {k: of_structure[k] for k in shared}


def test_dropout_needs_a_seed(case):
    cell, sure = unbuilt(*case, dropout=0.5), make(*case)
    cell.build()
    cell.set_weights(sure.get_weights())
    given = {name: x[:, 0] for name, x in inputs(cell).items()}
    states = cell.get_initial_state(ROWS)

    def mean(**seed):
        return cell({**given, **seed}, states)[0].q[0]

    close(mean(), sure(given, states)[0].q[0])
    close(mean(seed=tf.constant([1, 0])), mean(seed=tf.constant([1, 0])), 0)
    different = np.abs(mean(seed=tf.constant([1, 0])) - mean())
    assert different.max() > 1e-3


@pytest.mark.parametrize("kind", harness.CELLS)
def test_a_residual_posterior_of_zero_has_the_mean_of_the_prior(kind):
    cell = make("srnn_residual", kind, 0)
    given = inputs(cell)
    q, p = stepwise(cell, given)[0][2:]
    assert np.abs(q[0] - p[0]).min() > 1e-4
    for weight in cell.posterior.trainable_variables:
        weight.assign(tf.zeros_like(weight))
    q, p = stepwise(cell, given)[0][2:]
    close(q[0], p[0])
    assert not np.any(q[1]) and np.all(p[1])  # the variance is its own


def test_z_forcing_of_the_appendix_is_a_vrnn_that_reads_the_future():
    structure = owner("zforcing", "lstm", 4)
    assert type(structure.cell) is structures.VRNNCell
    units, embedding_size = structure.options["units"], structure.options["embedding_size"]
    assert structure.cell.evidence_size == structure.evidence_size == units != embedding_size
    assert type(owner("zforcing_goyal", "lstm", 4).cell) is structures.ZForcingCell


SIZES = ("units", "latent_size", "embedding_size", "evidence_size", "num_layers")
WRONG = [
    *[
        ({name: value}, f"`{name}` .* at least 1; .* {value}")
        for name in SIZES
        for value in (0, -1)
    ],
    ({"units": 2.5}, "`units` must be an integer .*; received 2.5"),
    ({"hidden_size": -1}, "`hidden_size` .* at least 0; received -1"),
    ({"cell": "lsmt"}, "unknown `cell` 'lsmt'. Did you mean 'lstm'"),
    ({"dropout": 1.0}, r"`dropout` must be in \[0, 1\); received 1.0"),
]


PAIRS = [
    (cell, *wrong)
    for cell in dict.fromkeys(CELLS.values())
    for wrong in WRONG
    if set(wrong[0]) <= set(inspect.signature(cell).parameters)
]


@pytest.mark.parametrize("number", range(len(PAIRS)))
def test_arguments_that_cannot_be(number):
    cell, changes, message = PAIRS[number]
    with pytest.raises(ValueError, match=message):
        cell(**{"units": 5, "latent_size": 3, "embedding_size": 4, **changes})


FORCING = [
    ({"timing": "goyel"}, "unknown `timing` 'goyel'. Did you mean 'goyal'"),
    ({"alpha": -0.1}, "`alpha` must be a number of at least 0; received -0.1"),
    ({"beta": np.nan}, "`beta` must be a number of at least 0; received nan"),
    ({"beta": "0.1"}, "`beta` must be a number of at least 0; received '0.1'"),
    ({"alpha": np.inf}, "`alpha` must be a number .*; received inf"),
]


@pytest.mark.parametrize("number", range(len(FORCING)))
def test_z_forcing_that_cannot_be(number):
    changes, message = FORCING[number]
    with pytest.raises(ValueError, match=message):
        structures.ZForcing(units=5, latent_size=3, **changes)

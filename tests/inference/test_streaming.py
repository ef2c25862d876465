"""Scoring frame by frame: what it adds up to, and states that can be stored, joined and parted."""

import contextlib

import numpy as np
import pytest
import tensorflow as tf

from tests import harness

ROWS, PARTICLES, STEPS = 256, 8, 4
EXACT = harness.cases(structure="rnn", likelihood=("bernoulli", "mixture"))
WHOLE = harness.cases(cell="lstm", likelihood="bernoulli", flat=False)
LATENT = {case.structure: case for case in WHOLE if case.latent}
FLAT = harness.cases(structure=("vrnn", "srnn"), cell="gru", likelihood="mixture", flat=True)
MOVED = [LATENT["vrnn"], LATENT["parallel_srnn"], FLAT[1], EXACT[0]]
CORES = harness.cases(structure=("rnn_lru", "transformer", "tcn"), likelihood="bernoulli")
MOVED += [case for case in CORES if case.structure == "transformer" and not case.flat]
tree = tf.nest.map_structure


@contextlib.contextmanager
def eagerly():
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(False)


def close(actual, expected, tolerance=1e-5):
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


def joined(*states):
    return tree(lambda *s: tf.concat(s, axis=0), *states)


def start(model, rows, seed=0):
    return model.initial_states(rows, PARTICLES if model.latent_size else None, seed)


def stream(model, x, states):
    """The values of all steps, (B, T), and the states after them."""
    values = []
    for t in range(x.shape[1]):
        nats, states = model.score_step(x[:, t], states)
        values.append(nats)
    return np.stack(values, axis=1), states


@pytest.mark.parametrize("case", EXACT + CORES, ids=str)
def test_without_latents_steps_add_up_to_log_prob(case):
    model, x = harness.shared(case), harness.frames(case, steps=STEPS)
    with eagerly():
        steps, _ = stream(model, x, model.initial_states(len(x)))
        close(steps, model(x)["log_likelihood"], 1e-4)
        close(steps.sum(axis=1), model.log_prob(x), 1e-4)


def assert_same_mean(ours, theirs):
    error = np.sqrt((ours.var() + theirs.var()) / ROWS)
    assert abs(ours.mean() - theirs.mean()) < 3 * error


@pytest.mark.sampled(3)
@pytest.mark.parametrize("case", [*LATENT.values(), *FLAT], ids=str)
def test_with_latents_totals_are_distributed_as_fivo(case):
    model, x = harness.shared(case), harness.frames(case, rows=1, steps=STEPS)
    x = np.repeat(x, ROWS, axis=0)
    proposal = "prior" if harness.STRUCTURES[case.structure][1] else "posterior"
    steps, _ = stream(model, x, start(model, ROWS))
    options = dict(num_samples=PARTICLES, bound="fivo", proposal=proposal, seed=0)
    with eagerly():
        theirs = model.log_prob(x, **options).numpy().astype(np.float64)
    ours = steps.sum(axis=1, dtype=np.float64)
    assert_same_mean(ours, theirs)
    assert_same_mean(np.exp(ours - ours.max()), np.exp(theirs - ours.max()))
    assert len(np.unique(ours)) > 0.9 * ROWS  # every row draws its own particles


@pytest.mark.parametrize("case", MOVED, ids=str)
def test_states_can_be_stored(case):
    model, x = harness.shared(case), harness.frames(case, rows=2)
    _, states = stream(model, x[:, :2], start(model, 2))
    stored = tree(np.asarray, states)
    wide = tree(lambda s: s.astype({"f": np.float64, "i": np.int64}[s.dtype.kind]), stored)
    values, after = stream(model, x[:, 2:4], states)
    for copy in (stored, wide):
        again, other = stream(model, x[:, 2:4], copy)
        np.testing.assert_array_equal(again, values)
        tree(np.testing.assert_array_equal, other, after)


def rows_of(states, rows):
    """These rows of the states, in this order."""
    count = states["log_weights"].shape[1] if "log_weights" in states else 1
    inner = [row * count + k for row in rows for k in range(count)]
    index = {name: inner if name == "structure" else rows for name in states}
    return {
        name: tree(lambda s, i=index[name]: tf.gather(s, i), part) for name, part in states.items()
    }


@pytest.mark.parametrize("case", MOVED, ids=str)
def test_streams_can_be_joined_and_parted(case):
    model, x = harness.shared(case), harness.frames(case, rows=4)
    one, other, rest = x[:2], x[2:], np.concatenate([x[:2, 1:4], x[2:, 3:6]])
    _, early = stream(model, one[:, :1], start(model, 2, seed=1))
    _, late = stream(model, other[:, :3], start(model, 2, seed=2))
    apart = stream(model, one[:, 1:4], early), stream(model, other[:, 3:6], late)
    values, states = stream(model, rest, joined(early, late))
    close(values, np.concatenate([values for values, _ in apart]))
    tree(close, states, joined(*(states for _, states in apart)))
    order = [2, 0]
    picked, _ = stream(model, rest[order], rows_of(joined(early, late), order))
    close(picked, values[order])


def test_the_seed_decides():
    case = LATENT["vrnn"]
    model, x = harness.shared(case), np.repeat(harness.frames(case, rows=1), 2, axis=0)
    values = [stream(model, x, start(model, 2, seed))[0] for seed in (3, 3, 4)]
    np.testing.assert_array_equal(values[0], values[1])
    assert np.abs(values[0] - values[2]).min() > 1e-5
    assert np.abs(values[0][0] - values[0][1]).min() > 1e-5  # equal rows, other particles
    assert model.initial_states(2)["log_weights"].shape == [2, 16]


def test_xla_equals_eager():
    case = LATENT["srnn"]
    model, x = harness.build(case), harness.frames(case, rows=2)
    with eagerly():
        expected, _ = stream(model, x, start(model, 2))
    model.xla = True
    traced = harness.count_traces(model.emission)
    close(stream(model, x, start(model, 2))[0], expected, 1e-4)
    assert len(traced) > 0
    traced.clear()
    stream(model, x, start(model, 2, seed=1))
    assert not traced  # one program for all steps


MODELS = {
    "vrnn": LATENT["vrnn"],
    "gru": harness.cases(structure="vrnn", cell="gru", likelihood="bernoulli", flat=False)[0],
    "srnn": LATENT["srnn"],
    "rnn": EXACT[0],
}


def wrong(model, **changes):
    return lambda: {**start(harness.shared(MODELS[model]), 3), **changes}


def units(model):
    return lambda: start(harness.build(MODELS[model], structure={"units": 6}), 3)


def without(name):
    return lambda: {k: v for k, v in wrong("vrnn")().items() if k != name}


PARTS = "a dict as .* of previous, structure, log_weights, seed, step"
STRUCTURE = r"`states\['structure'\]` must have shape \{.*'z': \[24, 3\]\} .*; received "
STATES = [  # of which model, which states, what the error says
    ("vrnn", wrong("rnn"), rf"{PARTS}; received \['structure', 'previous'\]"),
    ("rnn", wrong("vrnn"), "a dict as .* of previous, structure; received .*'log_weights'"),
    ("vrnn", without("step"), PARTS),
    ("vrnn", lambda: [1, 2], rf"`states` must be {PARTS}; received list"),
    ("vrnn", lambda: None, f"{PARTS}; received NoneType"),
    ("vrnn", wrong("srnn"), f"{STRUCTURE}.*'forward'"),
    ("vrnn", wrong("gru"), STRUCTURE + r"\{'recurrent': \(\[24, 5\],\)"),
    ("vrnn", units("vrnn"), STRUCTURE + r".*\[24, 6\]"),
    ("rnn", units("rnn"), r"\[3, 5\].* for a `frame` of 3 rows; received .*\[3, 6\]"),
    ("vrnn", lambda: start(harness.shared(MODELS["vrnn"]), 2), r"`frame` of 3 rows .*\[2, 3\]"),
    ("rnn", lambda: start(harness.shared(MODELS["rnn"]), 2), r"`frame` of 3 rows; .*\[2, 3\]"),
    ("vrnn", lambda: tree(lambda s: s[:3], wrong("vrnn")()), r"\[24, 5\].*8 particles.*\[3, 5\]"),
    ("vrnn", wrong("vrnn", log_weights=tf.zeros([3])), r"'log_weights'.*\(B, K\); .*\[3\]"),
    ("vrnn", wrong("vrnn", log_weights=tf.zeros([3, 0])), r"'log_weights'.*\(B, K\)"),
    ("vrnn", wrong("vrnn", structure=None), STRUCTURE),
    ("vrnn", wrong("vrnn", seed=np.zeros([3, 2])), "'seed'.*dtype int32; received float64"),
    ("vrnn", wrong("vrnn", step=np.array(["a"] * 3)), "'step'.*dtype int32; received string"),
    ("vrnn", wrong("vrnn", previous=np.zeros([3, 3], object)), "dtype float32; received ndarray"),
]


@pytest.mark.parametrize("number", range(len(STATES)))
def test_states_that_do_not_fit(number):
    model, make, message = STATES[number]
    with pytest.raises(ValueError, match=message):
        harness.shared(MODELS[model]).score_step(np.zeros([3, 3]), make())


GOOD = np.zeros([3, 3])
FRAMES = [
    (GOOD[0], r"`frame` must have rank 2, \(B, 3\); received shape \(3,\)"),
    (GOOD[:, None], r"`frame` must have rank 2, \(B, 3\); received shape \(3, 1, 3\)"),
    (GOOD[:, :2], r"`frame` must have 3 values per step; received shape \(3, 2\)"),
    (GOOD[:0], r"`frame` must not be empty; received shape \(0, 3\)"),
    (np.where(np.eye(3)[2], np.nan, GOOD), r"`frame` must be finite; .* at \(0, 2\)"),
    (GOOD + 0.5, r"`frame` must be 0 or 1 .*; received 0.5 at \(0, 0\)"),
    ([["a", "b", "c"]] * 3, r"`frame` must be a numeric array \(B, 3\)"),
    ([[0, 1], [1]], r"`frame` must be a numeric array \(B, 3\)"),
    (None, r"`frame` must be a numeric array \(B, 3\) of real numbers; received object"),
]


@pytest.mark.parametrize("number", range(len(FRAMES)))
def test_frames_that_do_not_fit(number):
    frame, message = FRAMES[number]
    with pytest.raises(ValueError, match=message):
        harness.shared(MODELS["vrnn"]).score_step(frame, wrong("vrnn")())


ARGUMENTS = [
    ("vrnn", dict(batch_size=0), "`batch_size` must be an integer of at least 1; received 0"),
    ("rnn", dict(batch_size=1.5), "`batch_size` must be an integer .*; received 1.5"),
    ("vrnn", dict(num_particles=0), "`num_particles` must be an integer of at least 1; received 0"),
    ("rnn", dict(num_particles=4), "`num_particles` must be None .*without latents.*; received 4"),
    ("vrnn", dict(seed=-1), "`seed` must be an integer of at least 0; received -1"),
]


@pytest.mark.parametrize("number", range(len(ARGUMENTS)))
def test_initial_states_that_cannot_be(number):
    model, options, message = ARGUMENTS[number]
    with pytest.raises(ValueError, match=message):
        harness.shared(MODELS[model]).initial_states(**{"batch_size": 2, **options})

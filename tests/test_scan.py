"""The loops over time against plain Python loops that TensorFlow differentiates."""

import resource
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf

from srnn_tf import nn, scan

B, T, H = 3, 6, 4
LENGTHS = np.array([6, 2, 4], np.int32)
graph, xla = tf.function, partial(tf.function, jit_compile=True)


def draw(seed, *shape):
    return tf.constant(np.random.default_rng(seed).normal(0.0, 0.7, shape), tf.float32)


def swap(x):
    return tf.transpose(x, [1, 0, *range(2, x.shape.rank)])


class Pair(keras.layers.Layer):
    """Two states, nests in and out, an integer input that picks a row of the weights."""

    def build(self, input_shape=None):
        self.kernel = self.add_weight(shape=(3, H), initializer="glorot_normal")
        self.table = self.add_weight(shape=(4, H), initializer="random_normal")

    def call(self, inputs, states, training=False):
        slow, fast = states
        fast = tf.tanh(inputs["x"] @ self.kernel + tf.gather(self.table, inputs["k"]) - fast * slow)
        slow = 0.5 * slow + fast * fast
        return {"sum": slow + fast, "next": inputs["k"] + 1}, (slow, fast)


# Every case is run(inputs, weights, states, **options) -> outputs, states; batch major.


def lstm(z, weights, states, **options):
    return scan.lstm(z, *weights, states, **options)


def rank_one(x, weights, states, **options):
    return scan.lstm_rank_one(x, *weights, states, **options)


def unroll(cell):
    return lambda inputs, _, states, **options: scan.unroll(cell, inputs, states, **options)


def time_major(run):
    def swapped(inputs, weights, states, **options):
        inputs = tf.nest.map_structure(swap, inputs)
        outputs, states = run(inputs, weights, states, time_major=True, **options)
        return tf.nest.map_structure(swap, outputs), states

    return swapped


def twice(run):
    """The same weights used twice, the second time from where the first one ended."""

    def both(inputs, weights, states, **options):
        first, states = run(inputs, weights, states, **options)
        second, states = run(inputs, weights, states, **options)
        return (first, second), states

    return both


def mixed(lstm, unroll, rank_one):
    def run(inputs, weights, states, **options):
        kernel, base, recurrent = weights
        first, states = lstm(inputs["z"], [recurrent], states, **options)
        second, states = unroll({"x": first[..., :3], "k": inputs["k"]}, [], states, **options)
        third, states = rank_one(
            second["sum"][..., 0], [kernel, base, recurrent], states, **options
        )
        return (first, second, third), states

    return run


def loop(step, inputs, states, lengths=None, reverse=False):
    """The reference: one step after another; a row's states hold still past its end."""
    outputs = [None] * tf.nest.flatten(inputs)[0].shape[1]
    order = range(len(outputs))
    for t in reversed(order) if reverse else order:
        outputs[t], new = step(tf.nest.map_structure(lambda x, t=t: x[:, t], inputs), states)
        if lengths is not None:
            hold = partial(tf.where, (t < lengths)[:, None])
            new = tf.nest.map_structure(hold, new, states)
        states = new
    return tf.nest.map_structure(lambda *x: tf.stack(x, axis=1), *outputs), states


def lstm_loop(z, weights, states, **options):
    def step(z, states):
        h, c = states
        i, f, g, o = tf.split(z + h @ weights[0], 4, axis=-1)
        c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
        h = tf.sigmoid(o) * tf.tanh(c)
        return h, (h, c)

    return loop(step, z, states, **options)


def rank_one_loop(x, weights, states, **options):
    kernel, base, recurrent = weights
    base = base if base.shape.rank == 1 else base[:, None]
    return lstm_loop(base + x[..., None] * kernel, [recurrent], states, **options)


def unroll_loop(cell):
    return lambda inputs, _, states, **options: loop(cell, inputs, states, **options)


class Case(NamedTuple):
    run: Any
    reference: Any
    inputs: Any
    weights: list
    states: tuple
    cell: Any = None

    def tensors(self, steps=T):
        return tf.nest.map_structure(lambda x: x[:, :steps], self.inputs), self.weights, self.states


def built(cell):
    cell.build()
    for i, v in enumerate(cell.trainable_variables):
        v.assign(draw(50 + i, *v.shape))
    return cell


U, STATES, KEYS = (
    draw(1, H, 4 * H),
    (draw(2, B, H), draw(3, B, H)),
    tf.constant([[0, 1, 2] * 4] * B),
)
Z, X, NEST = draw(4, B, 12, 4 * H), draw(5, B, 12), {"x": draw(6, B, 12, 3), "k": KEYS}
ONE, WIDE = [draw(7, 4 * H), draw(8, 4 * H), U], [draw(7, 4 * H), draw(8, B, 4 * H), U]
PAIR, GRU = built(Pair()), built(nn.GRUCell(H))
MIXED = [
    mixed(*f)
    for f in ((lstm, unroll(PAIR), rank_one), (lstm_loop, unroll_loop(PAIR), rank_one_loop))
]
CASES = {
    "lstm": Case(lstm, lstm_loop, Z, [U], STATES),
    "lstm_time_major": Case(time_major(lstm), lstm_loop, Z, [U], STATES),
    "rank_one": Case(rank_one, rank_one_loop, X, ONE, STATES),
    "rank_one_context": Case(rank_one, rank_one_loop, X, WIDE, STATES),
    "rank_one_time_major": Case(time_major(rank_one), rank_one_loop, X, WIDE, STATES),
    "unroll": Case(unroll(PAIR), unroll_loop(PAIR), NEST, [], STATES, PAIR),
    "unroll_time_major": Case(
        time_major(unroll(PAIR)), unroll_loop(PAIR), NEST, [], STATES, PAIR),
    "unroll_gru": Case(unroll(GRU), unroll_loop(GRU), Z[..., :3 * H], [], STATES[:1], GRU),
    "lstm_twice": Case(twice(lstm), twice(lstm_loop), Z, [U], STATES),
    "rank_one_twice": Case(twice(rank_one), twice(rank_one_loop), X, WIDE, STATES),
    "unroll_twice": Case(twice(unroll(PAIR)), twice(unroll_loop(PAIR)), NEST, [], STATES, PAIR),
    "mixed": Case(*MIXED, {"z": Z, "k": KEYS}, WIDE, STATES, PAIR),
}  # fmt: skip
BASIC = ["lstm", "rank_one", "unroll"]
REVERSIBLE = [name for name in CASES if name.startswith(("lstm", "rank_one"))]


def real(lengths, x):
    """1 at the real steps of x (B, T, ...), 0 past the end of a row."""
    mask = tf.sequence_mask(lengths, x.shape[1], x.dtype)
    return tf.reshape(mask, [*mask.shape, *[1] * (x.shape.rank - 2)])


def project(nest):
    """A fixed random projection of all floating tensors: every upstream gradient differs."""
    tensors = [x for x in tf.nest.flatten(nest) if x.dtype.is_floating]
    pairs = [(tf.cast(x, tf.float32), draw(90 + i, *x.shape)) for i, x in enumerate(tensors)]
    return tf.add_n([tf.reduce_sum(x * w) for x, w in pairs])


def evaluate(run, tensors, cell=None, **options):
    """Outputs (zero past the end of a row), states, gradients, and their scalar."""
    sources = [x for x in tf.nest.flatten(tensors) if x.dtype.is_floating]
    with tf.GradientTape() as tape:
        tape.watch(sources)
        outputs, states = run(*tensors, **options)
        if options.get("lengths") is not None:
            outputs = tf.nest.map_structure(lambda x: x * real(options["lengths"], x), outputs)
        loss = project((outputs, states))
    weights = [] if cell is None else cell.trainable_variables
    return outputs, states, tape.gradient(loss, [*sources, *weights]), loss


def assert_close(actual, expected, tolerance=1e-5):
    pairs = zip(tf.nest.flatten(actual), tf.nest.flatten(expected), strict=True)
    for a, e in pairs:
        a, e = (np.asarray(tf.convert_to_tensor(x)).astype(np.float32) for x in (a, e))
        assert a.shape == e.shape and np.isfinite(e).all() and np.abs(e).max() > 0
        np.testing.assert_allclose(a, e, rtol=0, atol=tolerance * max(1.0, np.abs(e).max()))


def options_of(name):
    padded = {"lengths": LENGTHS}
    yield {}
    yield padded
    if name in REVERSIBLE:
        yield {"reverse": True}
        yield padded | {"reverse": True}


ALL = [(name, o) for name in CASES for o in options_of(name)]


def label(value):
    return value if isinstance(value, str) else "+".join(value) or "plain"


@pytest.mark.parametrize(("name", "options"), ALL, ids=label)
def test_values_and_gradients_equal_those_of_a_python_loop(name, options):
    case = CASES[name]
    ours = evaluate(case.run, case.tensors(), case.cell, **options)
    assert_close(ours, evaluate(case.reference, case.tensors(), case.cell, **options))


@pytest.mark.parametrize("name", CASES)
def test_one_step(name):
    case = CASES[name]
    ours = evaluate(case.run, case.tensors(1), case.cell)
    assert_close(ours, evaluate(case.reference, case.tensors(1), case.cell))


COMPILED = [(n, o) for n, o in ALL if o == list(options_of(n))[-1] or n in BASIC and not o]


@pytest.mark.parametrize(("name", "options"), COMPILED, ids=label)
def test_graph_and_xla_agree_with_eager(name, options):
    case = CASES[name]
    call = partial(evaluate, case.run, cell=case.cell)
    expected = call(case.tensors(), **options)
    for wrap in (graph, xla):
        assert_close(wrap(call)(case.tensors(), **options), expected)


@pytest.mark.parametrize("name", ["lstm", "rank_one_context", "unroll", "unroll_gru"])
def test_gradients_equal_finite_differences(name):
    case = CASES[name]
    flat = tf.nest.flatten(case.tensors())
    gradients = iter(evaluate(case.run, case.tensors())[2])

    def moved(i, by):
        tensors = [*flat[:i], flat[i] + by, *flat[i + 1 :]]
        return evaluate(case.run, tf.nest.pack_sequence_as(case.tensors(), tensors))[3]

    for i in (i for i, x in enumerate(flat) if x.dtype.is_floating):
        direction = draw(70 + i, *flat[i].shape)
        slope = (moved(i, 0.01 * direction) - moved(i, -0.01 * direction)) / 0.02
        expected = tf.reduce_sum(direction * next(gradients))
        np.testing.assert_allclose(slope, expected, rtol=1e-2, atol=1e-2)


PADDED = [(n, o) for n, o in ALL if n in BASIC and "lengths" in o]


@pytest.mark.parametrize(("name", "options"), PADDED, ids=label)
def test_a_padded_row_equals_the_row_alone(name, options):
    case, reverse = CASES[name], "reverse" in options
    outputs, states = case.run(*case.tensors(), **options)
    for row, n in enumerate(LENGTHS):
        pick = partial(tf.nest.map_structure, lambda x, row=row: x[row : row + 1])
        turn = partial(tf.nest.map_structure, lambda x: x[:, ::-1] if reverse else x)
        inputs, weights, first = case.tensors(n)
        alone, ends = case.run(turn(pick(inputs)), weights, pick(first))
        assert_close(pick(states), ends)
        assert_close(tf.nest.map_structure(lambda x, n=n: x[:, :n], pick(outputs)), turn(alone))


@pytest.mark.parametrize(("name", "options"), PADDED, ids=label)
def test_padding_changes_nothing(name, options):
    case = CASES[name]
    inputs, *rest = case.tensors()

    def spoil(x):
        return x + (100 if x.dtype.is_floating else 1) * (1 - real(LENGTHS, x))

    clean = evaluate(case.run, (inputs, *rest), case.cell, **options)
    spoiled = tf.nest.map_structure(spoil, inputs), *rest
    for a, b in zip(
        *map(tf.nest.flatten, (clean, evaluate(case.run, spoiled, case.cell, **options))),
        strict=True,
    ):
        np.testing.assert_array_equal(tf.convert_to_tensor(a), tf.convert_to_tensor(b))


@pytest.mark.parametrize("name", BASIC)
def test_the_states_of_an_empty_row_do_not_move(name):
    case = CASES[name]
    for wrap in (lambda f: f, xla):
        states = wrap(lambda *x: case.run(*x, lengths=[T, 0, 3])[1])(*case.tensors())
        assert_close([s[1] for s in states], [s[1] for s in case.states])


@pytest.mark.parametrize("name", ["lstm", "rank_one", "rank_one_context", "unroll_gru"])
def test_bfloat16(name):
    case = CASES[name]
    half = tf.nest.map_structure(lambda x: tf.cast(x, tf.bfloat16), case.tensors())
    outputs, states, gradients, _ = ours = evaluate(case.run, half, case.cell, lengths=LENGTHS)
    assert_close(ours, evaluate(case.run, case.tensors(), case.cell, lengths=LENGTHS), 0.05)
    assert outputs.dtype == states[0].dtype == gradients[0].dtype == tf.bfloat16
    assert states[-1].dtype == (tf.bfloat16 if case.cell else tf.float32)


@pytest.mark.parametrize("name", BASIC)
def test_one_trace_per_number_of_steps(name):
    case, traces = CASES[name], []

    @graph
    def program(tensors):
        traces.append(name)
        return evaluate(case.run, tensors, case.cell)

    for steps in (4, 12, 4, 12):
        program(case.tensors(steps))
    assert len(traces) == 2

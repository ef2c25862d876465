"""The loops over time against plain Python loops that TensorFlow differentiates."""

from functools import partial
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf

from srnn_tf.core import nn, scan

B, T, H = 3, 6, 4
LENGTHS = np.array([6, 2, 4], np.int32)
graph, xla, tree = tf.function, partial(tf.function, jit_compile=True), tf.nest.map_structure


def draw(seed, *shape):
    return tf.constant(np.random.default_rng(seed).normal(0.0, 0.7, shape), tf.float32)


class Pair(keras.layers.Layer):
    """Two states, nests in and out, an integer input that picks a row of the weights."""

    def build(self, input_shape=None):
        self.kernel = self.add_weight(shape=(3, H))
        self.table = self.add_weight(shape=(4, H))

    def call(self, inputs, states, training=False):
        slow, fast = states
        fast = tf.tanh(inputs["x"] @ self.kernel + tf.gather(self.table, inputs["k"]) - fast * slow)
        slow = 0.5 * slow + fast * fast
        return {"sum": slow + fast, "next": inputs["k"] + 1}, (slow, fast)


# Every case is run(inputs, weights, states, **options) -> outputs, states; batch major.
def over(scan):
    return lambda inputs, weights, states, **options: scan(inputs, *weights, states, **options)


def unroll(cell):
    return lambda inputs, _, states, **options: scan.unroll(cell, inputs, states, **options)


def time_major(run):
    def swapped(inputs, weights, states, **options):
        inputs = tree(nn.time_major, inputs)
        outputs, states = run(inputs, weights, states, time_major=True, **options)
        return tree(nn.time_major, outputs), states

    return swapped


def twice(run):
    def both(inputs, weights, states, **options):
        first, states = run(inputs, weights, states, **options)
        second, states = run(inputs, weights, states, **options)
        return (first, second), states

    return both


def mixed(lstm, unroll, rank_one):
    def run(inputs, weights, states, **options):
        first, states = lstm(inputs["z"], weights[2:], states, **options)
        second, states = unroll({"x": first[..., :3], "k": inputs["k"]}, [], states, **options)
        third, states = rank_one(second["sum"][..., 0], weights, states, **options)
        return (first, second, third), states

    return run


def loop(step, inputs, states, lengths=None, reverse=False):
    """The reference: one step after another; a row's states hold still past its end."""
    outputs = [None] * tf.nest.flatten(inputs)[0].shape[1]
    order = range(len(outputs))
    for t in reversed(order) if reverse else order:
        outputs[t], new = step(tree(lambda x, t=t: x[:, t], inputs), states)
        if lengths is not None:
            new = tree(partial(tf.where, (t < lengths)[:, None]), new, states)
        states = new
    return tree(lambda *x: tf.stack(x, axis=1), *outputs), states


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


def diagonal_loop(inputs, weights, states, **options):
    """In complex numbers, as TensorFlow differentiates them."""
    decay = tf.complex(*tf.split(weights[0], 2))

    def step(x, states):
        s = decay * tf.complex(*states) + tf.complex(*tf.split(x, 2, axis=-1))
        states = tf.math.real(s), tf.math.imag(s)
        return tf.concat(states, axis=-1), states

    return loop(step, inputs, states, **options)


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
        return tree(lambda x: x[:, :steps], self.inputs), self.weights, self.states


def built(cell):
    cell.build()
    for i, v in enumerate(cell.trainable_variables):
        v.assign(draw(50 + i, *v.shape))
    return cell


def product_cell(inputs, states, dense):
    """Two kernels, one of them used twice, a bias, and an integer input."""
    slow, fast = states
    gate = tf.sigmoid(dense(inputs["x"], "x") + tf.cast(inputs["k"], slow.dtype)[:, None])
    fast = tf.tanh(dense(slow, "h") * gate + dense(fast, "h"))
    return {"sum": slow + fast, "next": inputs["k"] + 1}, (0.5 * slow + fast * gate, fast)


def run_product(inputs, weights, states, **options):
    x, bias, h = weights
    named = {"x": (x, bias), "h": (h, None)}
    return scan.unroll(product_cell, inputs, states, weights=named, **options)


def product_loop(inputs, weights, states, **options):
    x, bias, h = weights

    def dense(a, name):
        return a @ x + bias if name == "x" else a @ h

    return loop(partial(product_cell, dense=dense), inputs, states, **options)


U, STATES = draw(1, H, 4 * H), (draw(2, B, H), draw(3, B, H))
Z, X, KEYS = draw(4, B, 12, 4 * H), draw(5, B, 12), tf.constant([[0, 1, 2] * 4] * B)
ONE, WIDE = [draw(7, 4 * H), draw(8, 4 * H), U], [draw(7, 4 * H), draw(8, B, 4 * H), U]
NEST = {"x": draw(6, B, 12, 3), "k": KEYS}
TURN = draw(12, B, 12, 2 * H), [draw(13, 2 * H)]
PAIR, MATRICES = built(Pair()), [draw(9, 3, H), draw(10, H), draw(11, H, H)]
BASIC = {
    "lstm": Case(over(scan.lstm), lstm_loop, Z, [U], STATES),
    "unroll": Case(unroll(PAIR), unroll_loop(PAIR), NEST, [], STATES, PAIR),
    "rank_one": Case(over(scan.lstm_rank_one), rank_one_loop, X, ONE, STATES),
}
OURS, LOOPS = ([getattr(c, kind) for c in BASIC.values()] for kind in ("run", "reference"))
CASES = BASIC | {
    "rank_one_context": BASIC["rank_one"]._replace(weights=WIDE),
    "unroll_dense": Case(run_product, product_loop, NEST, MATRICES, STATES),
    "diagonal": Case(over(scan.diagonal), diagonal_loop, *TURN, STATES),
    "mixed": Case(mixed(*OURS), mixed(*LOOPS), {"z": Z, "k": KEYS}, WIDE, STATES, PAIR),
}
for n, c in BASIC.items():
    CASES[f"{n}_time_major"] = c._replace(run=time_major(c.run))
    CASES[f"{n}_twice"] = c._replace(run=twice(c.run), reference=twice(c.reference))
CASES["diagonal_time_major"] = CASES["diagonal"]._replace(run=time_major(CASES["diagonal"].run))


def real(lengths, x):
    """1 at the real steps of x (B, T, ...), 0 past the end of a row."""
    mask = tf.sequence_mask(lengths, x.shape[1], x.dtype)
    return tf.reshape(mask, [*mask.shape, *[1] * (x.shape.rank - 2)])


def evaluate(run, tensors, cell=None, **options):
    """Outputs (zero past the end of a row), states, gradients, and their scalar."""
    sources = [x for x in tf.nest.flatten(tensors) if x.dtype.is_floating]
    with tf.GradientTape() as tape:
        tape.watch(sources)
        outputs, states = run(*tensors, **options)
        if "lengths" in options:
            outputs = tree(lambda x: x * real(options["lengths"], x), outputs)
        ends = [x for x in tf.nest.flatten((outputs, states)) if x.dtype.is_floating]
        # A fixed random projection, so that every upstream gradient differs.
        ends = [tf.cast(x, tf.float32) * draw(90 + i, *x.shape) for i, x in enumerate(ends)]
        loss = tf.add_n([tf.reduce_sum(x) for x in ends])
    weights = [] if cell is None else cell.trainable_variables
    return outputs, states, tape.gradient(loss, [*sources, *weights]), loss


def assert_close(actual, expected, tolerance=1e-5):
    for a, e in zip(tf.nest.flatten(actual), tf.nest.flatten(expected), strict=True):
        a, e = (np.asarray(tf.convert_to_tensor(x)).astype(np.float32) for x in (a, e))
        assert a.shape == e.shape and np.isfinite(e).all() and np.abs(e).max() > 0
        np.testing.assert_allclose(a, e, rtol=0, atol=tolerance * max(1.0, np.abs(e).max()))


PAD, BACK = {"lengths": LENGTHS}, {"reverse": True}
OPTIONS = {"plain": {}, "padded": PAD, "reverse": BACK, "both": PAD | BACK}
ALL = [(n, o) for n in CASES for o in OPTIONS
       if o in ("plain", "padded") or n.startswith(("lstm", "rank", "diagonal"))]  # fmt: skip
# Programs take a second or two to compile.
ALONE = (*BASIC, "diagonal")
COMPILED = [(n, o) for n, o in ALL if o == dict(ALL)[n] or (n in BASIC and o == "plain")]
PADDED = [(n, o) for n, o in ALL if n in ALONE and o in ("padded", "both")]
cases = partial(pytest.mark.parametrize, ("name", "option"))


@pytest.mark.parametrize("steps", [1, T])
@cases(ALL)
def test_values_and_gradients_equal_those_of_a_python_loop(name, option, steps):
    case, options = CASES[name], dict(OPTIONS[option])
    if "lengths" in options:
        options["lengths"] = LENGTHS.clip(1, steps)
    ours = evaluate(case.run, case.tensors(steps), case.cell, **options)
    assert_close(ours, evaluate(case.reference, case.tensors(steps), case.cell, **options))


@pytest.mark.sampled(4)
@cases(COMPILED)
def test_graph_and_xla_agree_with_eager(name, option):
    case, options = CASES[name], OPTIONS[option]
    call = partial(evaluate, case.run, cell=case.cell)
    expected = call(case.tensors(), **options)
    for wrap in (graph, xla):
        assert_close(wrap(call)(case.tensors(), **options), expected)


@pytest.mark.parametrize("name", ["lstm", "rank_one_context", "unroll", "diagonal"])
def test_gradients_equal_finite_differences(name):
    case, flat = CASES[name], tf.nest.flatten(CASES[name].tensors())
    gradients = iter(evaluate(case.run, case.tensors())[2])

    def at(i, x):
        tensors = tf.nest.pack_sequence_as(case.tensors(), [*flat[:i], x, *flat[i + 1 :]])
        return evaluate(case.run, tensors)[3]

    for i, x in ((i, x) for i, x in enumerate(flat) if x.dtype.is_floating):
        direction = draw(70 + i, *x.shape)
        slope = (at(i, x + 0.01 * direction) - at(i, x - 0.01 * direction)) / 0.02
        expected = tf.reduce_sum(direction * next(gradients))
        np.testing.assert_allclose(slope, expected, rtol=1e-2, atol=1e-2)


@cases(PADDED)
def test_a_padded_row_equals_the_row_alone(name, option):
    case, options = CASES[name], OPTIONS[option]
    outputs, states = case.run(*case.tensors(), **options)
    turn = partial(tree, lambda x: x[:, ::-1] if "reverse" in options else x)
    for row, n in enumerate(LENGTHS):
        pick = partial(tree, lambda x, row=row: x[row : row + 1])
        inputs, weights, first = case.tensors(n)
        alone, ends = case.run(turn(pick(inputs)), weights, pick(first))
        assert_close(pick(states), ends)
        assert_close(tree(lambda x, n=n: x[:, :n], pick(outputs)), turn(alone))


@cases(PADDED)
def test_padding_changes_nothing(name, option):
    case, options = CASES[name], OPTIONS[option]
    inputs, *rest = case.tensors()

    def spoil(x):
        return x + (100 if x.dtype.is_floating else 1) * (1 - real(LENGTHS, x))

    def answer(inputs):
        return tf.nest.flatten(evaluate(case.run, (inputs, *rest), case.cell, **options))

    for a, b in zip(answer(inputs), answer(tree(spoil, inputs)), strict=True):
        np.testing.assert_array_equal(tf.convert_to_tensor(a), tf.convert_to_tensor(b))


@pytest.mark.parametrize("name", ["lstm", "rank_one"])
@pytest.mark.parametrize("compiled", [graph, xla])
def test_steps_that_no_row_has_are_left_out(name, compiled):
    case = CASES[name]
    run = compiled(partial(case.run, lengths=np.array([2, 1, 3], np.int32)))
    outputs, _ = run(*case.tensors())
    assert np.all(outputs[:, 3:] == 0.0) and np.all(outputs[:, :3] != 0.0)


@pytest.mark.parametrize("name", ALONE)
def test_the_states_of_an_empty_row_do_not_move(name):
    case = CASES[name]
    run = partial(case.run, lengths=np.array([T, 0, 3], np.int32))
    for states in (run(*case.tensors())[1], xla(run)(*case.tensors())[1]):
        assert_close([s[1] for s in states], [s[1] for s in case.states])


@pytest.mark.parametrize("name", ["lstm", "rank_one", "rank_one_context", "unroll_dense"])
def test_bfloat16(name):
    case = CASES[name]
    half = tree(lambda x: tf.cast(x, tf.bfloat16) if x.dtype.is_floating else x, case.tensors())
    outputs, states, gradients, _ = ours = evaluate(case.run, half, case.cell, **PAD)
    assert_close(ours, evaluate(case.run, case.tensors(), case.cell, **PAD), 0.05)
    last = tf.nest.flatten(outputs)[-1]
    assert last.dtype == states[0].dtype == gradients[0].dtype == tf.bfloat16
    assert states[-1].dtype == (tf.bfloat16 if "unroll" in name else tf.float32)


def count(x, states, training=False):
    return states[0] + 1, (states[0] + 1, states[1] * x)


def test_unroll_carries_integers_and_gives_them_no_gradient():
    x, states = tf.constant([[2.0, 3.0]]), (tf.constant([5]), tf.constant([1.0]))
    with tf.GradientTape() as tape:
        tape.watch(x)
        counts, (last, product) = scan.unroll(count, x, states)
    assert counts.numpy().tolist() == [[6, 7]] and last.numpy() == 7 and product.numpy() == 6
    assert tape.gradient(product, x).numpy().tolist() == [[3.0, 2.0]]


def test_a_diagonal_scan_in_float64_has_the_gradients_of_autodiff():
    random = np.random.default_rng(0)
    inputs, decay = random.normal(size=[B, 40, 2 * H]), random.uniform(-0.7, 0.7, 2 * H)
    tensors = (
        tf.constant(inputs),
        [tf.constant(decay)],
        tuple(tf.constant(random.normal(size=[2, B, H]))),
    )

    def gradients(run):
        flat = tf.nest.flatten(tensors)
        with tf.GradientTape() as tape:
            tape.watch(flat)
            states, last = run(*tensors)
            loss = tf.reduce_sum(tf.sin(states)) + tf.reduce_sum(last[0] * last[1])
        return tape.gradient(loss, flat)

    ours, expected = (gradients(CASES["diagonal"]._asdict()[kind]) for kind in ("run", "reference"))
    for a, b in zip(ours, expected, strict=True):
        assert a.dtype == tf.float64
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)

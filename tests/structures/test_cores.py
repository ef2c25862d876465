"""Cores of today, without latents: what the transformer, the TCN and the LRU read, and refuse."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from srnn_tf import SequenceModel, structures, testing
from tests import harness

ROWS, STEPS, WIDTH = 2, 13, harness.EVENT_SIZE
# name: config, the number of steps that a context has read
CORES = {
    "transformer": (harness.structure_config("transformer"), 7),
    "transformer_one": (harness.structure_config("transformer", num_layers=1, window=3), 3),
    "transformer_of_one_step": (harness.structure_config("transformer", window=1), 1),
    "tcn": (harness.structure_config("tcn"), 7),
    "tcn_dilations": (harness.structure_config("tcn", kernel_size=2, dilations=[2, 1]), 4),
}
every = pytest.mark.parametrize("name", CORES)


def make(name):
    structure = structures.get(CORES[name][0])
    structure.build((None, None, WIDTH))
    return harness.randomize(structure)


def data(seed, steps=STEPS):
    return tf.constant(np.random.default_rng(seed).normal(size=[ROWS, steps, WIDTH]), tf.float32)


def close(actual, expected, tolerance=1e-5):
    for a, b in zip(harness.flatten(actual), harness.flatten(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@every
def test_a_context_reads_its_receptive_field_and_nothing_before(name):
    structure, read = make(name), CORES[name][1]
    x = data(0)
    with tf.GradientTape() as tape:
        tape.watch(x)
        last = tf.reduce_sum(structure(x).context[:, -1] * data(1, 1)[:, 0, :1])
    gradient = np.abs(tape.gradient(last, x)).max(axis=(0, 2))
    np.testing.assert_array_equal(gradient > 0, np.arange(STEPS) >= STEPS - read)
    assert getattr(structure, "receptive_field", read) == read


@every
def test_positions_do_not_matter(name):
    """Contexts of the same steps after other pasts are equal, once these are forgotten."""
    structure, read = make(name), CORES[name][1]
    end = data(0, read)
    early, late = (structure(tf.concat([data(1, n), end], axis=1)).context for n in (5, 34))
    close(early[:, -1], late[:, -1])
    assert read == 1 or np.abs(early[:, -2] - late[:, -2]).max() > 1e-4


@every
def test_parts_of_any_length_continue_one_another(name):
    structure, x = make(name), data(0)
    whole = structure(x)
    for cuts in ([1] * STEPS, [2, 9, 2], [10, 3]):
        states, contexts = None, []
        for part in tf.split(x, cuts, axis=1):
            trace = structure(part, states=states)
            states = trace.states
            contexts.append(trace.context)
        close([tf.concat(contexts, axis=1), states], [whole.context, whole.states])


@every
def test_padded_parts_continue_one_another(name):
    """Rows of other lengths, empty ones too, whose states then differ in age."""
    structure, x = make(name), data(0)
    lengths = [6, 0]
    mask = tf.constant(harness.lengths_mask(lengths, 9))
    states = structure(x[:, :9], mask=mask).states
    rest = structure(x[:, 9:], states=states)
    for row, n in enumerate(lengths):
        alone = tf.concat([x[row : row + 1, :n], x[row : row + 1, 9:]], axis=1)
        close(rest.context[row], structure(alone).context[0, n:])


@pytest.mark.parametrize("name", ["transformer", "tcn"])
@pytest.mark.parametrize("xla", [pytest.param(False, marks=pytest.mark.slow), True])
def test_an_unknown_number_of_steps(name, xla):
    structure = make(name)
    signature = [tf.TensorSpec([None, None, WIDTH])]

    @tf.function(input_signature=signature, jit_compile=xla)
    def program(x):
        trace = structure(x)
        return trace.context, trace.states

    for steps in (2, STEPS) if not xla else (STEPS,):
        trace = structure(data(0, steps))
        close(program(data(0, steps)), (trace.context, trace.states))


@pytest.mark.slow
def test_an_export_restores_the_eigenvalues():
    make = functools.partial(structures.get, harness.structure_config("rnn_lru"))
    testing.check_structure(make, export=True)


@pytest.mark.parametrize(
    "emission", [pytest.param("factorized", marks=pytest.mark.slow), "masked_mlp"]
)
def test_latents_on_a_linear_recurrence_are_trained(emission):
    """Whether a latent helps once a frame is autoregressive is asked of this core too."""
    model = SequenceModel(
        harness.structure_config("parallel_srnn_lru", units=12),
        harness.emission_config(emission, "bernoulli"),
    )
    model.compile(keras.optimizers.Adam(0.05), run_eagerly=True)
    model.xla = False
    x = harness.toy(8, 3)
    losses = model.fit(x, batch_size=8, epochs=5, verbose=0).history["loss"]
    assert np.isfinite(losses).all() and losses[-1] < losses[0] - 0.2, losses


REFUSED = [
    ("transformer", {"window": 0}, "`window` .* at least 1; .* 0"),
    ("transformer", {"num_heads": 3}, "`units` must be a multiple of twice .*; received 8 and 3"),
    ("transformer", {"mlp_size": 0}, "`mlp_size` .* at least 1"),
    ("transformer", {"num_layers": 0}, "`num_layers` .* at least 1"),
    ("transformer", {"dropout": 1.0}, r"`dropout` must be in \[0, 1\)"),
    ("tcn", {"kernel_size": 0}, "`kernel_size` .* at least 1"),
    ("tcn", {"dilations": [1]}, r"`dilations` must be one per layer, 2; received \[1\]"),
    ("tcn", {"dilations": [1, 0]}, "`dilations` .* at least 1; .* 0"),
]


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_arguments_that_cannot_be(number):
    name, changes, message = REFUSED[number]
    with pytest.raises(ValueError, match=message):
        structures.get(harness.structure_config(name, **changes))


def test_a_posterior_that_reads_the_last_output_needs_it_in_the_state():
    message = "`cell` must be one whose state has its last output.*: lstm, gru, simple; .*'lru'"
    with pytest.raises(ValueError, match=message):
        structures.get(harness.structure_config("zforcing_goyal", "lru"))
    structures.get(harness.structure_config("zforcing", "lru"))

"""Outputs of the scans that begin with the initial state."""

import numpy as np
import pytest
import tensorflow as tf

from tests.core.test_scan import CASES, LENGTHS, T, assert_close, evaluate, xla

LSTM = [name for name in CASES if name in ("lstm", "rank_one", "rank_one_context")]
LSTM += [f"{name}_time_major" for name in ("lstm", "rank_one")]
OPTIONS = {"plain": {}, "padded": {"lengths": LENGTHS}}
every = pytest.mark.parametrize("name", LSTM)


def by_hand(run):
    """The plain outputs, the initial h before them."""

    def joined(inputs, weights, states, **options):
        outputs, last = run(inputs, weights, states, **options)
        return tf.concat([states[0][:, None], outputs], axis=1), last

    return joined


def asked_for(run):
    return lambda *tensors, **options: run(*tensors, return_initial=True, **options)


@pytest.mark.parametrize("steps", [1, T])
@pytest.mark.parametrize("option", OPTIONS)
@every
def test_values_and_gradients(name, option, steps):
    case, lengths = CASES[name], OPTIONS[option].get("lengths")

    def call(run):
        if lengths is None:
            return evaluate(run, case.tensors(steps))
        # One more output than steps: what is past the end of a row is made zero by hand.
        return evaluate(masked(run, lengths.clip(1, steps)), case.tensors(steps))

    ours, expected = call(asked_for(case.run)), call(by_hand(case.run))
    assert ours[0].shape[1] == steps + 1
    np.testing.assert_array_equal(ours[0][:, 0], case.states[0])
    assert_close(ours, expected)
    *_, d_h, d_c = ours[2]
    assert d_h.shape == case.states[0].shape and np.all(d_h != 0) and np.all(d_c != 0)


def masked(run, lengths):
    def cut(inputs, weights, states):
        outputs, last = run(inputs, weights, states, lengths=lengths)
        real = tf.sequence_mask(lengths + 1, outputs.shape[1], outputs.dtype)
        return outputs * real[..., None], last

    return cut


@every
def test_the_gradient_of_the_initial_output_alone(name):
    case = CASES[name]
    inputs, weights, states = case.tensors()
    with tf.GradientTape() as tape:
        tape.watch(states)
        outputs, _ = asked_for(case.run)(inputs, weights, states)
        loss = tf.reduce_sum(outputs[:, 0] * tf.range(1.0, 1.0 + outputs.shape[-1]))
    d_h, d_c = tape.gradient(loss, states)
    np.testing.assert_allclose(d_h, np.tile(np.arange(1.0, 1.0 + d_h.shape[1]), [len(d_h), 1]))
    assert not np.any(d_c)


@pytest.mark.parametrize("name", ["lstm", "rank_one_context"])
def test_graph_and_xla_agree_with_eager(name):
    case = CASES[name]

    def call(*tensors):
        return evaluate(asked_for(case.run), tensors)

    expected = call(*case.tensors())
    for wrap in (tf.function, xla):
        assert_close(wrap(call)(*case.tensors()), expected)


@pytest.mark.parametrize("steps", [1, T])
@every
def test_it_is_refused_in_reverse(name, steps):
    case = CASES[name]
    with pytest.raises(ValueError, match="`return_initial` must be False with `reverse`; .* True"):
        case.run(*case.tensors(steps), reverse=True, return_initial=True)

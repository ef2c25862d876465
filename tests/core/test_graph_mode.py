"""Without XLA: what TensorFlow's graph optimizer makes of the loops."""

import numpy as np
import pytest
import tensorflow as tf

from tests import harness

# One row is where the optimizer has folded conditions into nothing.
CASES = [
    case
    for case in harness.cases(cell="lstm", likelihood="bernoulli", flat=False)
    if case.structure in ("rnn", "vrnn", "parallel_srnn")
]


@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_samples_are_those_of_eager_execution(case, rows):
    model = harness.build(case)
    drawn = model.sample(batch_size=rows, num_steps=5, seed=0).numpy()
    tf.config.run_functions_eagerly(True)
    try:
        expected = model.sample(batch_size=rows, num_steps=5, seed=0).numpy()
    finally:
        tf.config.run_functions_eagerly(False)
    np.testing.assert_array_equal(drawn, expected)
    assert drawn.shape == (rows, 5, harness.EVENT_SIZE)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_one_row_scores_as_in_a_batch(case):
    model, x = harness.build(case), harness.frames(case, rows=2)
    whole = model.log_prob(x).numpy()
    np.testing.assert_allclose(model.log_prob(x[:1]), whole[:1], rtol=1e-5)

"""What a model says of the latents of sequences, and which of them are in use."""

import numpy as np
import pytest
import tensorflow as tf

from srnn_tf.training import metrics
from tests import harness

ROWS, STEPS, SIZE = 3, 9, 3  # so many steps are padded to 10
LATENT = [c for c in harness.cases(cell="lstm", likelihood="bernoulli") if c.latent]
CASES = [
    *[c for c in LATENT if not c.flat],
    *[c for c in LATENT if c.flat and c.structure == "srnn"],
    *harness.cases(structure="vrnn", cell="gru", likelihood="mixture"),
]
DETERMINISTIC = harness.cases(structure="rnn", cell="gru", likelihood="bernoulli", flat=False)[0]
CHAIN = CASES[-1]  # whose posterior reads the latents before
MASK = harness.lengths_mask([9, 2, 4], STEPS)


@pytest.fixture(autouse=True)
def eager():
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


def close(actual, expected, tolerance=1e-5):
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_it_is_what_a_call_draws_with_the_same_noise(case):
    model, x = harness.shared(case), harness.frames(case, ROWS, STEPS)
    found, out = model.posterior(x, MASK), model(x, mask=MASK)
    steps = STEPS * (harness.EVENT_SIZE if case.flat else 1)
    real = np.repeat(MASK, steps // STEPS, axis=1)
    for part in found:
        assert part.shape == [ROWS, steps, SIZE] and part.dtype == tf.float32
        assert not np.any(part.numpy()[~real]) and np.any(part, axis=(1, 2)).all()
    close(model.density.sum_frames(tf.reduce_sum(found.kl, axis=-1)), out["kl"], 1e-4)
    close(found.mean.numpy()[real], out["posterior_mean"].numpy()[real])
    assert np.min(found.kl) >= -1e-6


@pytest.mark.parametrize("case", CASES, ids=str)
def test_padding_and_other_rows_change_nothing(case):
    model, x = harness.shared(case), harness.frames(case, ROWS, STEPS)
    found = model.posterior(x, MASK)
    other = model.posterior(np.where(MASK[..., None], x, 1 - x), MASK)
    alone = model.posterior(x[1:2, :2])
    for ours, padded, single in zip(found, other, alone, strict=True):
        np.testing.assert_array_equal(padded, ours)
        close(ours[1:2, : single.shape[1]], single)


def test_the_seed_is_that_of_the_draws():
    model, x = harness.shared(CHAIN), np.repeat(harness.frames(CHAIN, rows=1), 2, axis=0)
    fixed, first, again, other = (model.posterior(x, seed=s).mean for s in (None, 1, 1, 2))
    np.testing.assert_array_equal(first, again)
    for a, b in ((first, other), (first, fixed), (first[:1], first[1:])):
        assert np.abs(a - b)[:, 1:].max() > 1e-3
    np.testing.assert_array_equal(first[:, 0], np.broadcast_to(fixed[:1, 0], [2, SIZE]))


ERRORS = [
    (DETERMINISTIC, {}, "`posterior` needs a model with latents"),
    (LATENT[0], {"frames": np.zeros([ROWS, STEPS, 2])}, "`frames` must have 3 values per step"),
    (LATENT[0], {"mask": MASK[:2]}, r"`mask` must have shape \(B, T\)"),
    (LATENT[0], {"seed": -1}, "`seed` must be an integer of at least 0; received -1"),
]


@pytest.mark.parametrize("number", range(len(ERRORS)))
def test_what_cannot_be_asked(number):
    case, changes, message = ERRORS[number]
    with pytest.raises(ValueError, match=message):
        harness.shared(case).posterior(**{"frames": np.zeros([ROWS, STEPS, 3]), **changes})


def test_active_units_of_one_batch_and_of_many():
    scale = [0.5, 0.05, 0.12, 0.07, 0.0]
    means = np.random.default_rng(0).normal(2.0, scale, [ROWS, 40, 5]).astype(np.float32)
    mask = harness.lengths_mask([40, 25, 30], 40)
    means[~mask] = 100.0
    expected = means[mask].var(axis=0) > 0.01
    assert expected.tolist() == [True, False, True, False, False]
    np.testing.assert_array_equal(metrics.active_units(means, mask), expected)
    assert np.all(metrics.active_units(means))
    np.testing.assert_array_equal(metrics.active_units(means, mask, 1e-3), np.array(scale) > 0.04)
    metric = metrics.ActiveUnits(5)
    for row in range(ROWS):
        metric.update_state(means[row : row + 1], mask[row : row + 1])
    assert float(metric.result()) == 2

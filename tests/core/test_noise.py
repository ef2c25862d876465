"""One table of noise for all who score."""

import numpy as np

from tests import harness


def test_a_call_and_log_prob_draw_the_same_latents():
    case = next(c for c in harness.cases(likelihood="bernoulli", flat=False) if c.latent)
    model, x = harness.shared(case), harness.frames(case, 3, 5)
    out = model(x)
    by_hand = np.sum(out["log_likelihood"] - out["kl"], axis=1)
    np.testing.assert_allclose(model.log_prob(x), by_hand, rtol=1e-5)
    assert not np.allclose(model.log_prob(x, seed=1), by_hand, rtol=1e-5)


def test_num_samples_averages_and_seeds_draw_anew():
    case = harness.cases(structure="parallel_srnn", cell="lstm", likelihood="bernoulli")[0]
    model, x = harness.shared(case), harness.frames(case)
    draws = []
    for sample in range(3):
        noise = np.repeat(harness.table_noise(model, 7, sample), 3, axis=0)
        out = model(x, noise=noise)
        draws.append(np.sum(out["log_likelihood"] - out["kl"], axis=1))
    np.testing.assert_allclose(model.log_prob(x, num_samples=3), np.mean(draws, axis=0), rtol=1e-4)
    same, other = model.log_prob(x, seed=1), model.log_prob(x, seed=2)
    np.testing.assert_array_equal(model.log_prob(x, seed=1), same)
    assert np.abs(same - other).min() > 1e-3 and np.abs(same - model.log_prob(x)).min() > 1e-3

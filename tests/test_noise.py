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

"""A seed for each row: its score is a function of its own data and seed alone."""

import numpy as np
import pytest

from tests import harness

REQUESTS = [
    {"bound": "elbo", "num_samples": 2},
    {"bound": "iwae", "num_samples": 3},
    {"bound": "fivo", "num_samples": 3, "ess_threshold": 1.0},
    {"bound": "fivo", "num_samples": 3, "proposal": "prior"},
]
LENGTHS, SEEDS = (9, 5, 2), (4, 7, 4)


@pytest.fixture(scope="module", params=["vrnn", "parallel_srnn"])
def model(request):
    fields = {"structure": request.param, "cell": "lstm", "likelihood": "bernoulli", "flat": False}
    case = harness.cases(**fields)[0]
    return harness.build(case, window=3), harness.frames(case, rows=3, steps=9)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("protocol", ["full", "paper"])
@pytest.mark.parametrize(
    "request_", REQUESTS, ids=lambda r: f"{r['bound']}-{r.get('proposal', '')}"
)
def test_a_row_depends_on_its_own_seed_alone(model, request_, protocol):
    model, x = model
    mask = np.arange(9) < np.array(LENGTHS)[:, None]
    options = {**request_, "protocol": protocol}
    together = model.log_prob(x, mask, seed=SEEDS, **options).numpy()
    for i in (2, 1):  # alone, without padding, and in another place of a batch
        alone = model.log_prob(x[i : i + 1, : LENGTHS[i]], seed=[SEEDS[i]], **options).numpy()
        np.testing.assert_allclose(alone, together[i : i + 1], rtol=1e-5, atol=1e-5)
    turned = model.log_prob(x[::-1], mask[::-1], seed=SEEDS[::-1], **options).numpy()
    np.testing.assert_allclose(turned[::-1], together, rtol=1e-5, atol=1e-5)
    other = model.log_prob(x, mask, seed=[4, 8, 4], **options).numpy()
    assert abs(other[1] - together[1]) > 1e-4
    np.testing.assert_allclose(other[[0, 2]], together[[0, 2]], rtol=1e-5, atol=1e-5)


def test_windows_draw_each_their_own(model):
    """With one seed for all rows, equal windows of a row still score differently."""
    model, x = model
    frames = np.tile(x[:1, :1], [1, 7, 1])  # under "paper", two windows of the same three steps
    both = model.log_prob(frames, seed=[3], protocol="paper", bound="fivo", num_samples=2)
    first = model.log_prob(frames[:, :4], seed=[3], protocol="paper", bound="fivo", num_samples=2)
    assert abs(float(both[0]) - 2 * float(first[0])) > 1e-4


def test_bad_seeds(model):
    model, x = model
    for seed, message in (
        ([1, 2], "one for each of the 3 rows; received int64 of shape .2,."),
        ([1, 2, -3], "at least 0"),
        ([0.5, 1, 2], "received float64"),
        (-1, "`seed` must be an integer of at least 0"),
    ):
        with pytest.raises(ValueError, match=message):
            model.log_prob(x, seed=seed)

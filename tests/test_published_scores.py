"""Published models score and draw as they did when they were published.

Whatever the code becomes: `tests/fixtures/published_scores.json` was written by
`python -m tests.published_scores` before it was taken apart.
"""

import json

import numpy as np
import pytest

from srnn_tf import zoo
from tests import published_scores

EXPECTED = json.loads(published_scores.PATH.read_text())
# One of each emission, and one with latents.
FAST = ("f_rnn_bach", "f_srnn_bach", "delta_rnn_random_bach", "rnn_hier_mlp_nottingham")
FAST += ("rnn_hier_nottingham",)


def same_draws(found, expected, binary):
    """Draws of one seed: reals to 1e-4, and of bits 1 % may round another way."""
    found, expected = np.array(found), np.array(expected)
    assert found.shape == expected.shape
    if binary:
        assert np.mean(found != expected) <= 0.01
    else:
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "name", [n if n in FAST else pytest.param(n, marks=pytest.mark.slow) for n in EXPECTED]
)
def test_scores_and_draws_are_those_of_before(name):
    found, expected = published_scores.of(name), EXPECTED[name]
    binary = zoo.card(name)["event_size"] == 88
    assert found.keys() == expected.keys()
    for key, values in expected.items():
        if key == "drawn":
            same_draws(found[key], values, binary)
        elif key == "sample":
            same_draws(found[key]["frames"], values["frames"], binary)
        elif isinstance(values, dict):
            assert found[key].keys() == values.keys()
            for part, numbers in values.items():
                np.testing.assert_allclose(found[key][part], numbers, rtol=1e-5, atol=1e-4)
        else:
            # Relative to the sum of a whole sequence; other instruction sets round differently.
            np.testing.assert_allclose(found[key], values, rtol=1e-6, atol=1e-5)


def test_every_published_model_is_compared():
    assert set(EXPECTED) <= set(zoo.names(published=True))
    assert set(FAST) <= set(EXPECTED)

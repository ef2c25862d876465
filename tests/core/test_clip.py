"""Clipping of gradients, those too large for their squares to be held included."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from srnn_tf import structures
from srnn_tf.core import checks
from srnn_tf.training.clip import clip
from tests import harness


@pytest.mark.parametrize("scale", [1e-32, 1e-3, 1.0, 1e30])
@pytest.mark.parametrize("jit", [False, True])
def test_clip_scales_down_to_the_norm(scale, jit):
    gradients = [tf.constant([3.0, 0.0]) * scale, tf.constant([[4.0]]) * scale]
    clipped = tf.function(clip, jit_compile=jit)(gradients, 0.5)
    factor = min(1.0, 0.5 / (5.0 * scale))
    for ours, given in zip(clipped, gradients, strict=True):
        np.testing.assert_allclose(ours, given * factor, rtol=1e-5)


def test_all_gradients_are_reduced_at_once():
    """XLA compiles each reduction: six loops for each gradient took a third of the first update."""
    gradients = [tf.TensorSpec([n]) for n in (2, 3, 4)]
    graph = tf.function(clip).get_concrete_function(gradients, 0.5).graph
    kinds = [operation.type for operation in graph.get_operations()]
    assert kinds.count("Max") == kinds.count("Sum") == kinds.count("Square") == 1


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("jit", [False, True])
def test_a_gradient_that_is_not_finite_is_passed_over(bad, jit):
    gradients = [tf.constant([1.0, bad]), tf.constant([2.0])]
    clipped = tf.function(clip, jit_compile=jit)(gradients, 0.5)
    assert all(not np.any(g) for g in clipped)


def test_weights_survive_an_update_that_overflows(monkeypatch):
    monkeypatch.setattr(checks, "LARGEST", np.inf)  # data so large are refused
    case = harness.cases(structure="rnn", cell="lstm", likelihood="normal", flat=False)[0]
    model, x = harness.build(case), harness.frames(case)
    model.compile(keras.optimizers.Adam(0.01), run_eagerly=True)
    before = model.get_weights()
    model.fit(x * 1e30, batch_size=3, verbose=0)  # squares of it are infinite
    assert int(model.step) == 1
    for a, b in zip(model.trainable_variables, model.get_weights(), strict=False):
        assert np.isfinite(a).all() and np.isfinite(b).all()
    assert any(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    model.fit(x, batch_size=3, verbose=0)
    changed = zip(before, model.get_weights(), strict=True)
    assert all(np.isfinite(b).all() for b in model.get_weights())
    assert any(not np.array_equal(a, b) for a, b in changed)


@pytest.mark.parametrize("hidden_size", [0, 4])
def test_a_chain_of_linear_heads_starts_unconnected(hidden_size):
    sizes = {"units": 8, "latent_size": 3, "embedding_size": 4, "hidden_size": hidden_size}
    structure = structures.get({"class": "srnn", **sizes})
    structure.build((None, None, 5))
    for head in (structure.cell.prior, structure.cell.posterior):
        kernel = (head.hidden or head.out).kernel.numpy()
        assert np.all(kernel[:-3] != 0) and np.any(kernel[-3:]) == bool(hidden_size)

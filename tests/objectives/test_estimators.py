"""Importance weighted and filtering bounds: what they depend on, and what they do not."""

import numpy as np
import pytest
import tensorflow as tf

from srnn_tf.core.frames import shift
from srnn_tf.density import Batch
from srnn_tf.inference import scoring
from srnn_tf.objectives import importance_weighted, iwae
from srnn_tf.objectives.importance import chunk_size, weights_of
from srnn_tf.objectives.particles import ParticleFilter, filtering
from tests import harness

LATENT = [c for c in harness.cases(cell="lstm", likelihood="bernoulli", flat=False) if c.latent]
VRNN, PARALLEL = (
    next(c for c in LATENT if c.structure == name) for name in ("vrnn", "parallel_srnn")
)
FLAT = harness.cases(structure="vrnn", cell="gru", likelihood="normal", flat=True)[0]
CASES, BOUNDS = [VRNN, PARALLEL, FLAT], ("iwae", "fivo")
ROWS, STEPS = 3, 4
MASK = harness.lengths_mask([4, 2, 3], STEPS)


@pytest.fixture(autouse=True)
def eagerly():
    """Nothing is compiled, which is quick for a few steps."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


def close(actual, expected, tolerance=1e-5):
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("case", LATENT, ids=str)
def test_without_resampling_a_filter_weighs_whole_sequences(case):
    model, k = harness.shared(case), 4
    x, table = tf.constant(harness.frames(case, ROWS, STEPS)), harness.noise(k, STEPS, 3)
    data = Batch(tf.where(MASK[..., None], x, 0.0), shift(x), tf.constant(MASK))
    seeds = tf.stack([tf.range(k), tf.zeros(k, tf.int32)], axis=1)
    whole = weights_of(model.density, data, seeds, lambda s: tf.gather(table, s[:1]), 2)
    cell = ParticleFilter(model.density, k, ess_threshold=0.0)
    noise = tf.transpose(table, [1, 0, 2])[:, None]
    found, states = filtering(cell, data, noise, tf.zeros([STEPS, 1]))
    close(np.sum(found.bound, axis=1), iwae(whole.log_weights))
    weights = np.transpose(tf.nn.log_softmax(whole.log_weights, axis=0))
    close(states["log_weights"], weights, 1e-4)
    assert np.ptp(weights, axis=1).min() > 0.3


@pytest.mark.parametrize("case", CASES[:2], ids=str)
def test_the_states_of_a_filter_are_those_after_the_last_real_step(case):
    model, x = harness.shared(case), tf.constant(harness.frames(case, ROWS, STEPS))
    cell, noise = ParticleFilter(model.density, 2, ess_threshold=2.0), harness.noise(STEPS, 2, 3)
    data = Batch(tf.where(MASK[..., None], x, 0.0), shift(x), tf.constant(MASK))
    given = (noise[:, None], tf.fill([STEPS, 1], 0.4))
    _, batch = filtering(cell, data, *given)
    _, alone = filtering(cell, Batch(*(d[1:2, :2] for d in data)), *(g[:2] for g in given))
    close(batch["log_weights"][1], alone["log_weights"][0])
    states = (harness.flatten(found["structure"]) for found in (batch, alone))
    for together, single in zip(*states, strict=True):
        close(together[2:4], single)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("bound", BOUNDS)
@pytest.mark.parametrize("protocol", scoring.PROTOCOLS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_row_depends_neither_on_padding_nor_on_its_batch(case, protocol, bound):
    model = harness.build(case, window=2)
    x = np.where(MASK[..., None], harness.frames(case, ROWS, STEPS), 1.0)
    how = {"bound": bound, "num_samples": 3, "protocol": protocol}
    batch, others = model.log_prob(x, MASK, **how).numpy(), [2, 1]
    close(batch[others], model.log_prob(x[others, :3], MASK[others, :3], **how), 1e-4)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_one_sample_is_a_call(case):
    model, x = harness.shared(case), harness.frames(case, ROWS, STEPS)
    table = harness.table_noise(model, STEPS * model.steps_per_frame)
    out = model(x, mask=MASK, noise=tf.repeat(table, ROWS, axis=0))
    by_hand = np.sum(out["log_likelihood"] - out["log_ratio"], axis=1)
    close(model.log_prob(x, MASK, bound="iwae"), by_hand)


def test_windows_are_sequences_of_their_own():
    model, x, k = harness.build(VRNN, window=2), harness.frames(VRNN, ROWS, 5), 6
    total = 0.0
    for start in (1, 3):
        now, before = slice(start, start + 2), slice(start - 1, start + 1)
        tables = [harness.table_noise(model, 4, sample)[:, before] for sample in range(k)]
        calls = [
            model(x[:, now], previous=x[:, before], noise=tf.repeat(table, ROWS, axis=0))
            for table in tables
        ]
        each = [np.sum(out["log_likelihood"] - out["log_ratio"], axis=1) for out in calls]
        total = total + np.logaddexp.reduce(each, axis=0) - np.log(k)
    close(model.log_prob(x, num_samples=k, protocol="paper", bound="iwae"), total)


@pytest.mark.parametrize("seed", [None, 3])
@pytest.mark.parametrize("protocol", scoring.PROTOCOLS)
def test_chunks_of_draws_change_nothing(protocol, seed, monkeypatch):
    model, x = harness.build(PARALLEL, window=2), harness.frames(PARALLEL, 2, STEPS)
    how = {"bound": "iwae", "num_samples": 7, "protocol": protocol, "seed": seed}
    whole, calls = model.log_prob(x, **how), harness.count_traces(model.emission)
    monkeypatch.setattr(importance_weighted, "MAX_STEPS", 16)  # two draws of two rows of four steps
    close(model.log_prob(x, **how), whole)
    assert len(calls) == 4


@pytest.mark.parametrize("protocol", scoring.PROTOCOLS)
def test_groups_of_rows_change_nothing(protocol, monkeypatch):
    model, x = harness.build(PARALLEL, window=2), harness.frames(PARALLEL, ROWS, STEPS)
    how = {"bound": "fivo", "num_samples": 4, "protocol": protocol}
    whole, windows = model.log_prob(x, **how), {"full": 1, "paper": 2}[protocol]
    calls = harness.count_traces(model.structure)
    monkeypatch.setattr(scoring, "MAX_PARTICLES", 2 * 4 * windows)  # two rows at once
    close(model.log_prob(x, **how), whole)
    assert len(calls) >= 2
    repeated = model.log_prob(np.repeat(x[:1], 5, axis=0), seed=1, **how)
    assert len(np.unique(repeated)) == 5  # with a seed every row of every group draws its own


@pytest.mark.parametrize("case", CASES, ids=str)
def test_blocks_of_steps_change_nothing_but_the_noise(case, monkeypatch):
    def same(key, latent_size, steps, groups, num_particles):
        table = harness.noise(1, num_particles, latent_size)[None]
        return tf.tile(table, [steps, groups, 1, 1]), tf.fill([steps, groups], 0.3)

    monkeypatch.setattr(scoring.draws, "filter_noise", same)
    model, x = harness.shared(case), harness.frames(case, ROWS, STEPS)
    how = {"bound": "fivo", "num_samples": 8, "ess_threshold": 0.9}
    whole = model.log_prob(x, MASK, **how)
    monkeypatch.setattr(scoring, "BLOCK", 2)
    close(model.log_prob(x, MASK, **how), whole)
    assert np.abs(whole - model.log_prob(x, MASK, **{**how, "ess_threshold": 0.0})).max() > 0.01


@pytest.mark.parametrize("bound", ["fivo", pytest.param("iwae", marks=pytest.mark.slow)])
def test_compiled_programs_say_the_same(bound):
    model, x = harness.build(VRNN), harness.frames(VRNN, ROWS, STEPS)
    eager = model.log_prob(x, MASK, num_samples=3, bound=bound)
    tf.config.run_functions_eagerly(False)
    model.xla = True
    close(model.log_prob(x, MASK, num_samples=3, bound=bound), eager, 1e-4)


@pytest.mark.parametrize("given", [(48, 20, 16), (7, 3, 1), (7, 7, 7), (4, 16, 4), (6, 0, 1)])
def test_chunk_size(given):
    num_samples, most, expected = given
    assert chunk_size(num_samples, most) == expected

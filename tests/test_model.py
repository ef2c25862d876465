"""The density, the samples and the files of a model."""

import time

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from srnn_tf.core.frames import reframe, shift
from tests import harness

RNN = {c.likelihood: c for c in harness.cases(structure="rnn", cell="lstm", flat=False)}
SRNN = {c.likelihood: c for c in harness.cases(structure="parallel_srnn", cell="lstm", flat=False)}
LATENT = [c for c in harness.cases(cell="lstm", likelihood="bernoulli", flat=False) if c.latent]
FLAT = [
    *harness.cases(structure="rnn", cell="gru", likelihood="bernoulli", flat=True),
    *harness.cases(structure="parallel_srnn", cell="lstm", likelihood="mixture", flat=True),
]
GRU = harness.cases(cell="gru", likelihood="mixture")
SCORED = [RNN["bernoulli"], SRNN["normal"], *GRU]
MASK = harness.lengths_mask([7, 1, 4], 7)


def close(actual, expected, rtol=1e-5, atol=1e-5):
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=atol)


def bound(out):
    return np.asarray(out["log_likelihood"] - out["kl"])


def table(model, steps, sample=0):
    return harness.table_noise(model, steps, sample) if model.latent_size else None


def repeated(noise, rows):
    return None if noise is None else tf.repeat(noise, rows, axis=0)


@pytest.mark.sampled(6)
@pytest.mark.parametrize("case", harness.cases(cell="lstm") + GRU, ids=str)
def test_call_is_zero_under_the_mask(case):
    model, x = harness.shared(case), harness.frames(case)
    out = model(x, mask=MASK)
    for name in harness.PER_FRAME:
        assert out[name].shape == x.shape[:2] and out[name].dtype == tf.float32
        assert not np.any(out[name][~MASK])
    assert np.all(out["log_likelihood"][MASK] != 0)
    assert np.any(out["kl"]) == case.latent and ("posterior_mean" in out) == case.latent
    assert set(out) - {"posterior_mean"} == {*harness.PER_FRAME, "states"}
    other = np.where(MASK[..., None], x, 1 - x)
    close(model(other, mask=MASK)["log_likelihood"], out["log_likelihood"])


@pytest.mark.parametrize("case", GRU, ids=str)
def test_states_go_on_from_an_earlier_call(case):
    if harness.STRUCTURES[case.structure][1]:
        pytest.skip("its posterior reads the future")
    model, x = harness.shared(case), harness.frames(case)
    noise, cut = table(model, 7 * model.steps_per_frame), 4 * model.steps_per_frame
    early, late = (None, None) if noise is None else (noise[:, :cut], noise[:, cut:])
    first = model(x[:, :4], noise=early)
    rest = model(x[:, 4:], previous=x[:, 3:-1], states=first["states"], noise=late)
    close(tf.concat([bound(first), bound(rest)], axis=1), bound(model(x)), 1e-4)


@pytest.mark.sampled(7)
@pytest.mark.parametrize("case", SCORED, ids=str)
def test_log_prob_is_the_sum_of_the_terms_of_a_call(case):
    model, x = harness.shared(case), harness.frames(case)
    noise = repeated(table(model, 7 * model.steps_per_frame), len(x))
    together = model.log_prob(x, MASK)
    assert together.shape == [3] and together.dtype == tf.float32
    close(together, bound(model(x, mask=MASK, noise=noise)).sum(axis=1), 1e-4)
    close(model.log_prob(x[2:, :4]), together[2:])  # whatever its batch and its padding


@pytest.fixture(params=["argument", "global"])
def mixed(request):
    """Builds models whose structures and emissions compute in bfloat16."""
    if request.param == "argument":
        yield lambda case: harness.build(case, dtype="mixed_bfloat16")
        return
    keras.config.set_dtype_policy("mixed_bfloat16")
    yield harness.build
    keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize("case", [RNN["mixture"], SRNN["mixture"]], ids=str)
def test_bfloat16_structures_score_in_float32(case, mixed):
    models, x = (harness.shared(case), mixed(case)), harness.frames(case, rows=8)
    assert models[1].structure(x[:, :1], noise=tf.zeros([8, 1, 3])).context.dtype == tf.bfloat16
    one, other = (bound(m(x)) for m in models)
    close(other, one, 0.05, 0.05)
    # A sequence of one step: only the density sees it, and bfloat16 has no 1.001.
    ones = np.ones([1, 1, 3], np.float32)
    slopes = [(m(ones * 1.001)["log_likelihood"] - m(ones)["log_likelihood"]) for m in models]
    assert np.all(slopes[1] != 0)
    close(slopes[1], slopes[0], 0.2)
    slopes = [m.log_prob(ones * 1.001) - m.log_prob(ones) for m in models]
    close(slopes[1], slopes[0], 0.2)


def by_hand(model, x):
    """The paper's protocol, one window at a time through the model itself."""
    steps, before, total = x[:, 1:], x[:, :-1], 0.0
    noise = table(model, steps.shape[1])
    for i in range(0, steps.shape[1], model.window):
        part = slice(i, i + model.window)
        draws = None if noise is None else repeated(noise[:, part], len(x))
        out = model(steps[:, part], previous=before[:, part], noise=draws)
        total += bound(out).sum(axis=1)
    return total


@pytest.mark.parametrize("case", [RNN["mixture"], SRNN["bernoulli"]], ids=str)
def test_paper_protocol_scores_windows(case):
    model, x = harness.build(case, window=3), harness.frames(case, steps=8)
    score = model.log_prob(x, protocol="paper")
    close(score, by_hand(model, x), 1e-4)
    mask = harness.lengths_mask([8, 6, 1], 8)
    cut = model.log_prob(x, mask, protocol="paper")
    close(cut[0], score[0])
    close(cut[1:2], by_hand(model, x[1:2, :6]), 1e-4)
    assert cut[2] == 0.0  # the first step is context alone
    assert np.abs(score - by_hand(harness.build(case, window=4), x)).max() > 1e-3


@pytest.mark.parametrize("case", FLAT, ids=str)
def test_flat_is_the_model_of_single_values(case):
    flat, x = harness.build(case, window=2), harness.frames(case, steps=5)
    single = harness.build(case, event_size=1, window=2 * harness.EVENT_SIZE)
    single.set_weights(flat.get_weights())
    values = np.asarray(reframe(tf.constant(x), 1))
    mask = harness.lengths_mask([5, 2, 3], 5)
    for protocol in ("full", "paper"):
        expected = single.log_prob(values, mask.repeat(3, axis=1), protocol=protocol)
        close(flat.log_prob(x, mask, protocol=protocol), expected, 1e-4)
    close(flat.log_prob(x, protocol="paper"), by_hand(single, values), 1e-4)  # less one value
    out = flat(x, previous=np.concatenate([1 - x[:, :1], x[:, :-1]], axis=1))
    first = np.concatenate([1 - values[:, 2:3], values[:, :-1]], axis=1)
    of_values = single(values, previous=first)["log_likelihood"]
    close(out["log_likelihood"], flat.density.sum_frames(of_values))


DETERMINISTIC = [c for c in harness.cases(likelihood="bernoulli") if not c.latent]


@pytest.mark.parametrize("case", DETERMINISTIC, ids=str)
def test_deterministic_models_are_normalized(case):
    sequences = harness.all_binary(2, 3)
    total = np.exp(harness.shared(case).log_prob(sequences)).sum()
    close(total, 1.0, 1e-5)


def importance(model, sequences, samples):
    """Estimates of p(x) by latents from the posterior: (len(sequences), samples)."""
    x = tf.repeat(sequences, samples, axis=0)
    noise = harness.noise(len(x), x.shape[1], model.latent_size)
    trace = model.structure(shift(x), targets=x, noise=noise)
    log_weights = model.emission(trace.context).log_prob(x) - trace.log_ratio
    weights = tf.exp(tf.reduce_sum(log_weights, axis=1))
    return np.reshape(weights, [len(sequences), samples]).astype(np.float64)


@pytest.mark.sampled(4)
@pytest.mark.parametrize("case", LATENT, ids=str)
def test_latent_models_are_normalized_and_the_elbo_is_a_bound(case):
    model, sequences = harness.build(case, scale=0.2), harness.all_binary(2, 3)
    estimates = importance(model, sequences, 4000)
    error = np.sqrt(estimates.var(axis=1).sum() / estimates.shape[1])
    assert error < 0.02 and abs(estimates.mean(axis=1).sum() - 1.0) < 3 * error
    elbo = model.log_prob(sequences, num_samples=100, seed=0).numpy()
    assert 0.3 < np.exp(elbo).sum() < 1.0
    assert (elbo < np.log(estimates.mean(axis=1)) + 0.1).all()


SAMPLED = [RNN["mixture"], SRNN["normal"], *harness.cases(cell="gru", likelihood="bernoulli")]


@pytest.mark.sampled(4)
@pytest.mark.parametrize("case", SAMPLED, ids=str)
def test_samples_depend_on_the_seed_alone(case):
    model = harness.shared(case)
    drawn = model.sample(4, 6, seed=3)
    assert drawn.shape == [4, 6, 3] and drawn.dtype == tf.float32
    np.testing.assert_array_equal(model.sample(4, 6, seed=3), drawn)
    assert np.any(model.sample(4, 6, seed=4) != drawn)
    assert np.unique(drawn.numpy(), axis=0).shape[0] > 1  # rows are draws of their own
    if case.likelihood == "bernoulli":
        assert np.isin(drawn, (0.0, 1.0)).all()


@pytest.mark.parametrize(
    "case", [SRNN["mixture"], pytest.param(RNN["bernoulli"], marks=pytest.mark.slow)], ids=str
)
def test_samples_agree_in_length_and_compilation(case):
    model = harness.build(case)
    prefix = harness.frames(case, steps=3) if case.latent else None
    long = model.sample(3, 6, seed=0, prefix=prefix)
    close(model.sample(3, 4, seed=0, prefix=prefix), long[:, :4])
    tf.config.run_functions_eagerly(True)
    try:
        eager = model.sample(3, 6, seed=0, prefix=prefix)
    finally:
        tf.config.run_functions_eagerly(False)
    close(eager, long, 1e-3, 1e-3)
    model.xla = True
    close(model.sample(3, 6, seed=0, prefix=prefix), long, 1e-3, 1e-3)


def greedy(model, prefix, steps):
    """The most likely value of every step, the whole sequence computed anew for each."""
    x = prefix
    for _ in range(steps):
        before = np.pad(x, [(0, 0), (1, 0), (0, 0)])
        noise = tf.zeros([len(x), before.shape[1], model.latent_size])
        context = model.structure(before, noise=noise).context
        x = np.concatenate([x, model.emission(context[:, -1:]).mode()], axis=1)
    return x[:, prefix.shape[1] :]


@pytest.mark.parametrize("case", [RNN["bernoulli"], SRNN["bernoulli"]], ids=str)
def test_cold_samples_are_greedy(case):
    model = harness.shared(case)
    expected = greedy(model, np.zeros([2, 0, 3], np.float32), 6)
    np.testing.assert_array_equal(model.sample(2, 6, seed=0, temperature=1e-9), expected)


@pytest.mark.parametrize("case", [*DETERMINISTIC[:2], SRNN["bernoulli"]], ids=str)
def test_a_prefix_is_continued(case):
    chaotic = {"scale": 1.5, "weights": 6}
    model, prefix = harness.build(case, **chaotic), harness.frames(case, 32, steps=4)
    warm = [model.sample(32, 5, seed=0, prefix=p) for p in (prefix, 1 - prefix)]
    assert np.any(warm[0] != warm[1])
    if not case.latent:  # the latents of a prefix are drawn
        drawn = model.sample(32, 5, seed=0, prefix=prefix, temperature=1e-9)
        assert len(np.unique(drawn, axis=0)) > 1
        single = harness.build(case, event_size=1, **chaotic) if case.flat else model
        start, drawn = (np.asarray(reframe(x, model.frame_size)) for x in (prefix, drawn))
        np.testing.assert_array_equal(drawn, greedy(single, start, drawn.shape[1]))


@pytest.mark.parametrize("flat", [False, True])
def test_sample_frequencies_match_the_density(flat):
    case = harness.cases(structure="rnn", cell="lstm", likelihood="bernoulli", flat=flat)[0]
    model, sequences = harness.build(case, event_size=2), harness.all_binary(2, 2)
    drawn = model.sample(20_000, 2, seed=0).numpy().reshape(-1, 4)
    counts = np.bincount((drawn @ [8, 4, 2, 1]).astype(int), minlength=16)
    expected = np.exp(model.log_prob(sequences).numpy().astype(np.float64))
    assert np.ptp(expected) > 0.05
    assert scipy.stats.chisquare(counts, expected / expected.sum() * 20_000).pvalue > 1e-3


def test_latent_sample_frequencies_match_the_density():
    model, sequences = harness.build(SRNN["bernoulli"], event_size=2), harness.all_binary(2, 2)
    drawn = model.sample(20_000, 2, seed=0).numpy().reshape(-1, 4)
    counts = np.bincount((drawn @ [8, 4, 2, 1]).astype(int), minlength=16)
    x = tf.repeat(sequences, 20_000, axis=0)
    trace = model.structure(shift(x), noise=harness.noise(len(x), 2, 3))  # from the prior
    density = tf.exp(tf.reduce_sum(model.emission(trace.context).log_prob(x), axis=1))
    expected = np.reshape(density, [16, -1]).mean(axis=1)
    close(expected.sum(), 1.0, 0.01)
    close(counts / 20_000, expected, 0, 0.01)
    assert np.ptp(expected) > 0.05


def test_sampling_is_much_faster_than_calling_the_model_step_by_step():
    model, steps = harness.build(RNN["bernoulli"]), 60
    model.xla = True
    model.sample(2, steps, seed=0)
    start = time.perf_counter()
    model.sample(2, steps, seed=1)
    compiled = (time.perf_counter() - start) / steps
    x, states = np.zeros([2, 1, 3], np.float32), None
    start = time.perf_counter()
    for _ in range(5):
        trace = model.structure(x, states=states)
        x, states = model.emission(trace.context).sample(seed=[0, 0]), trace.states
    assert (time.perf_counter() - start) / 5 > 20 * compiled


def test_a_second_call_compiles_nothing():
    model, x = harness.build(RNN["bernoulli"]), harness.frames(RNN["bernoulli"])
    model.xla = True
    calls = harness.count_traces(model.emission)

    def work(seed):
        model.log_prob(x, seed=seed)
        model.sample(2, 3, seed=seed, temperature=1.0 / (seed + 1))
        return len(calls)

    first = work(0)
    assert first > 0
    assert work(1) == first
    model.log_prob(x[:, :5])
    assert len(calls) > first


def test_without_a_seed_samples_are_new_and_follow_that_of_keras():
    model = harness.build(harness.cases(structure="rnn", flat=False)[0])
    first, second = (model.sample(4, 6).numpy() for _ in range(2))
    assert first.shape == (4, 6, model.event_size) and (first != second).any()
    again = []
    for _ in range(2):
        keras.utils.set_random_seed(3)
        again.append(model.sample(4, 6).numpy())
    np.testing.assert_array_equal(*again)
    with pytest.raises(ValueError, match="`seed` must be an integer inside a `tf.function`"):
        tf.function(lambda: model.sample(4, 6))()

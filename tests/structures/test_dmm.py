"""Deep Markov models: what a step reads, posteriors, filtering, mistakes in arguments."""

import numpy as np
import pytest
import tensorflow as tf

from srnn_tf import SequenceModel, structures, testing
from srnn_tf.core import nn
from srnn_tf.structures.dmm_inference import NETWORKS
from tests import harness

VARIANTS = [(network, "average") for network in NETWORKS]
VARIANTS += [(network, "product") for network in NETWORKS if network.startswith("st")]
ROWS, STEPS, WIDTH = 2, 4, harness.EVENT_SIZE


def make(**changes):
    structure = structures.get(harness.structure_config("dmm", **changes))
    structure.build((None, None, WIDTH))
    return harness.randomize(structure)


def data(seed):
    return harness.noise(ROWS, STEPS, WIDTH, seed)


def draws():
    return harness.noise(ROWS, STEPS, 3, 5)


def test_a_deep_kalman_filter_has_the_properties_of_a_structure():
    changes = {"transition": "mlp", "inference": "mf_lr", "initial": "learned"}
    config = harness.structure_config("dmm", **changes)
    testing.check_structure(lambda: structures.get(config), saving=False)


def test_features_of_another_posterior_are_refused():
    structure = make(inference="st_lr")
    evidence = make(inference="st_r").evidence(data(0), data(1))
    with pytest.raises(ValueError, match="`evidence` must have left, right; received right"):
        structure(data(0), noise=draws(), evidence=evidence)


@pytest.mark.parametrize("network, combiner", VARIANTS)
def test_a_posterior_reads_what_its_network_does(network, combiner):
    structure, y, noise = make(inference=network, combiner=combiner), data(1), draws()
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([y, noise])
        mean = structure(data(0), targets=y, noise=noise).posterior_mean
        total = tf.reduce_sum(mean[:, 2])
    read = np.abs(tape.gradient(total, y)).max(axis=(0, 2)) > 0
    past, future = "l" in network[2:], "r" in network[2:]
    assert read.tolist() == [past, past, True, future] or network.startswith("st")
    assert read[2] and read[3] == future
    latents = tape.gradient(total, noise)  # those of the steps before
    reads = [False] * 4 if latents is None else (np.abs(latents).max(axis=(0, 2)) > 0).tolist()
    assert reads == ([True, True, False, False] if network.startswith("st") else [False] * 4)
    assert structure.filtering == (not future)
    assert (structure.evidence(data(0), y) is None) == structure.filtering


@pytest.mark.parametrize("transition", ["gated", "mlp", "linear"])
def test_a_frame_is_read_by_the_next_step_alone(transition):
    """x_{t-1} is in p(z_t) and h_t; the code of the paper has x_{t-2} in p(z_t)."""
    structure = make(autoregressive=True, transition=transition)
    x, noise = data(0), draws()
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        trace = structure(x, noise=noise)
        mean, context = (tf.reduce_sum(a[:, 2]) for a in (trace.posterior_mean, trace.context))
        first = tf.reduce_sum(trace.context[:, 0]) + tf.reduce_sum(trace.posterior_mean[:, 0])
    for total in (mean, context):  # `inputs` has x_{t-1} at t
        read = np.abs(tape.gradient(total, x)).max(axis=(0, 2)) > 0
        assert read.tolist() == [False, True, True, False]  # x_1 through z_2
    assert not np.any(tape.gradient(first, x))


def test_the_product_is_that_of_the_transition_and_the_message():
    structure, x, y = make(combiner="product"), data(0), data(1)
    evidence = structure.evidence(x, y)
    states = structure.initial_states(ROWS)
    for t in range(STEPS):
        now = slice(t, t + 1)
        given = {name: h[:, now] for name, h in evidence.items()}
        noise = draws()[:, now]
        prior = structure(x[:, now], states=states, noise=noise)
        trace = structure(x[:, now], states=states, noise=noise, evidence=given)
        message = nn.softplus_gaussian(structure.posterior.heads[0](given["right"]))
        precisions = [np.exp(-np.asarray(a)) for a in (prior.posterior_log_variance, message[1])]
        variance = 1.0 / sum(precisions)
        means = np.stack([prior.posterior_mean, message[0]]) * np.stack(precisions)
        np.testing.assert_allclose(np.exp(trace.posterior_log_variance), variance, 1e-4)
        np.testing.assert_allclose(trace.posterior_mean, means.sum(axis=0) * variance, 1e-4, 1e-6)
        states = trace.states


def test_the_first_latent_has_the_initial_distribution():
    for initial, mean, variance in [("standard", 0.0, 1.0), ("learned", 0.5, 2.0)]:
        structure = make(initial=initial)
        if initial == "learned":
            structure.initial_mean.assign(tf.fill([3], mean))
            structure.initial_variance.assign(tf.fill([3], np.log(np.expm1(variance))))
        trace = structure(data(0), noise=draws())
        np.testing.assert_allclose(trace.posterior_mean[:, 0], mean, atol=1e-6)
        np.testing.assert_allclose(np.exp(trace.posterior_log_variance[:, 0]), variance, 1e-5)
        assert np.ptp(trace.posterior_mean[:, 1:]) > 0.1
    fresh = structures.get(harness.structure_config("dmm", initial="learned"))
    fresh.build((None, None, WIDTH))
    np.testing.assert_allclose(fresh._first(), [[0.0] * 3] * 2, atol=1e-5)


def test_gated_and_linear_transitions_start_at_the_latent_before():
    for name in ("gated", "linear"):
        structure = structures.get(harness.structure_config("dmm", transition=name))
        structure.build((None, None, WIDTH))
        (linear,) = (layer for layer in structure.transition.layers if layer.name == "linear")
        np.testing.assert_array_equal(linear.kernel, np.eye(3))


@pytest.mark.parametrize("network", ["st_l", "mf_l"])
def test_a_filtering_posterior_carries_its_recurrence(network):
    """Particles of a stream come from the posterior, whose state a draw from the prior keeps."""
    structure, x, y = make(inference=network), data(0), data(1)
    whole = structure(x, targets=y, noise=draws())
    begun = structure(x[:, :2], targets=y[:, :2], noise=draws()[:, :2])
    rest = structure(x[:, 2:], targets=y[:, 2:], noise=draws()[:, 2:], states=begun.states)
    np.testing.assert_allclose(rest.kl, whole.kl[:, 2:], 1e-4, 1e-5)
    kept = structure(x[:, 2:], noise=draws()[:, 2:], states=begun.states).states["left"]
    tf.nest.map_structure(np.testing.assert_array_equal, kept, begun.states["left"])


REFUSED = [
    ({"inference": "st_f"}, "unknown `inference` 'st_f'.*mf_l, mf_lr, mf_r, st_l, st_lr, st_r"),
    ({"combiner": "sum"}, "unknown `combiner` 'sum'.*average, product"),
    ({"inference": "mf_r", "combiner": "product"}, "'average' for a mean-field .*'product' with"),
    ({"transition": "gate"}, "unknown `transition` 'gate'.*gated, linear, mlp"),
    ({"initial": "zero"}, "unknown `initial` 'zero'.*learned, standard"),
    ({"autoregressive": 1}, "`autoregressive` must be True or False; received 1"),
    ({"transition_units": 0}, "`transition_units` must be an integer of at least 1; received 0"),
    ({"emission_units": 2.5}, "`emission_units` must be an integer of at least 1; received 2.5"),
    ({"latent_size": 0}, "`latent_size` must be an integer of at least 1; received 0"),
    ({"units": -1}, "`units` must be an integer of at least 1; received -1"),
    ({"cell": "elman"}, "unknown `cell` 'elman'"),
    ({"dropout": 1.0}, r"`dropout` must be in \[0, 1\); received 1.0"),
    ({"infrence": "st_r"}, "unknown argument .*'infrence'. Did you mean 'inference'"),
]


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_bad_arguments(number):
    changes, message = REFUSED[number]
    config = {"class": "dmm", **harness.STRUCTURES["dmm"][0], **changes}
    with pytest.raises(ValueError, match=message):
        SequenceModel(config, harness.emission_config("factorized", "bernoulli"))

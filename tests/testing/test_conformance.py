"""Everything registered keeps the promises that `srnn_tf.testing` checks."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from srnn_tf import ELBO, FIVO, IWAE, Exact, emissions, objectives, structures, testing
from srnn_tf.core.random import Key
from srnn_tf.density import SequenceDensity
from srnn_tf.emissions import Factorized
from srnn_tf.structures import RNN, VRNN
from tests import harness

# At least one of each class.
OBJECTIVES = [Exact(), ELBO(free_nats=0.1), IWAE(3), FIVO(2), FIVO(2, proposal="prior")]


@pytest.mark.parametrize("name", harness.STRUCTURES)
def test_structures(name):
    make = functools.partial(structures.get, harness.structure_config(name))
    testing.check_structure(make, saving=False)


@pytest.mark.parametrize("likelihood", ["bernoulli", "mixture"])
@pytest.mark.parametrize("name", harness.EMISSIONS)
def test_emissions(name, likelihood):
    make = functools.partial(emissions.get, harness.emission_config(name, likelihood))
    testing.check_emission(make, saving=False)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("structure", ["rnn", "vrnn", "srnn"])
@pytest.mark.parametrize("objective", OBJECTIVES, ids=repr)
def test_objectives(objective, structure):
    latent = structure != "rnn"
    if latent == isinstance(objective, Exact):
        pytest.skip("not for such a density")
    config = harness.structure_config(structure)
    density = SequenceDensity(config, harness.emission_config("factorized", "bernoulli"))
    testing.check_objective(objective, density)


def test_every_objective_is_checked():
    package = {c for c in objectives.OBJECTIVES.values() if c.__module__.startswith("srnn_tf.")}
    assert {type(objective) for objective in OBJECTIVES} == package  # other tests register theirs


def changed(cls, change):
    """A subclass whose traces are changed by a function of its inputs and the trace."""

    def call(self, inputs, **given):
        return change(inputs, cls.call(self, inputs, **given))

    return type("Changed", (cls,), {"call": call})


SMALL = {"units": 3, "latent_size": 2, "embedding_size": 2}
BROKEN = {
    "a whole sequence is its steps one by one, under the prior: differs by": lambda x, trace: (
        trace._replace(context=trace.context * tf.cast(tf.shape(x)[1], tf.float32))
    ),
    "causality: the gradient of context 0 by later inputs is": lambda x, trace: trace._replace(
        context=trace.context + 0.0 * tf.stop_gradient(x[:, :, :1]) + 1e-7 * x[:, -1:, :1]
    ),
    "the prior under the posterior is the one that sequences are drawn from: KL(q || p): differs": (
        lambda x, trace: trace._replace(kl_per_unit=1.1 * trace.kl_per_unit)
    ),
    "the KL under the prior is 1, must be 0": lambda x, trace: trace._replace(
        kl=tf.ones_like(trace.kl)
    ),
    "the KL under the posterior: is -": lambda x, trace: trace._replace(kl=-trace.kl),
    "shapes: kl is (3,), must be (3, 4)": lambda x, trace: trace._replace(kl=trace.kl[:, 0]),
}


@pytest.mark.parametrize("message", BROKEN)
def test_a_broken_structure_is_told(message):
    make = functools.partial(changed(VRNN, BROKEN[message]), **SMALL)
    with pytest.raises(AssertionError) as error:
        testing.check_structure(make, saving=False)
    assert str(error.value).replace(":", "").startswith(message.replace(":", ""))


def test_states_that_padding_changes_are_told():
    class Padded(RNN):
        def call(self, inputs, mask=None, **given):
            return super().call(inputs, mask=None, **given)

    with pytest.raises(AssertionError, match="padding changes nothing: a row of 1 of 4 steps"):
        testing.check_structure(lambda: Padded(units=3, embedding_size=2), saving=False)


def test_a_broken_emission_is_told():
    class Twice(Factorized):
        def call(self, context, temperature=1.0, key=None):
            found = super().call(context, temperature)
            score = found._log_prob
            found._log_prob = lambda x: 0.5 * score(x)
            return found

    for likelihood, message in [("bernoulli", "sums"), ("gaussian_mixture", "integrates")]:
        with pytest.raises(AssertionError, match=f"the density {message} to one"):
            testing.check_emission(lambda given=likelihood: Twice(2, given), saving=False)


def test_a_broken_objective_is_told():
    class Random(IWAE):
        def bound(self, density, batch, key):
            return super().bound(density, batch, Key(np.random.randint(0, 9999, 2)))

    class Stopped(IWAE):
        def loss(self, density, batch, key, step):
            found = super().loss(density, batch, key, step)
            return found._replace(value=tf.stop_gradient(found.value))

    density = SequenceDensity({"class": "vrnn", **SMALL}, {"class": "factorized", "event_size": 2})
    with pytest.raises(AssertionError, match="the bound is a function of the key: differs by"):
        testing.check_objective(Random(2), density)
    with pytest.raises(AssertionError, match="the gradient of the loss reaches the weights"):
        testing.check_objective(Stopped(2), density)


@pytest.mark.slow
@pytest.mark.parametrize("name", structures.STRUCTURES)
def test_structures_are_saved_and_exported(name):
    make = functools.partial(structures.get, harness.structure_config(name))
    testing.check_structure(make, export=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", harness.EMISSIONS)
def test_emissions_are_saved_and_exported(name):
    make = functools.partial(emissions.get, harness.emission_config(name, "bernoulli"))
    testing.check_emission(make, export=True)

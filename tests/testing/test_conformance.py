"""Everything registered keeps the promises that `srnn_tf.testing` checks."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from srnn_tf import AIS, ELBO, FIVO, IWAE, RAISE, Exact, emissions, objectives, structures, testing
from srnn_tf.core.random import Key
from srnn_tf.density import SequenceDensity
from srnn_tf.emissions import Factorized
from srnn_tf.emissions.chain import Chain
from srnn_tf.structures import RNN, VRNN
from srnn_tf.testing import compare
from srnn_tf.testing.emissions import value_terms
from tests import harness

# At least one of each class.
ESTIMATES = [AIS(), RAISE()]  # which cannot be trained: `tests/objectives/test_annealing.py`
OBJECTIVES = [Exact(), ELBO(free_nats=0.1), IWAE(3), FIVO(2), FIVO(2, proposal="prior")]


@pytest.mark.parametrize("name", harness.STRUCTURES)
def test_structures(name):
    make = functools.partial(structures.get, harness.structure_config(name))
    emission = harness.partner(name) and functools.partial(harness.partner, name)
    testing.check_structure(make, saving=False, emission=emission)


@pytest.mark.parametrize("likelihood", ["bernoulli", "normal", "mixture"])
@pytest.mark.parametrize("name", harness.EMISSIONS)
def test_emissions(name, likelihood):
    mixture_is_enough = likelihood == "normal" and name not in harness.NORMAL
    if mixture_is_enough or not harness.takes(name, likelihood):
        pytest.skip("the emission does not take such a likelihood, or a mixture is enough")
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
    checked = {type(objective) for objective in [*OBJECTIVES, *ESTIMATES]}
    assert checked == package  # other tests register theirs


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


def test_a_structure_is_checked_with_the_emission_that_reads_for_it():
    emission = functools.partial(emissions.get, {**harness.PARTNERS["hmm"], "event_size": 2})
    testing.check_structure(lambda: structures.HMM(3), 2, saving=False, emission=emission)
    with pytest.raises(ValueError, match="received one that reads 2 values"):
        testing.check_structure(lambda: structures.HMM(3), 2, saving=False)


def test_a_prior_of_full_covariance_is_told():
    config = harness.structure_config("kvae")
    del config["class"]
    diagonal = changed(structures.KVAE, lambda x, trace: trace._replace(scale_tril=None))
    with pytest.raises(AssertionError, match="the prior under the posterior is the one"):
        testing.check_structure(lambda: diagonal(**config), saving=False)


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


@pytest.mark.parametrize("likelihood", harness.LIKELIHOODS)
@pytest.mark.parametrize("name", harness.EMISSIONS)
def test_terms_of_values_are_those_of_the_density(name, likelihood):
    """Else the check of what a value reads would pass without a look."""
    if likelihood in harness.ONLY and name not in harness.FRAMED:
        pytest.skip("not for such a likelihood")
    if name in harness.JOINT:
        pytest.skip("its density is no product of such terms")
    emission = harness.emission(name, likelihood)
    classes = [type(v) for v in emission.likelihood.values(harness.EVENT_SIZE)]
    context, x = compare.normal(1, 1, 4), tf.constant([[[1.0, 0.0, 1.0]]])
    terms = value_terms(emission, context, x)
    np.testing.assert_array_equal([term.x for term in terms], x[0, 0])
    total = emission(context).log_prob(x)[0, 0]
    np.testing.assert_allclose(sum(term.nats for term in terms), total, rtol=1e-5)
    assert [type(v) for v in emission.likelihood.values(harness.EVENT_SIZE)] == classes


def peeking(read, of=(1.0, 1.0, 1.0)):
    """An emission whose values see so little of others that its density still sums to one."""

    class Peeking(Factorized):
        def call(self, context, temperature=1.0, key=None):
            def frame(context, leak=0.0):
                params = self.dense(context)
                return self.likelihood.frame(params + leak, self.event_size, temperature)

            def score(context, x):
                leak = 1e-5 * read(x) * tf.constant(of)
                return frame(context, tf.repeat(leak, self.likelihood.params_size, 1)).log_prob(x)

            def draw(context, seed):
                found = frame(context)
                return found.greedy() if seed is None else found.sample(seed=seed)

            return Chain(context, self.event_size, score, draw)

    return Peeking


def after(x):
    return tf.concat([x[:, 1:], 0.0 * x[:, :1]], axis=1)


# What values see, and what is said of it.
PEEKING = {
    "a later value": (peeking(after), "value 0 by value 1, which is drawn after it: the gradient"),
    "itself": (peeking(tf.identity), "value 0 by itself: the gradient"),
    "the last value, the first": (
        peeking(lambda x: x[:, 2:], (1.0, 0.0, 0.0)),
        "value 0 by value 2, which is drawn after it: the gradient",
    ),
    "a later value, rounded": (
        peeking(lambda x: after(tf.round(x))),
        "value 0 by value 1, which is drawn after it: the change",
    ),
}


@pytest.mark.parametrize("likelihood", ["bernoulli", "normal"])
@pytest.mark.parametrize("case", PEEKING)
def test_an_emission_whose_values_see_later_ones_is_told(case, likelihood):
    cls, message = PEEKING[case]
    likelihood = harness.LIKELIHOODS[likelihood]
    with pytest.raises(AssertionError, match=f"the parameters of {message}"):
        testing.check_emission(lambda: cls(3, likelihood), saving=False)


def test_an_emission_may_draw_in_an_order_of_its_own(monkeypatch):
    backwards = peeking(lambda x: tf.concat([0.0 * x[:, :1], x[:, :-1]], axis=1))
    monkeypatch.setitem(emissions.EMISSIONS, "backwards", backwards)
    testing.check_emission(lambda: backwards(3), saving=False)  # values see those before them
    backwards.order = (2, 1, 0)
    with pytest.raises(AssertionError, match="value 2 by value 1, which is drawn after it"):
        testing.check_emission(lambda: backwards(3), saving=False)
    backwards.order = (0, 1)
    with pytest.raises(AssertionError, match="`order` has each value once"):
        testing.check_emission(lambda: backwards(3), saving=False)


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
    emission = harness.partner(name) and functools.partial(harness.partner, name)
    testing.check_structure(make, export=True, emission=emission)


@pytest.mark.slow
@pytest.mark.parametrize("name", harness.EMISSIONS)
def test_emissions_are_saved_and_exported(name):
    likelihood = "normal" if name in harness.NORMAL else "bernoulli"
    make = functools.partial(emissions.get, harness.emission_config(name, likelihood))
    testing.check_emission(make, export=True)

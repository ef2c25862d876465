"""The conformance check of emissions."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from srnn_tf import emissions
from srnn_tf.core.random import Key
from srnn_tf.emissions import Emission
from srnn_tf.model import SequenceModel
from srnn_tf.testing import compare

WIDTH = 4  # of a context
MOST_BITS = 8  # values of a frame whose density is summed over all frames
SAMPLES, POINTS = 4000, 40_000


def check_emission(make: Callable[[], Emission], saving: bool = True, export: bool = False) -> None:
    """Check that an emission has the properties of `Emission`.

    - The density sums to one.
    - The parameters of a value depend, by gradient and by changes, neither on that value nor on
      later ones in `order`. Parameters are what the likelihood is called with. If the density is
      no sum of that likelihood, only the sum over frames is checked.
    - Samples follow the density, and are a function of the seed.
    - What the structure reads of a frame depends on that frame alone, and is finite for zeros.
    - Without `normalized`, of bits: Z_0 and the draws at b = 0 are those of the free energy, a
      transition leaves p invariant, and there is no `log_prob`. The other checks of densities are
      of the value that training sees.
    - A score does not depend on other rows, on other steps, or on padding.
    - Gradients reach every weight.
    - A config with the weights, a `.keras` file and an export restore the same emission.

    Args:
        make: a function that creates a small emission of a registered class, without dropout. With
            at most 8 bits its density is summed exactly; otherwise it is integrated by sampling.
        saving: also check a `.keras` file.
        export: also check an export, which takes a process and some seconds.

    Raises:
        AssertionError: a property fails; it says which, and by how much.

    Example:
        >>> check_emission(lambda: emissions.Factorized(2, "bernoulli"), saving=False)
    """
    emission = make()
    emission.build((None, None, WIDTH))
    compare.randomize(emission, 0.3)
    likelihood = emission.likelihood.values(emission.event_size)
    binary = np.array([value.binary for value in likelihood])
    _shapes(emission, binary)
    if emission.normalized:
        _sums_to_one(emission, binary)
        _values_read_those_before(emission, binary)
    else:
        _path(emission, binary)
    _readings(emission, binary)
    _rows_are_independent(emission, binary)
    _gradients(emission, binary)
    _configs(emission, binary)
    if saving or export:
        structure = {"class": "rnn", "units": 3, "embedding_size": 2}
        model = SequenceModel(structure, make())
        model.xla = False
        compare.randomize(model, 0.3)
        if saving and emission.normalized:
            compare.saved(model)
        if export and emission.normalized:
            compare.exported(model)


def _scores(emission, distribution, x, key=None):
    """log p(x), or the value that training sees where there is none."""
    x = tf.convert_to_tensor(x)
    return distribution.log_prob(x) if emission.normalized else distribution.trained(x, key)


def _shapes(emission, binary):
    distribution = emission(compare.normal(2, 3, WIDTH))
    frame = (2, 3, emission.event_size)
    drawn = {
        "a sample": distribution.sample(seed=[0, 1]),
        "the greedy choice": distribution.greedy(),
        "a sample at temperature 0.5": emission(compare.normal(2, 3, WIDTH), 0.5).sample(
            seed=[0, 1]
        ),
    }
    for name, values in drawn.items():
        shape = tuple(values.shape)
        compare.require(shape == frame, "shapes", f"{name} is {shape}, must be {frame}")
        bits = np.asarray(values)[..., binary]
        compare.require(np.isin(bits, (0.0, 1.0)).all(), "bits", f"{name} has other values")
    compare.close(
        "samples are a function of their seed",
        distribution.sample(seed=[0, 1]),
        drawn["a sample"],
        0.0,
    )
    scores = _scores(emission, distribution, compare.values(binary, 2, 3))
    compare.require(scores.shape == (2, 3), "shapes", f"log_prob is {scores.shape}, not (2, 3)")
    compare.require(scores.dtype == tf.float32, "dtypes", f"log_prob is {scores.dtype.name}")


def _sums_to_one(emission, binary):
    distribution = emission(compare.normal(1, 1, WIDTH, seed=1))
    samples = np.asarray(distribution.sample(SAMPLES, seed=[2, 3]))[:, 0, 0]
    if binary.all() and len(binary) <= MOST_BITS:
        points = compare.all_bits(1, len(binary))
        p = np.exp(np.asarray(distribution.log_prob(points[:, None])[:, 0, 0], np.float64))
        compare.close("the density sums to one", tf.constant(p.sum()), 1.0, 1e-4)
        code = (2 ** np.arange(len(binary))[::-1]).astype(int)
        counts = np.bincount((samples @ code).astype(int), minlength=len(p)) / SAMPLES
        worst = np.max(np.abs(counts - p) / np.sqrt(p * (1 - p) / SAMPLES + 1e-6))
        prop = "samples have the frequencies of the density"
        compare.require(worst < 6.0, prop, f"one is {worst:.1f} standard errors off")
        return
    # Points of a wider, known density: the mean of the ratio is the integral.
    random, mean = np.random.default_rng(0), samples.mean(axis=0)
    spread = 1.6 * samples.std(axis=0) + 1e-3
    draws = random.normal(size=[POINTS, len(binary)])
    points = np.where(binary, draws > 0.0, mean + spread * draws)
    log_q = np.where(binary, np.log(0.5), -0.5 * (draws**2 + np.log(2 * np.pi)) - np.log(spread))
    points = points.astype(np.float32)[:, None, None]
    log_p = np.asarray(distribution.log_prob(points)[:, 0, 0], np.float64)
    ratio = np.exp(log_p - log_q.sum(axis=1))
    error = ratio.std() / np.sqrt(POINTS)
    off = abs(ratio.mean() - 1.0)
    fits = off < 6.0 * error + 1e-3
    compare.require(fits, "the density integrates to one", f"off by {off:.3g} +- {error:.2g}")


def _path(emission, binary):
    """The path of an unnormalized distribution, by enumeration."""
    few = bool(binary.all()) and len(binary) <= MOST_BITS
    compare.require(few, "`normalized=False` is for bits", f"at most {MOST_BITS} can be checked")
    distribution = emission(compare.normal(1, 1, WIDTH, seed=1))
    points = tf.constant(compare.all_bits(1, len(binary))[:, None])
    random, code = np.random.default_rng(0), (2 ** np.arange(len(binary))[::-1]).astype(int)

    def frequencies(x, p, prop):
        counts = np.bincount((np.asarray(x)[:, 0, 0] @ code).astype(int), minlength=len(p))
        worst = np.max(np.abs(counts / SAMPLES - p) / np.sqrt(p * (1 - p) / SAMPLES + 1e-6))
        compare.require(worst < 6.0, prop, f"one is {worst:.1f} standard errors off")

    for beta in (0.0, 0.6, 1.0):
        energies = np.asarray(distribution.free_energy(points, beta)[:, 0, 0], np.float64)
        p = np.exp(-energies) / np.exp(-energies).sum()
        uniform = tf.constant(random.random([SAMPLES, 1, 1, distribution.num_uniforms]), tf.float32)
        if beta == 0.0:
            log_partition = np.log(np.exp(-energies).sum())
            given = distribution.initial_log_partition()[0, 0]
            compare.close("log Z_0 is that of the free energy", given, log_partition, 1e-4)
            frequencies(distribution.initial(uniform), p, "initial draws follow p_0")
        start = points.numpy()[random.choice(len(p), SAMPLES, p=p)]
        moved = distribution.transition(tf.constant(start), uniform, beta)
        frequencies(moved, p, f"a transition leaves p_b invariant, b = {beta}")
        pairs = [(np.asarray(x)[:, 0, 0] @ code).astype(int) for x in (start, moved)]
        there = np.zeros([len(p)] * 2)
        np.add.at(there, tuple(pairs), 1.0)
        error = np.abs(there - there.T) / np.sqrt(there + there.T + 1.0)
        prop = f"a transition is reversible, b = {beta}"
        compare.require(error.max() < 6.0, prop, f"{error.max():.1f} standard errors off")
    try:
        distribution.log_prob(points[0])
    except ValueError:
        return
    compare.require(False, "there is no `log_prob` without a partition function", "it returns")


def _values_read_those_before(emission, binary):
    context, x = compare.normal(1, 1, WIDTH, seed=6), compare.values(binary, 1, 1, seed=7)
    with tf.GradientTape(persistent=True) as tape:
        x = tf.constant(x)
        tape.watch(x)
        terms = value_terms(emission, context, x)
    if terms is None:
        return
    order = emission.order
    every = sorted(order) == list(range(emission.event_size))
    compare.require(every, "`order` has each value once", f"it is {order}")
    for j in order:  # a change is seen through what has no gradient too: rounding, a lookup
        changed = value_terms(emission, context, _changed(x, j, binary))
        if changed is None:
            return
        for i in order[: order.index(j) + 1]:
            after = "itself" if i == j else f"value {j}, which is drawn after it"
            prop = f"a value reads those before it alone: the parameters of value {i} by {after}"
            params = terms[i].params
            weights = compare.normal(*params.shape)
            gradient = tape.gradient(params, x, output_gradients=weights)
            compare.zero(f"{prop}: the gradient", None if gradient is None else gradient[..., j])
            compare.zero(f"{prop}: the change", changed[i].params - params)


class Term(NamedTuple):
    """What an emission says of one value of a frame: log p(x; params)."""

    params: tf.Tensor  # (P,)
    x: tf.Tensor  # ()
    nats: tf.Tensor  # ()


def value_terms(emission: Emission, context: tf.Tensor, x: tf.Tensor) -> list[Term] | None:
    """The terms of log p(x | h), by value, of one frame, as the emission's likelihood sees them.

    No emission has to give them: its likelihood writes down what it is called with.

    Args:
        emission: built.
        context: (1, 1, H).
        x: (1, 1, D).

    Returns:
        D terms that add up to log p(x | h), or None where the density is not made of such ones.
    """
    binary = [value.binary for value in emission.likelihood.values(emission.event_size)]
    terms, total = _recorded(emission, context, x)
    if len(terms) != emission.event_size:
        return None
    off = abs(float(tf.add_n([term.nats for term in terms]) - total))
    if off > 1e-4 * (1.0 + abs(float(total))):
        return None
    # Which value a term is of: the one whose change changes what the term scores.
    found: list[Term | None] = [None] * len(terms)
    for j in range(len(terms)):
        moved, _ = _recorded(emission, context, _changed(x, j, binary))
        scored = [i for i, (a, b) in enumerate(zip(terms, moved, strict=True)) if a.x != b.x]
        if len(scored) != 1:
            return None
        found[j] = terms[scored[0]]
    return [term for term in found if term is not None]


def _changed(x, j, binary):
    """x, its value j another one."""
    here = tf.one_hot(j, x.shape[-1])
    return tf.where(here > 0.0, 1.0 - x if binary[j] else x + 0.7, x)


def _recorded(emission, context, x):
    """The terms of one frame, in whatever order they are scored, and log p(x | h)."""
    calls: list[tuple] = []
    values = {id(v): v for v in emission.likelihood.values(emission.event_size)}.values()
    classes = [type(value) for value in values]
    for value in values:
        value.__class__ = _recording(type(value), calls)
    try:
        total = emission(context).log_prob(x)[0, 0]
    finally:
        for value, cls in zip(values, classes, strict=True):
            value.__class__ = cls
    terms = []
    for params, scored, nats in calls:
        if params.shape[:-1] != scored.shape:
            return [], total
        rows = (tf.reshape(params, [-1, params.shape[-1]]), *(_flat(a) for a in (scored, nats)))
        terms += [Term(*term) for term in zip(*map(tf.unstack, rows), strict=True)]
    return terms, total


def _flat(a):
    return tf.reshape(a, [-1])


def _recording(cls, calls):
    """A subclass of the likelihood of a value that writes down what is scored."""

    class Recording(cls):
        def __call__(self, params, temperature=1.0):
            distribution = super().__call__(params, temperature)
            score = distribution.log_prob

            def log_prob(value, *args, **kwargs):
                nats = score(value, *args, **kwargs)
                calls.append((params, tf.convert_to_tensor(value), nats))
                return nats

            distribution.log_prob = log_prob
            return distribution

    return Recording


def _readings(emission, binary):
    x = compare.values(binary, 3, 4, seed=8)
    read, size = emission.read(tf.constant(x)), emission.read_size
    shape = tuple(read.shape)
    compare.require(shape == (3, 4, size), "shapes", f"`read` is {shape}, must be {(3, 4, size)}")
    alone = emission.read(tf.constant(x[1:2, 2:3]))
    compare.close("`read` of a frame depends on that frame alone", alone, read[1:2, 2:3])
    zeros = emission.read(tf.zeros([1, 1, emission.event_size]))
    compare.require(np.isfinite(zeros).all(), "`read` of a frame of zeros is finite", f"is {zeros}")


def _rows_are_independent(emission, binary):
    context, x = compare.normal(3, 4, WIDTH, seed=4), compare.values(binary, 3, 4, seed=5)
    together = _scores(emission, emission(context), x)
    alone = _scores(emission, emission(context[1:2]), x[1:2])
    compare.close("a score does not depend on other rows", alone, together[1:2])
    alone = _scores(emission, emission(context[:, :2]), x[:, :2])
    compare.close("a score does not depend on other steps, nor on padding", alone, together[:, :2])


def _gradients(emission, binary):
    weights = emission.trainable_variables
    with tf.GradientTape() as tape:
        x = tf.constant(compare.values(binary, 3, 4))
        distribution = emission(compare.normal(3, 4, WIDTH))
        value = tf.reduce_sum(_scores(emission, distribution, x, Key([1, 2])))
        value += tf.reduce_sum(tf.sin(emission.read(x)))
    for weight, gradient in zip(weights, tape.gradient(value, weights), strict=True):
        reached = gradient is not None and np.any(gradient) and np.isfinite(gradient).all()
        prop = "gradients reach the weights"
        compare.require(reached, prop, f"{weight.path} has none, or one that is not finite")


def _configs(emission, binary):
    again = compare.config_round_trip(emissions.EMISSIONS, emissions.get, emission)
    again.build((None, None, WIDTH))
    again.set_weights(emission.get_weights())
    context, x = compare.normal(2, 3, WIDTH), compare.values(binary, 2, 3)
    one, other = (_scores(layer, layer(context), x) for layer in (again, emission))
    compare.close("its weights give the same scores", one, other, 1e-6)

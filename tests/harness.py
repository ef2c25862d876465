"""One table of small models that the tests draw from, and what they share.

A new structure or emission needs one row here; the tests fail until it has one.
"""

import dataclasses
import functools
import inspect
import itertools

import numpy as np
import pytest
import tensorflow as tf

from srnn_tf import SequenceModel, emissions, structures
from srnn_tf.core import draws, nn, random

EVENT_SIZE = 3
PER_FRAME = ("log_likelihood", "kl", "log_ratio", "auxiliary")  # what a call says

_LATENT = {"units": 5, "embedding_size": 4, "latent_size": 3}
_DEEP = {"num_layers": 2, "hidden_size": 4}
_CHAIN = {**_LATENT, "transition_units": 8, "emission_units": 5}
# name: its small config, and whether its posterior reads steps after its own. The name is that of
# the class unless the config says otherwise. Those without a `cell` are tested with each of CELLS;
# NO_CELL stands for a structure that has no such argument.
NO_CELL = "no_cell"
STRUCTURES = {
    "rnn": ({"units": 5, "embedding_size": 4, "num_layers": 2}, False),
    "storn": ({**_LATENT, **_DEEP}, False),
    "vrnn": ({**_LATENT, "hidden_size": 4}, False),
    "vrnn_linear": ({"class": "vrnn", **_LATENT}, False),
    "srnn": ({**_LATENT, "hidden_size": 4}, True),
    "srnn_residual": ({"class": "srnn", **_LATENT, "residual_posterior": True}, True),
    "zforcing": ({**_LATENT, "hidden_size": 4, "alpha": 0.3, "beta": 0.2}, True),
    "zforcing_goyal": ({"class": "zforcing", **_LATENT, "timing": "goyal", "alpha": 0.3}, True),
    "hmm": ({"num_states": EVENT_SIZE, "cell": NO_CELL}, False),
    "lgssm": ({"state_size": 2, "cell": NO_CELL}, False),
    "rtrbm": ({"num_hidden": EVENT_SIZE, "cell": NO_CELL}, False),
    "tsbn": ({"latent_size": 3, "baseline_size": 4, "cell": NO_CELL}, False),
    "tsbn_order": (
        {"class": "tsbn", "latent_size": 2, "order": 2, "baseline_size": 4, "cell": NO_CELL},
        False,
    ),
    "hmsbn": (
        {
            "class": "tsbn",
            "latent_size": 3,
            "read_previous": False,
            "baseline_size": 4,
            "cell": NO_CELL,
        },
        False,
    ),
    "kvae": (
        {
            "latent_size": 3,
            "state_size": 4,
            "num_modes": 2,
            "units": 5,
            "hidden_size": 4,
            "posterior_variance": 4.0,  # wide, for weights of small variance
            "transition_variance": 0.4,
            "observation_variance": 0.2,
            "initial_variance": 1.5,
            "train_variances": True,
            "cell": NO_CELL,
        },
        False,
    ),
    "parallel_srnn": ({**_LATENT, **_DEEP}, True),
    "parallel_srnn_embedding": (
        {"class": "parallel_srnn", **_LATENT, "generator_input": "embedding"},
        True,
    ),
    "rnn_lru": (
        {"class": "rnn", "units": 5, "embedding_size": 4, "num_layers": 2, "cell": "lru"},
        False,
    ),
    "rnn_simple": ({"class": "rnn", "units": 5, "embedding_size": 4, "cell": "simple"}, False),
    "vrnn_lru": ({"class": "vrnn", **_LATENT, "cell": "lru"}, False),
    "parallel_srnn_lru": ({"class": "parallel_srnn", **_LATENT, "cell": "lru"}, True),
    # Whose windows are shorter than the sequences of the tests, and layers together longer.
    "transformer": (
        {"units": 8, "num_layers": 2, "num_heads": 2, "window": 4, "mlp_size": 6, "cell": NO_CELL},
        False,
    ),
    "tcn": ({"units": 5, "num_layers": 2, "kernel_size": 3, "cell": NO_CELL}, False),
    "dmm": (_CHAIN, True),
    "dmm_filtering": (
        {"class": "dmm", **_CHAIN, "inference": "st_l", "autoregressive": True},
        False,
    ),
    "dmm_product": (
        {
            "class": "dmm",
            **_CHAIN,
            "transition": "linear",
            "combiner": "product",
            "initial": "learned",
        },
        True,
    ),
}
# Those whose contexts depend on the latents alone: under the prior they read no data.
UNREAD = ("dmm", "dmm_product", "hmsbn", "kvae")
# A structure that reads what one emission computes, and the config of that emission. In its cases
# the emission "factorized" stands for this one, and there is no other.
PARTNERS = {
    "hmm": {"class": "state_mixture", "num_states": EVENT_SIZE},
    "rtrbm": {
        "class": "rbm",
        "num_hidden": EVENT_SIZE,
        "visible_context": False,
        "hidden_context": "direct",
    },
    "lgssm": {"class": "state_gaussian", "state_size": 2},
}
CELLS = ("lstm", "gru")
# Emissions that take one likelihood alone.
ONLY_WITH = {"rbm": "bernoulli", "rbm_fixed": "bernoulli", "state_gaussian": "normal"}
NORMAL = tuple(name for name, likelihood in ONLY_WITH.items() if likelihood == "normal")
# Emissions whose values depend on one another through something that is summed out: their densities
# are no product of likelihoods of values.
JOINT = ("state_mixture", *ONLY_WITH)
# Structures that are float32 under any dtype policy.
FLOAT32 = ("lgssm",)
_LOW = {"units": 4, "embedding_size": 3}
# name: its small config; the name is that of the class unless the config says otherwise.
EMISSIONS = {
    "factorized": {},
    "delta_split": {"kind": "random", "seed": 1},
    "delta_split_interleave": {"class": "delta_split", "kind": "interleave", "stride": 2},
    "autoregressive_rnn": {**_LOW, "head": "shared", "initial_state": "learned"},
    "autoregressive_rnn_private": {
        "class": "autoregressive_rnn",
        **_LOW,
        "head": "private",
        "initial_state": "context",
    },
    "masked_mlp": {"num_layers": 2, "units": 4},
    "masked_linear": {"class": "masked_mlp", "num_layers": 0},
    "state_mixture": {"num_states": 3, "weights": "dense"},
    "nade": {"units": 4},
    "rbm": {"num_hidden": 3},
    "rbm_fixed": {"class": "rbm", "num_hidden": 4, "visible_context": False},
    "state_gaussian": {"state_size": 2, "state": "dense"},
}
OF_ANY = [name for name in EMISSIONS if name not in NORMAL]  # likelihood
# Rows of which `make test` runs one case in four of each test, see conftest.py: models that are not
# of the paper, and second rows of a class.
SAMPLED = {"hmm", "lgssm", "rtrbm", "tsbn", "tsbn_order", "hmsbn", "kvae"}
SAMPLED |= {"dmm", "dmm_filtering", "dmm_product", "transformer", "tcn"}
SAMPLED |= {"rnn_lru", "rnn_simple", "vrnn_lru", "parallel_srnn_lru"}
SAMPLED |= {"state_mixture", "state_gaussian", "nade", "rbm", "rbm_fixed"}
LIKELIHOODS = {
    "bernoulli": {"class": "bernoulli"},
    "normal": {"class": "gaussian_mixture", "num_components": 1},
    "mixture": {"class": "gaussian_mixture", "num_components": 3},
    "handwriting": {"class": "handwriting", "num_components": 2},
}
# A likelihood of frames, not of single values, has no flat view, and not every emission takes it;
# of the factorized one, a model with it is enough.
ONLY = {"handwriting": ("parallel_srnn_embedding", "lstm", False)}
FRAMED = ("factorized", "autoregressive_rnn_private", "masked_mlp", "masked_linear", "nade")
FRAMED += ("state_mixture",)


@dataclasses.dataclass(frozen=True)
class Case:
    """One model: names of rows above; `flat` ones see one value per step."""

    structure: str
    cell: str
    emission: str
    likelihood: str
    flat: bool = False

    def __str__(self):
        names = [self.structure, self.cell, self.emission, self.likelihood]
        return "-".join(names + ["flat"] * self.flat)

    @property
    def latent(self):
        return "latent_size" in STRUCTURES[self.structure][0]


def takes(emission, likelihood):
    """Whether the emission of a row takes the likelihood of a row."""
    if emission in ONLY_WITH:
        return likelihood == ONLY_WITH[emission]
    return likelihood not in ONLY or emission in FRAMED


def likelihood_of(emission, likelihood):
    """The likelihood, or another one, for an emission that does not take it."""
    return likelihood if takes(emission, likelihood) else ONLY_WITH.get(emission, "bernoulli")


def _partner(structure):
    """The class of the emission that "factorized" stands for."""
    return PARTNERS.get(structure, {}).get("class", "factorized")


def _exists(case):
    """Whether there is such a model, and a test may want it."""
    if case.emission != "factorized":
        return (
            case.structure not in PARTNERS
            and not case.flat
            and takes(case.emission, case.likelihood)
        )
    if not takes(_partner(case.structure), case.likelihood):
        return False
    return ONLY.get(case.likelihood) in (None, (case.structure, case.cell, case.flat))


def cells(structure):
    """The cells that a row of STRUCTURES is tested with."""
    config = STRUCTURES[structure][0]
    return (config["cell"],) if "cell" in config else CELLS


def cell_of(structure, wanted="lstm"):
    """The wanted cell, if the row is tested with it, or one that it is tested with."""
    return wanted if wanted in cells(structure) else cells(structure)[0]


PAIRS = [(name, cell) for name in STRUCTURES for cell in cells(name)]
_ROWS = itertools.product(PAIRS, EMISSIONS, LIKELIHOODS, (False, True))
CASES = [case for pair, *rest in _ROWS if _exists(case := Case(*pair, *rest))]


def cases(emission="factorized", **wanted):
    """The cases with these fields; a field may be a tuple of choices."""
    wanted["emission"] = emission

    def fits(case):
        pairs = [(getattr(case, name), value) for name, value in wanted.items()]
        return all(x in value if isinstance(value, tuple) else x == value for x, value in pairs)

    found = [case for case in CASES if fits(case)]
    assert found, wanted
    return found


def structure_config(name, cell="lstm", **changes):
    """The config of a row, with this cell unless it has its own, without what its class lacks."""
    config = {"cell": cell, **STRUCTURES[name][0], **changes}
    made = structures.STRUCTURES[config.pop("class", name)]
    known = {*inspect.signature(made).parameters, "dtype", "name"}
    config = {k: v for k, v in config.items() if k in known and v != NO_CELL}
    return {"class": STRUCTURES[name][0].get("class", name), **config}


def case_of(structure, likelihood="bernoulli", cell="lstm"):
    """The case with this likelihood and cell, or with those that the row has."""
    likelihood, cell = likelihood_of(_partner(structure), likelihood), cell_of(structure, cell)
    return cases(structure=structure, cell=cell, likelihood=likelihood, flat=False)[0]


def partner(structure):
    """A fresh emission that the structure of a row needs for its inputs, not built; or None."""
    config = PARTNERS.get(structure, {})
    if config.get("class") not in NORMAL:  # others give any numbers
        return None
    return emissions.get({**config, "event_size": EVENT_SIZE})


def emission_config(name, likelihood, event_size=EVENT_SIZE, **changes):
    config = {"class": name, **EMISSIONS[name], "event_size": event_size}
    return {**config, "likelihood": LIKELIHOODS[likelihood], **changes}


def emission(name, likelihood="bernoulli", event_size=EVENT_SIZE, scale=0.6, width=4, **changes):
    """A fresh emission of random weights, of contexts (B, T, width)."""
    if not takes(name, likelihood):
        pytest.skip("the emission does not take such a likelihood")
    layer = emissions.get(emission_config(name, likelihood, event_size, **changes))
    layer.build((None, None, width))
    return randomize(layer, scale)


def build(case, event_size=EVENT_SIZE, dtype=None, scale=0.6, weights=0, structure=(), **kwargs):
    """A fresh model of random weights, not compiled with XLA.

    `structure` changes arguments of the structure, `kwargs` those of the model.
    """
    policy = {} if dtype is None else {"dtype": dtype}
    width, partner = 1 if case.flat else event_size, PARTNERS.get(case.structure, {})
    model = SequenceModel(
        structure_config(case.structure, case.cell, **dict(structure), **policy),
        emission_config(case.emission, case.likelihood, width, **partner, **policy),
        event_size=event_size,
        **kwargs,
    )
    model.xla = False
    return randomize(model, scale, weights)


class Reading:
    """A structure together with the emission that reads frames for it: called with the frames."""

    def __init__(self, structure, emission):
        self.structure, self.emission = structure, emission

    def __call__(self, x, *args, **given):
        return self.structure(self.emission.read(x), *args, **given)

    def __getattr__(self, name):
        return getattr(self.structure, name)


def structure(name, cell="lstm", **changes):
    """A fresh structure of random weights, to be called with frames."""
    layer, reads = structures.get(structure_config(name, cell, **changes)), partner(name)
    layer.build((None, None, EVENT_SIZE if reads is None else reads.read_size))
    randomize(layer)
    if reads is None:
        return layer
    reads.build((None, None, layer.context_size))
    return Reading(layer, randomize(reads))


@functools.cache
def shared(case):
    """The model of a case, made once; tests must not change it."""
    return build(case)


def randomize(layer, scale=0.6, seed=0):
    """Set every trainable weight, biases too, so that none is at a special value."""
    random = np.random.default_rng(seed)
    for weight in layer.trainable_variables:
        weight.assign(random.normal(0.0, scale, weight.shape))
    return layer


def frames(case, rows=3, steps=7, seed=0, event_size=EVENT_SIZE):
    """Float32 (rows, steps, event_size) that the case's likelihood accepts."""
    random = np.random.default_rng(seed)
    shape = [rows, steps, event_size]
    values = random.normal(0.0, 1.0, shape)
    if case.likelihood == "bernoulli":
        values = random.random(shape) < 0.4
    elif case.likelihood == "handwriting":
        values[..., 0] = values[..., 0] > 0.0
    return values.astype(np.float32)


def noise(rows, steps, latent_size, seed=0):
    draws = np.random.default_rng(seed).normal(0.0, 1.0, [rows, steps, latent_size])
    return tf.constant(draws, tf.float32)


def lengths_mask(lengths, steps):
    return np.arange(steps) < np.array(lengths)[:, None]


def table_noise(model, steps, sample=0):
    """The draws (1, steps, Z) that `log_prob` without a seed scores sample `sample` with."""
    seed = random.fold_in(random.fold_in(draws.TABLE_SEED, 0), sample)
    return nn.time_major(random.normal([steps, 1, model.latent_size], seed))


def all_binary(steps, event_size):
    """Every sequence of zeros and ones, float32 (2^(steps * event_size), steps, event_size)."""
    values = list(itertools.product((0, 1), repeat=steps * event_size))
    return np.array(values, np.float32).reshape(-1, steps, event_size)


def flatten(states):
    return [np.asarray(s, np.float32) for s in tf.nest.flatten(states)]


def operations(program):
    """The names of all operations of a `tf.function` that has one signature."""
    graph = program.get_concrete_function().graph.as_graph_def()
    return [n.op for n in [*graph.node, *(n for f in graph.library.function for n in f.node_def)]]


def count_traces(layer):
    """A list that grows by one each time Python runs the layer: once per compilation."""
    calls, original = [], layer.call

    @functools.wraps(original)
    def counting(*args, **kwargs):
        calls.append(1)
        return original(*args, **kwargs)

    layer.call = counting
    return calls


def toy(rows, steps, seed=0, width=3):
    """Binary sequences that flip in each step: all but the first is certain, one bit per row."""
    start = np.random.default_rng(seed).integers(0, 2, [rows, 1, 1])
    return np.broadcast_to((start + np.arange(steps)[:, None]) % 2, [rows, steps, width]).astype(
        np.float32
    )


def rolls(lengths, seed=0, width=88, density=0.1):
    """Binary sequences (T_i, width), uint8."""
    random = np.random.default_rng(seed)
    return [(random.random((n, width)) < density).astype(np.uint8) for n in lengths]


def scalars(folder, tag):
    """What TensorBoard would show of a run: the value at each update, in the order written."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
    from tensorboard.util.tensor_util import make_ndarray

    found = []
    for file in sorted((folder / "logs" / "train").iterdir()):
        for event in EventFileLoader(str(file)).Load():
            values = [v for v in event.summary.value if v.tag == tag]
            found += [(event.step, float(make_ndarray(v.tensor))) for v in values]
    return found


def write_mat(path, seed=0, lengths=(30, 24, 18)):
    """A small data file of piano rolls; to be read with `edition="any"`."""
    import scipy.io

    cells = {}
    for i, part in enumerate(("train", "valid", "test")):
        cell = np.empty([1, len(lengths)], object)
        cell[0, :] = rolls(lengths, seed + i)
        cells[f"{part}data"] = cell
    scipy.io.savemat(path, cells)
    return str(path)

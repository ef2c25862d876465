"""Errors of configs name what is unknown, and the nearest name that is known."""

import keras
import pytest

from srnn_tf import emissions, likelihoods, objectives, structures
from srnn_tf.core import registry
from srnn_tf.model import SequenceModel

RNN = {"class": "rnn", "units": 3}
KEYS = {"class": "factorized", "event_size": 3, "likelihood": "bernoulli"}
MIXTURE = {"class": "gaussian_mixture", "num_component": 3}
# What is called, the unknown key, and the nearest one that is known.
UNKNOWN = {
    "structure": (lambda: SequenceModel({"class": "rnn", "unit": 3}, KEYS), "unit", "units"),
    "of Keras": (lambda: SequenceModel({**RNN, "dtyp": "float32"}, KEYS), "dtyp", "dtype"),
    "of another": (
        lambda: structures.get({**RNN, "embedding": 3}), "embedding", "embedding_size"
    ),
    "emission": (lambda: SequenceModel(RNN, {**KEYS, "event_siz": 3}), "event_siz", "event_size"),
    "likelihood": (
        lambda: SequenceModel(RNN, {**KEYS, "likelihood": MIXTURE}),
        "num_component",
        "num_components",
    ),
    "objective": (
        lambda: objectives.get({"class": "iwae", "num_sample": 3}), "num_sample", "num_samples"
    ),
    "schedule": (lambda: objectives.ELBO({"incremen": 3}), "incremen", "increment"),
    "model": (lambda: SequenceModel(RNN, KEYS, windows=3), "windows", "window"),
    "config": (
        lambda: SequenceModel.from_config({"structure": RNN, "emission": KEYS, "sed": 1}),
        "sed",
        "seed",
    ),
    "both": (
        lambda: SequenceModel.from_config({"structure": RNN, "emissio": KEYS}),
        "emissio",
        "emission",
    ),
    "class": (lambda: SequenceModel({"class": "rn", "units": 3}, KEYS), "rn", "rnn"),
    "no text": (lambda: structures.get({**RNN, 5: 3}), 5, None),
}  # fmt: skip


@pytest.mark.parametrize("where", UNKNOWN)
def test_an_unknown_key_is_named_and_the_nearest_known_one(where):
    call, key, nearest = UNKNOWN[where]
    with pytest.raises(ValueError, match=f"unknown .*{key!r}") as error:
        call()
    assert "Known: " in str(error.value)
    if nearest is not None:
        assert f"Did you mean {nearest!r}?" in str(error.value)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: structures.get("rnn"), "the structure 'rnn' needs `units`; received none"),
        (
            lambda: emissions.get({"class": "factorized", "likelihood": "bernoulli"}),
            "the emission 'factorized' needs `event_size`; received likelihood",
        ),
        (
            lambda: SequenceModel.from_config({"structure": RNN}),
            "the config of a SequenceModel needs `emission`; received structure",
        ),
        (lambda: objectives.ELBO(0.5), "`kl_schedule` must be a dict of arguments; received 0.5"),
    ],
)
def test_a_missing_key_is_named(call, message):
    with pytest.raises(ValueError) as error:
        call()
    assert str(error.value) == message


REGISTRIES = {
    "structure": structures.STRUCTURES,
    "emission": emissions.EMISSIONS,
    "likelihood": likelihoods.LIKELIHOODS,
    "objective": objectives.OBJECTIVES,
}


def test_what_a_constructor_passes_on_is_known():
    class Passing(structures.RNN):
        def __init__(self, depth, **kwargs):
            super().__init__(3, **kwargs)

    made = registry.create(
        "structure", {"deep": Passing}, {"class": "deep", "depth": 2, "name": "x"}, keras.Layer
    )
    assert made.context_size == 3 and made.name == "x"
    with pytest.raises(ValueError, match="unknown argument of the structure 'deep' 'dept'"):
        registry.create("structure", {"deep": Passing}, {"class": "deep", "dept": 2}, keras.Layer)


@pytest.mark.parametrize("kind", REGISTRIES)
def test_every_config_that_is_described_is_known(kind):
    """Nothing that `describe` writes is refused when it is read."""
    models = [
        SequenceModel(RNN, KEYS),
        SequenceModel({**RNN, "class": "vrnn", "latent_size": 2}, KEYS),
    ]
    for model in models:
        model.compile()
        parts = {
            "structure": model.structure,
            "emission": model.emission,
            "likelihood": model.emission.likelihood,
            "objective": model.objective,
        }
        part = parts[kind]
        config = registry.describe(REGISTRIES[kind], part)
        assert type(registry.create(kind, REGISTRIES[kind], config, object.__class__)) is type(part)

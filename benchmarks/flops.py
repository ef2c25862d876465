"""The arithmetic of the matrix products of an update, and its loops, as our algorithms need it."""

from __future__ import annotations

from typing import Any

from benchmarks.cases import Case


def training(case: Case) -> int:
    """Of an update: two per multiplication and addition, and the gradient twice the score."""
    rows, steps, width = case.shape
    size = case.emission["event_size"]
    products = STRUCTURES[case.structure["class"]](case.structure, size)
    products += EMISSIONS[case.emission["class"]](case.emission, context(case.structure))
    return 3 * 2 * products * rows * steps * (width // size)


def context(config: dict[str, Any]) -> int:
    """The width of what a structure gives to the emission."""
    if config["class"] in ("vrnn", "srnn"):
        return config["units"] + config["latent_size"]
    return config.get("emission_units", config["units"])


def loop_steps(case: Case) -> int:
    """The steps of loops that an update goes through one after the other, forth and back."""
    _, steps, width = case.shape
    size = case.emission["event_size"]
    steps *= width // size
    recurrences = _RECURRENCES.get(case.structure["class"]) or case.structure["num_layers"]
    low = size - 1 if case.emission["class"] == "autoregressive_rnn" else 0
    return 2 * (steps * recurrences + low)


def params_size(likelihood: str | dict[str, Any]) -> int:
    """Parameters of a value."""
    if likelihood == "bernoulli":
        return 1
    components = likelihood["num_components"]
    return 3 * components if components > 1 else 2


def _lstm(inputs: int, units: int) -> int:
    return (inputs + units) * 4 * units


def _embedded(config: dict[str, Any], size: int) -> tuple[int, int]:
    """Products of the embedding, and how much of it is multiplied by what reads it.

    One value without dropout is never embedded: its projection is a scalar times a vector.
    """
    if size == 1 and not config.get("dropout"):
        return 0, 0
    return size * config["embedding_size"], config["embedding_size"]


def _rnn(config: dict[str, Any], size: int) -> int:
    """Multiplications and additions of a step."""
    embedding, inputs = _embedded(config, size)
    units = config["units"]
    return embedding + _lstm(inputs, units) + (config["num_layers"] - 1) * _lstm(units, units)


def _parallel_srnn(config: dict[str, Any], size: int) -> int:
    embedding, inputs = _embedded(config, size)
    units, latent = config["units"], config["latent_size"]
    recurrent = 2 * _lstm(inputs, units) + _lstm(units + latent, units)
    return 2 * embedding + recurrent + _head(config, units) + _head(config, 2 * units)


def _head(config: dict[str, Any], width: int) -> int:
    hidden, outputs = config["hidden_size"], 2 * config["latent_size"]
    return (width + outputs) * hidden if hidden else width * outputs


def _vrnn(config: dict[str, Any], size: int) -> int:
    embedding, inputs = _embedded(config, size)
    units = config["units"]
    heads = _head(config, units) + _head(config, inputs + units)
    return 2 * embedding + _lstm(inputs + config["latent_size"], units) + heads


def _srnn(config: dict[str, Any], size: int) -> int:
    embedding, inputs = _embedded(config, size)
    units = config["units"]
    recurrent = _lstm(inputs, units) + _lstm(inputs + units, units)
    return 2 * embedding + recurrent + 2 * _head(config, units + config["latent_size"])


def _storn(config: dict[str, Any], size: int) -> int:
    embedding, inputs = _embedded(config, size)
    units = config["units"]
    recurrent = _lstm(inputs, units) + _lstm(inputs + config["latent_size"], units)
    return 2 * embedding + recurrent + _head(config, units)


def _dmm(config: dict[str, Any], size: int) -> int:
    """With the gated transition, and the posterior of one recurrence and z_{t-1}."""
    units, latent, wide = config["units"], config["latent_size"], config["transition_units"]
    posterior = size * config["embedding_size"] + _lstm(config["embedding_size"], units)
    posterior += latent * units + units * 2 * latent
    transition = 4 * latent * wide + 2 * latent * latent
    emitted = config["emission_units"]
    return posterior + transition + (latent + emitted) * emitted


def _factorized(config: dict[str, Any], width: int) -> int:
    return width * config["event_size"] * params_size(config["likelihood"])


def _delta_split(config: dict[str, Any], width: int) -> int:
    size = config["event_size"]
    first = config["split_size"] if config["kind"] == "random" else -(-size // config["stride"])
    hidden = (width + first) * width + width * width
    return hidden + width * size * params_size(config["likelihood"])


def _autoregressive_rnn(config: dict[str, Any], width: int) -> int:
    """The context is projected once a step; a value adds the recurrence and its head."""
    units, size = config["units"], config["event_size"]
    head = units * params_size(config["likelihood"])
    return width * 4 * units + (size - 1) * 4 * units * units + size * head


def _masked_mlp(config: dict[str, Any], width: int) -> int:
    """Of the masked layer only what the mask leaves."""
    units, size = config["units"], config["event_size"]
    first = (size * width + size * (size - 1) // 2) * units
    per_value = (config["num_layers"] - 1) * units * units
    return first + size * (per_value + units * params_size(config["likelihood"]))


def _nade(config: dict[str, Any], width: int) -> int:
    """The sums over the values before are additions, of rows of W that are read where x is 1."""
    units, size = config["units"], config["event_size"]
    params = size * params_size(config["likelihood"])
    return width * (units + params) + size * units + units * params


_RECURRENCES = {"parallel_srnn": 3, "vrnn": 1, "srnn": 3, "storn": 2, "dmm": 2}
STRUCTURES = {"rnn": _rnn, "parallel_srnn": _parallel_srnn}
STRUCTURES |= {"vrnn": _vrnn, "srnn": _srnn, "storn": _storn, "dmm": _dmm}
EMISSIONS = {
    "factorized": _factorized,
    "delta_split": _delta_split,
    "autoregressive_rnn": _autoregressive_rnn,
    "masked_mlp": _masked_mlp,
    "nade": _nade,
}

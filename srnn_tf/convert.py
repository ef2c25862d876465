"""Checkpoints of the paper's PyTorch code turned into our models.

Nothing is unpickled here: the caller passes the state dict as NumPy arrays, for instance
`{k: v.numpy() for k, v in torch.load(path, weights_only=True).items()}`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from srnn_tf.model import SequenceModel
from srnn_tf.registry import unknown

Params = Mapping[str, np.ndarray]
# What is done with one weight of ours: it, the keys it is made of, and how.
Rule = tuple[Any, list[str], Callable[..., np.ndarray]]


def from_reference(params: Params, config: Mapping[str, Any]) -> SequenceModel:
    """Our model with the weights of a model of the paper's code.

    Args:
        params: the PyTorch state dict, key to array.
        config: `domain` ("speech", "midi" or "handwriting"), `model` (see `MODELS`) and the sizes
            of the constructor there: `d_data`, `d_emb`, `d_rnn`, and `n_layer`, `n_mix`, `d_mlp`,
            `d_lat` where the model has them.

    Returns:
        A `SequenceModel` that gives the reference's likelihoods and gradients.

    Raises:
        ValueError: an unknown domain, a model the domain has not, a missing size, or a key
            of the state dict that is missing, unknown, or of a wrong shape.

    Reference: github.com/zihangdai/reexamine-srnn, the code of arXiv:1902.01388.
    """
    domain, name = config.get("domain"), config.get("model")
    if domain not in MODELS:
        raise unknown("`domain`", domain, MODELS)
    emission_rules, models = MODELS[domain]
    if name not in models:
        raise ValueError(f"{unknown('`model`', name, models)}, in domain {domain!r}")
    params = {key: np.asarray(value) for key, value in params.items()}
    build, rules = models[name]
    try:
        structure = build(config, domain)
        likelihood = _likelihood(config, domain, "latent_size" in structure)
        emission = {"class": "factorized", "event_size": config["d_data"], "likelihood": likelihood}
    except KeyError as error:
        raise ValueError(f"`config` of a {name!r} model must hold {error}") from None
    model = SequenceModel(structure, emission)
    rules = rules(model.structure, domain) + emission_rules(model.emission)
    _assign(rules, params, _unused(model, domain))
    return model


def _rnn(config, domain):
    return {
        "class": "rnn",
        "units": config["d_rnn"],
        "num_layers": config["n_layer"],
        "embedding_size": config["d_emb"],
    }


def _srnn(config, domain):
    structure = {
        "class": "parallel_srnn",
        "units": config["d_rnn"],
        "embedding_size": config["d_emb"],
        "latent_size": config["d_lat"],
        "hidden_size": 0 if domain == "midi" else config["d_mlp"],
    }
    if domain == "handwriting":  # one layer, whatever the config says
        return structure | {"generator_input": "embedding"}
    return structure | {"num_layers": config["n_layer"]}


def _zforcing(config, domain):
    return {
        "class": "zforcing",
        "timing": "goyal",
        "units": config["d_rnn"],
        "embedding_size": config["d_emb"],
        "latent_size": config["d_lat"],
        "hidden_size": config["d_mlp"],
    }


def _likelihood(config, domain, stochastic):
    if domain == "midi":
        return "bernoulli"
    if domain == "handwriting":
        return {"class": "handwriting", "num_components": config["n_mix"]}
    components = 1 if stochastic else config.get("n_mix", 20)
    return {"class": "gaussian_mixture", "num_components": components}


def _rnn_rules(structure, domain) -> list[Rule]:
    return _dense_rules(structure.embed.dense, "inp_emb.0") + _lstm_rules(structure.forward, "rnn")


def _srnn_rules(structure, domain) -> list[Rule]:
    handwriting = domain == "handwriting"
    forward, generator = ("forward_z", "forward_h") if handwriting else ("fwd_rnn", "lat_rnn")
    rules = _dense_rules(structure.embed.dense, "inp_emb.0")
    rules += _lstm_rules(structure.forward, forward)
    rules += _lstm_rules(structure.backward, "bwd_rnn")
    rules += _lstm_rules(structure.generator, generator)
    if structure.latent_embedding is not None:
        rules += _dense_rules(structure.latent_embedding, "gen_mod")
    return rules + _gaussian_rules(structure, domain)


def _zforcing_rules(structure, domain) -> list[Rule]:
    cell = structure.cell
    rules = _dense_rules(structure.embed.dense, "inp_emb.0")
    rules += _lstm_rules(structure.backward, "bwd_rnn")
    rules += _cell_rules(cell.recurrent, "fwd_rnn", "")
    rules += _dense_rules(cell.latent_embedding, "gen_mod")
    return rules + _gaussian_rules(cell, domain)


def _gaussian_rules(layer, domain) -> list[Rule]:
    """Prior and posterior, each a `Sequential` whose dense layers have these places."""
    places = {"speech": (1, 4), "midi": (1,), "handwriting": (0, 2)}[domain]
    rules: list[Rule] = []
    for head, key in ((layer.prior, "prior"), (layer.posterior, "post")):
        dense = [part for part in (head.hidden, head.out) if part is not None]
        for part, place in zip(dense, places, strict=True):
            rules += _dense_rules(part, f"{key}.{place}")
    return rules


def _dense_rules(layer, key) -> list[Rule]:
    return [
        (layer.kernel, [f"{key}.weight"], np.transpose),
        (layer.bias, [f"{key}.bias"], np.array),
    ]


def _lstm_rules(stack, key) -> list[Rule]:
    cells = [_cell_rules(layer, key, f"_l{i}") for i, layer in enumerate(stack.layers)]
    return [rule for rules in cells for rule in rules]


def _cell_rules(layer, key, suffix) -> list[Rule]:
    """PyTorch keeps (4H, in) kernels and two biases, of which only the sum matters."""
    return [
        (layer.kernel, [f"{key}.weight_ih{suffix}"], np.transpose),
        (layer.recurrent_kernel, [f"{key}.weight_hh{suffix}"], np.transpose),
        (layer.bias, [f"{key}.bias_ih{suffix}", f"{key}.bias_hh{suffix}"], np.add),
    ]


def _bernoulli_rules(emission) -> list[Rule]:
    return [
        (emission.dense.kernel, ["crit.logit_weight"], np.transpose),
        (emission.dense.bias, ["crit.logit_bias"], np.array),
    ]


def _mixture_rules(emission) -> list[Rule]:
    """(in, D, K) arrays of logits, means and log scales to one (in, D * 3K) kernel."""
    mixture = emission.likelihood.num_components > 1
    parts = ("prior", "mean", "std") if mixture else ("mean", "std")

    def join(*arrays):
        joined = np.concatenate(arrays, axis=-1)
        return joined.reshape(*joined.shape[:-2], -1)

    return [
        (emission.dense.kernel, [f"crit.{part}_weight" for part in parts], join),
        (emission.dense.bias, [f"crit.{part}_bias" for part in parts], join),
    ]


def _handwriting_rules(emission) -> list[Rule]:
    """A layer for the pen and, for dx and dy, of logits, means and log scales; these unbiased."""
    mixture = emission.likelihood.move.num_components > 1
    biased = ("prior", "mean") if mixture else ("mean",)

    def keys(parts, kind):
        crits = [f"{crit}.{part}" for part in parts for crit in ("crit1", "crit2")]
        return [f"{layer}.{kind}" for layer in ("classifier", *crits)]

    def join(pen, *moves):  # stacked first, so that all must have one shape
        return np.concatenate([pen, *np.stack(moves)])

    return [
        (emission.dense.kernel, keys((*biased, "var"), "weight"), lambda *a: join(*a).T),
        (emission.bias, keys(biased, "bias"), join),
    ]


def _unused(model, domain) -> set[str]:
    """Keys that the reference stores and does not need: the logits of one component."""
    single = domain == "speech" and model.emission.likelihood.num_components == 1
    return {"crit.prior_weight", "crit.prior_bias"} if single else set()


def _assign(rules: list[Rule], params: Params, unused: set[str]) -> None:
    needed = {key for _, keys, _ in rules for key in keys}
    missing, extra = sorted(needed - set(params)), sorted(set(params) - needed - unused)
    if missing:
        raise ValueError(f"the state dict lacks {missing[0]!r} ({len(missing)} keys in all)")
    if extra:
        raise ValueError(f"the state dict has {extra[0]!r}, which this model does not know")
    values = []
    for variable, keys, make in rules:
        try:
            value = make(*(params[key] for key in keys))
        except ValueError as error:
            shapes = [params[key].shape for key in keys]
            raise ValueError(f"{keys} have shapes that do not fit together: {shapes}") from error
        if value.shape != tuple(variable.shape):
            shapes = [params[key].shape for key in keys]
            raise ValueError(
                f"{keys} of shapes {shapes} do not give {variable.path} of shape "
                f"{tuple(variable.shape)}"
            )
        values.append(value)
    for (variable, _, _), value in zip(rules, values, strict=True):
        variable.assign(value)


# domain: the rules of its emission, and by name the structure of a model and the rules of that.
_RNN, _SRNN, _ZFORCING = (_rnn, _rnn_rules), (_srnn, _srnn_rules), (_zforcing, _zforcing_rules)
_COMMON = {"rnn": _RNN, "rnn_flat": _RNN, "srnn": _SRNN, "srnn_flat": _SRNN}
MODELS: dict[str, tuple[Callable, dict[str, tuple[Callable, Callable]]]] = {
    "speech": (_mixture_rules, _COMMON),
    "midi": (_bernoulli_rules, _COMMON),
    "handwriting": (_handwriting_rules, {"srnn": _SRNN, "srnn_zforce": _ZFORCING}),
}

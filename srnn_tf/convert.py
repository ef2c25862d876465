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
        config: `domain` ("speech" or "midi"), `model` (see `MODELS`) and the sizes of the
            constructor there: `d_data`, `d_emb`, `d_rnn`, `n_layer`, and `n_mix`, `d_mlp`, `d_lat`
            where the model has them.

    Returns:
        A `SequenceModel` that gives the reference's likelihoods and gradients.

    Raises:
        ValueError: an unknown domain or model, a missing size, or a key of the state dict that is
            missing, unknown, or of a wrong shape.

    Reference: github.com/zihangdai/reexamine-srnn, the code of arXiv:1902.01388.
    """
    domain, name = config.get("domain"), config.get("model")
    if domain not in DOMAINS:
        raise unknown("`domain`", domain, DOMAINS)
    if name not in MODELS:
        raise unknown("`model`", name, MODELS)
    params = {key: np.asarray(value) for key, value in params.items()}
    build, rules = MODELS[name]
    try:
        model = build(config, domain)
    except KeyError as error:
        raise ValueError(f"`config` of a {name!r} model must hold {error}") from None
    _assign(rules(model, config) + _head_rules(model, domain), params, _unused(config, domain))
    return model


def _likelihood(config, domain, num_components):
    if domain == "midi":
        return "bernoulli"
    return {"class": "gaussian_mixture", "num_components": num_components}


def _build_rnn(config, domain):
    structure = {
        "class": "rnn",
        "units": config["d_rnn"],
        "num_layers": config["n_layer"],
        "embedding_size": config["d_emb"],
    }
    mixture = _likelihood(config, domain, config.get("n_mix", 20))
    return SequenceModel(structure, _factorized(config, mixture))


def _build_srnn(config, domain):
    structure = {
        "class": "parallel_srnn",
        "units": config["d_rnn"],
        "num_layers": config["n_layer"],
        "embedding_size": config["d_emb"],
        "latent_size": config["d_lat"],
        "hidden_size": config["d_mlp"] if domain == "speech" else 0,
    }
    return SequenceModel(structure, _factorized(config, _likelihood(config, domain, 1)))


def _factorized(config, likelihood):
    return {"class": "factorized", "event_size": config["d_data"], "likelihood": likelihood}


def _rnn_rules(model, config):
    structure = model.structure
    return _dense_rules(structure.embed.dense, "inp_emb.0") + _lstm_rules(structure.forward, "rnn")


def _srnn_rules(model, config):
    structure = model.structure
    rules = _dense_rules(structure.embed.dense, "inp_emb.0")
    rules += _lstm_rules(structure.forward, "fwd_rnn") + _lstm_rules(structure.backward, "bwd_rnn")
    rules += _lstm_rules(structure.generator, "lat_rnn")
    for head, key in ((structure.prior, "prior"), (structure.posterior, "post")):
        if head.hidden is None:
            rules += _dense_rules(head.out, f"{key}.1")
        else:
            rules += _dense_rules(head.hidden, f"{key}.1") + _dense_rules(head.out, f"{key}.4")
    return rules


def _dense_rules(layer, key) -> list[Rule]:
    return [
        (layer.kernel, [f"{key}.weight"], np.transpose),
        (layer.bias, [f"{key}.bias"], np.array),
    ]


def _lstm_rules(stack, key) -> list[Rule]:
    """PyTorch keeps (4H, in) kernels and two biases, of which only the sum matters."""
    rules: list[Rule] = []
    for i, layer in enumerate(stack.layers):
        biases = [f"{key}.bias_ih_l{i}", f"{key}.bias_hh_l{i}"]
        rules += [
            (layer.kernel, [f"{key}.weight_ih_l{i}"], np.transpose),
            (layer.recurrent_kernel, [f"{key}.weight_hh_l{i}"], np.transpose),
            (layer.bias, biases, np.add),
        ]
    return rules


def _head_rules(model, domain) -> list[Rule]:
    """(in, D, K) arrays of logits, means and log scales to one (in, D * 3K) kernel."""
    dense = model.emission.dense
    if domain == "midi":
        return [
            (dense.kernel, ["crit.logit_weight"], np.transpose),
            (dense.bias, ["crit.logit_bias"], np.array),
        ]
    mixture = model.emission.likelihood.num_components > 1
    parts = ("prior", "mean", "std") if mixture else ("mean", "std")

    def join(*arrays):
        joined = np.concatenate(arrays, axis=-1)
        return joined.reshape(*joined.shape[:-2], -1)

    return [
        (dense.kernel, [f"crit.{part}_weight" for part in parts], join),
        (dense.bias, [f"crit.{part}_bias" for part in parts], join),
    ]


def _unused(config, domain):
    """Keys that the reference stores and does not need: the logits of one component."""
    single = domain == "speech" and ("d_lat" in config or config.get("n_mix", 20) == 1)
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


DOMAINS = ("speech", "midi")
MODELS: dict[str, tuple[Callable, Callable]] = {
    "rnn": (_build_rnn, _rnn_rules),
    "rnn_flat": (_build_rnn, _rnn_rules),
    "srnn": (_build_srnn, _srnn_rules),
    "srnn_flat": (_build_srnn, _srnn_rules),
}

"""Emissions of the paper's code: their configs, and the keys of their weights."""

from __future__ import annotations

import warnings

import numpy as np

from srnn_tf.convert.rules import Rule, cell_rules, dense_rules


def _likelihood(config, domain, stochastic):
    if domain == "midi":
        return "bernoulli"
    if domain == "handwriting":
        return {"class": "handwriting", "num_components": config["n_mix"]}
    components = 1 if stochastic else config.get("n_mix", 20)
    return {"class": "gaussian_mixture", "num_components": components}


def describe(kind, config, domain, stochastic):
    """The config of the emission of this package."""
    common = {"event_size": config["d_data"], "likelihood": _likelihood(config, domain, stochastic)}
    return {**common, **kind(config, domain)}


def _factorized(config, domain):
    return {"class": "factorized"}


def _random(config, domain):
    leak, rest, size = config["leak"], config["rest"], config["d_data"]
    if sorted([*leak, *rest]) != list(range(size)):
        raise ValueError(
            f"`config['leak']` and `config['rest']` must be the numbers from 0 to {size - 1}, each "
            f"once; received {leak!r} and {rest!r}"
        )
    return {"class": "delta_split", "kind": "random", "indices": leak}


def _interleave(config, domain):
    return {"class": "delta_split", "kind": "interleave", "stride": config["chk_len"]}


def _low(config, domain):
    return {
        "class": "autoregressive_rnn",
        "units": config["d_rnn"],
        "embedding_size": config["d_emb"],
        "head": "shared" if domain == "midi" else "private",
    }


def _masked(config, domain):
    return {
        "class": "masked_mlp",
        "num_layers": config["n_low_layer"],
        "units": config["d_nade"],
    }


def _chain(config, domain):
    return {"class": "masked_mlp", "num_layers": 0}


def _factorized_rules(emission, config, domain) -> list[Rule]:
    if domain == "handwriting":
        return _handwriting_rules(emission)
    return _criterion_rules(emission.dense, emission.likelihood, "crit")


def _criterion_rules(dense, likelihood, key, order=None) -> list[Rule]:
    """All values' parameters from one layer; `order` puts the reference's values in ours."""
    order = slice(None) if order is None else order
    if likelihood.binary:
        return [
            (dense.kernel, [f"{key}.logit_weight"], lambda w: w[order].T),
            (dense.bias, [f"{key}.logit_bias"], lambda b: b[order]),
        ]

    def join(*arrays):  # (in, D, K) each of logits, means, log scales to (in, D * 3K)
        joined = np.concatenate(arrays, axis=-1)[..., order, :]
        return joined.reshape(*joined.shape[:-2], -1)

    return [
        (getattr(dense, attribute), [f"{key}.{part}_{kind}" for part in _parts(likelihood)], join)
        for attribute, kind in (("kernel", "weight"), ("bias", "bias"))
    ]


def _parts(likelihood):
    """Names of the parameters of a mixture, in our order; no logits of one component."""
    return ("prior", "mean", "std") if likelihood.num_components > 1 else ("mean", "std")


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


def _chain_rules(emission, config, domain) -> list[Rule]:
    """The layers of the chain read [h], [h, pen] and [h, pen, dx]."""
    mixture = emission.likelihood.move.num_components > 1
    biased = ("prior", "mean") if mixture else ("mean",)

    def keys(parts, kind):
        crits = [f"{crit}.{part}" for crit in ("crit1", "crit2") for part in parts]
        return [f"{layer}.{kind}" for layer in ("classifier", *crits)]

    width = emission.first.context_kernel.shape[0]

    def whole(*layers):  # (H + 2, parameters), zero where a layer does not read
        return np.concatenate([np.pad(w, [(0, 0), (0, width + 2 - w.shape[1])]) for w in layers]).T

    weights = keys((*biased, "var"), "weight")
    return [
        (emission.first.context_kernel, weights, lambda *a: whole(*a)[:width]),
        (emission.first.kernel, weights, lambda *a: whole(*a)[width:]),
        (emission.first.bias, keys(biased, "bias"), lambda *a: np.concatenate(a)),
    ]


def _delta_rules(emission, config, domain) -> list[Rule]:
    rules: list[Rule] = []
    for i, (dense, norm) in enumerate(zip(emission.hidden, emission.norms, strict=True)):
        rules += dense_rules(dense, f"rest_hid_layer.{3 * i}")
        key = f"rest_hid_layer.{3 * i + 1}"
        rules += [
            (norm.gamma, [f"{key}.weight"], np.array),
            (norm.beta, [f"{key}.bias"], np.array),
        ]
    order = np.argsort(config["rest"]) if "rest" in config else None
    likelihood = emission.likelihood
    rules += _criterion_rules(emission.first_head.dense, likelihood, "crit_leak")
    return rules + _criterion_rules(emission.rest_head.dense, likelihood, "crit_rest", order)


def _low_rules(emission, config, domain) -> list[Rule]:
    return [
        *dense_rules(emission.embed, "inp_emb_low.0"),
        *cell_rules(emission.low, "rnn_low", "_l0"),
        (emission.initial_value, ["init_h", "init_c"], lambda h, c: np.concatenate([h, c])),
        *_head_rules(emission.heads, emission.likelihood),
    ]


def _head_rules(heads, likelihood) -> list[Rule]:
    """Value major, (D, in, parameters)."""
    (kernel,), (bias,) = heads.kernels, heads.biases
    if likelihood.binary:
        return [
            (kernel, ["crit.logit_weight"], lambda w: w[..., None]),
            (bias, ["crit.logit_bias"], lambda b: b[..., None]),
        ]
    weights, biases = (
        [f"crit.{part}_{kind}" for part in _parts(likelihood)] for kind in ("weight", "bias")
    )
    return [
        (kernel, weights, lambda *a: np.concatenate(a, axis=-1).transpose(1, 0, 2)),
        (bias, biases, lambda *a: np.concatenate(a, axis=-1)),
    ]


def _masked_rules(emission, config, domain) -> list[Rule]:
    warnings.warn(
        "the paper's masked MLP normalizes over the units of all values at once, which lets "
        "a value see itself and those after it; with the normalization of this package, over the "
        "units of each value, weights trained there give other likelihoods",
        stacklevel=3,
    )
    first, hidden = emission.first, emission.hidden
    width = first.context_kernel.shape[0]
    seen = np.arange(first.event_size - 1)[:, None] < first.value  # as the layer reads its kernel

    def columns(w):  # (D, inputs, units, 1) to (inputs, D * units)
        return w[..., 0].transpose(1, 0, 2).reshape(w.shape[1], -1)

    rules: list[Rule] = [
        (first.context_kernel, ["nade_w_0"], lambda w: columns(w)[:width]),
        (first.kernel, ["nade_w_0"], lambda w: columns(w)[width:] * seen),
        (first.bias, ["nade_b_0"], np.ravel),
    ]
    for layer in range(emission.num_layers):
        if layer:
            rules += [
                (hidden.kernels[layer - 1], [f"nade_w_{layer}"], lambda w: w.transpose(0, 2, 1)),
                (hidden.biases[layer - 1], [f"nade_b_{layer}"], np.array),
            ]
        rules += [
            (hidden.scales[layer], [f"norm_mlp.{layer}.weight"], np.array),
            (hidden.shifts[layer], [f"norm_mlp.{layer}.bias"], np.array),
        ]
    return rules + _head_rules(emission.heads, emission.likelihood)


def unused(emission, domain) -> set[str]:
    """The keys that the original stores but does not use."""
    known = {"mask_0"} if getattr(emission, "num_layers", 0) else set()
    if domain == "speech" and emission.likelihood.num_components == 1:
        known |= {"crit.prior_weight", "crit.prior_bias"}  # the logits of one component
    return known


# The config, from that of the reference and its domain, and the rules of an emission.
FACTORIZED = (_factorized, _factorized_rules)
RANDOM, INTERLEAVE = (_random, _delta_rules), (_interleave, _delta_rules)
LOW, MASKED, CHAIN = (_low, _low_rules), (_masked, _masked_rules), (_chain, _chain_rules)

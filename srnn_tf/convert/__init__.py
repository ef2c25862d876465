"""Conversion of checkpoints of the paper's PyTorch code to models of this package.

Nothing is unpickled here. The caller passes the state dict as NumPy arrays, for instance
`{k: v.numpy() for k, v in torch.load(path, weights_only=True).items()}`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from srnn_tf.convert import emissions
from srnn_tf.convert.emissions import CHAIN, FACTORIZED, INTERLEAVE, LOW, MASKED, RANDOM
from srnn_tf.convert.rules import Params, assign
from srnn_tf.convert.structures import RNN, SRNN, ZFORCING
from srnn_tf.core.registry import unknown
from srnn_tf.model import SequenceModel

# domain: by name the structure and the emission of a model.
_COMMON = {
    "rnn": (RNN, FACTORIZED),
    "rnn_flat": (RNN, FACTORIZED),
    "rnn_random": (RNN, RANDOM),
    "rnn_hier_inp": (RNN, LOW),
    "srnn": (SRNN, FACTORIZED),
    "srnn_flat": (SRNN, FACTORIZED),
    "srnn_hier_inp": (SRNN, LOW),
}
MODELS: dict[str, dict[str, tuple]] = {
    "speech": {
        **_COMMON,
        "rnn_interleave": (RNN, INTERLEAVE),
        "rnn_hier_nade": (RNN, MASKED),
        "srnn_hier_nade": (SRNN, MASKED),
    },
    "midi": _COMMON,
    "handwriting": {
        "rnn": (RNN, FACTORIZED),
        "rnn_hier": (RNN, CHAIN),
        "srnn": (SRNN, FACTORIZED),
        "srnn_hier": (SRNN, CHAIN),
        "srnn_zforce": (ZFORCING, FACTORIZED),
    },
}


def from_reference(params: Params, config: Mapping[str, Any]) -> SequenceModel:
    """Convert a model of the paper's code, with its weights.

    Args:
        params: the PyTorch state dict, a dict from keys to arrays.
        config: `domain` ("speech", "midi" or "handwriting"), `model` (see `MODELS`) and the sizes
            in the constructor there: `d_data`, `d_emb`, `d_rnn`, and `n_layer`, `n_mix`, `d_mlp`,
            `d_lat`, `n_low_layer`, `d_nade`, `chk_len` where the model has them. A random split
            also needs `leak` and `rest`, the indices of its two parts, which are not in the state
            dict.

    Returns:
        A `SequenceModel` with the likelihoods and gradients of the original.

    Raises:
        ValueError: the domain or the model is unknown, a size is missing, or a key of the state
            dict is missing, unknown, or of a wrong shape.

    Reference: github.com/zihangdai/reexamine-srnn, the code of arXiv:1902.01388.
    """
    domain, name = config.get("domain"), config.get("model")
    if domain not in MODELS:
        raise unknown("`domain`", domain, MODELS)
    if name not in MODELS[domain]:
        raise ValueError(f"{unknown('`model`', name, MODELS[domain])}, in domain {domain!r}")
    params = {key: np.asarray(value) for key, value in params.items()}
    (structure, structure_rules), (emission, emission_rules) = MODELS[domain][name]
    try:
        structure = structure(config, domain)
        stochastic = "latent_size" in structure
        model = SequenceModel(structure, emissions.describe(emission, config, domain, stochastic))
    except KeyError as error:
        raise ValueError(f"`config` of a {name!r} model must hold {error}") from None
    rules = structure_rules(model.structure, domain)
    rules += emission_rules(model.emission, config, domain)
    assign(rules, params, emissions.unused(model.emission, domain))
    return model

"""Rules: how to compute a weight from a state dict of the paper's code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Params = Mapping[str, np.ndarray]
# What is done with one weight of ours: it, the keys it is made of, and how.
Rule = tuple[Any, list[str], Callable[..., np.ndarray]]


def dense_rules(layer: Any, key: str) -> list[Rule]:
    """The rules of a linear layer, whose kernel PyTorch transposes; no bias if `layer` has none."""
    rules: list[Rule] = [(layer.kernel, [f"{key}.weight"], np.transpose)]
    if layer.bias is not None:
        rules.append((layer.bias, [f"{key}.bias"], np.array))
    return rules


def cell_rules(layer: Any, key: str, suffix: str) -> list[Rule]:
    """The rules of an LSTM layer: PyTorch has (4H, in) kernels, and two biases to be summed."""
    return [
        (layer.kernel, [f"{key}.weight_ih{suffix}"], np.transpose),
        (layer.recurrent_kernel, [f"{key}.weight_hh{suffix}"], np.transpose),
        (layer.bias, [f"{key}.bias_ih{suffix}", f"{key}.bias_hh{suffix}"], np.add),
    ]


def assign(rules: list[Rule], params: Params, unused: set[str]) -> None:
    """Assign every weight of the rules, or none if a key is wrong.

    Raises:
        ValueError: a key is missing, unknown, or of a wrong shape.
    """
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

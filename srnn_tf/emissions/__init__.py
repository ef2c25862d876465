"""Emissions, axis 2 of a model: how the values in a frame depend on one another.

To add one, define a subclass of `Emission` and `register` it. Those of this package are listed in
`EMISSIONS`.
"""

from __future__ import annotations

from srnn_tf.core import registry
from srnn_tf.core.types import Config
from srnn_tf.emissions.autoregressive import AutoregressiveRNN
from srnn_tf.emissions.base import Emission
from srnn_tf.emissions.delta import DeltaSplit
from srnn_tf.emissions.factorized import Factorized
from srnn_tf.emissions.masked_mlp import MaskedMLP
from srnn_tf.emissions.nade import NADE
from srnn_tf.emissions.rbm import RBM
from srnn_tf.emissions.state_gaussian import StateGaussian
from srnn_tf.emissions.state_mixture import StateMixture
from srnn_tf.emissions.unnormalized import Unnormalized

EMISSIONS: dict[str, type[Emission]] = {
    "factorized": Factorized,
    "delta_split": DeltaSplit,
    "autoregressive_rnn": AutoregressiveRNN,
    "masked_mlp": MaskedMLP,
    "state_mixture": StateMixture,
    "nade": NADE,
    "rbm": RBM,
    "state_gaussian": StateGaussian,
}
register = registry.register("emission", EMISSIONS, Emission)


def get(config: str | Config | Emission) -> Emission:
    """An emission from its config, `{"class": name, **arguments}`.

    Raises:
        ValueError: the name is unknown; the error suggests the nearest known one.

    Example:
        >>> get({"class": "factorized", "event_size": 88}).event_size
        88
    """
    return registry.create("emission", EMISSIONS, config, Emission)


__all__ = [
    "AutoregressiveRNN",
    "DeltaSplit",
    "EMISSIONS",
    "Emission",
    "Factorized",
    "MaskedMLP",
    "RBM",
    "StateGaussian",
    "StateMixture",
    "NADE",
    "Unnormalized",
    "get",
    "register",
]

"""Stochastic recurrent networks for sequence modeling, in Keras 3 and TensorFlow Probability."""

import importlib
from typing import Any

from srnn_tf import data, emissions, likelihoods, objectives, plots, recipes, structures, zoo
from srnn_tf.model import SequenceModel
from srnn_tf.objectives import ELBO, FIVO, IWAE, Exact, KLSchedule

__version__ = "0.1.0"
_LATER = (
    "convert",
    "experiments",
    "serving",
    "testing",
)  # imported on first use


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "ELBO",
    "Exact",
    "FIVO",
    "IWAE",
    "KLSchedule",
    "SequenceModel",
    "__version__",
    "data",
    "emissions",
    "likelihoods",
    "objectives",
    "plots",
    "recipes",
    "structures",
    "zoo",
]

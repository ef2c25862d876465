"""Stochastic recurrent networks for sequence modeling, in Keras 3 and TensorFlow Probability."""

from srnn_tf import data, emissions, likelihoods, plots, recipes, structures, zoo
from srnn_tf.model import SequenceModel
from srnn_tf.objectives import KLSchedule

__version__ = "0.1.0"

__all__ = [
    "KLSchedule",
    "SequenceModel",
    "__version__",
    "data",
    "emissions",
    "likelihoods",
    "plots",
    "recipes",
    "structures",
    "zoo",
]

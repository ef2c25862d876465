"""Stochastic recurrent networks for sequence modeling, in Keras 3 and TensorFlow Probability."""

from srnn_tf import data, emissions, likelihoods, objectives, plots, recipes, structures, zoo
from srnn_tf.model import SequenceModel
from srnn_tf.objectives import ELBO, FIVO, IWAE, Exact, KLSchedule

__version__ = "0.1.0"

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

"""Objectives, axis 4 of a model: what training maximizes, and lower bounds on log p(x).

To add one, define a subclass of `Objective` and `register` it.
"""

from __future__ import annotations

from srnn_tf.core import registry
from srnn_tf.core.types import Config
from srnn_tf.objectives.annealing import AIS, RAISE, Annealed, Estimate, annealed
from srnn_tf.objectives.base import Loss, Objective, noise_of
from srnn_tf.objectives.evidence import ELBO, Exact
from srnn_tf.objectives.filtering import FIVO
from srnn_tf.objectives.functions import effective_sample_size, elbo, iwae, resample
from srnn_tf.objectives.importance import Weights, importance
from srnn_tf.objectives.importance_weighted import IWAE
from srnn_tf.objectives.moments import moments
from srnn_tf.objectives.schedule import KLSchedule
from srnn_tf.objectives.shorthand import OBJECTIVES, default_of, for_scoring, for_training

register = registry.register("objective", OBJECTIVES, Objective)


def get(config: str | Config | Objective) -> Objective:
    """An objective from its config, `{"class": name, **arguments}`, or from its name.

    Raises:
        ValueError: the name is unknown; the error suggests the nearest known one.

    Example:
        >>> get({"class": "iwae", "num_samples": 4}).num_samples
        4
    """
    return registry.create("objective", OBJECTIVES, config, Objective)


__all__ = [
    "AIS",
    "Annealed",
    "ELBO",
    "Estimate",
    "Exact",
    "FIVO",
    "IWAE",
    "KLSchedule",
    "Loss",
    "OBJECTIVES",
    "Objective",
    "RAISE",
    "Weights",
    "annealed",
    "default_of",
    "effective_sample_size",
    "elbo",
    "for_scoring",
    "for_training",
    "get",
    "importance",
    "iwae",
    "moments",
    "noise_of",
    "register",
    "resample",
]

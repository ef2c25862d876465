"""The zoo: models by name, with the weights that were published, or fresh ones.

    model = srnn_tf.zoo.load("f_srnn_nottingham")

A name is that of a recipe, `{model}_{dataset}`. What is published is looked for in the folder that
is given, in those of `register_root`, of the environment variable `SRNN_TF_ZOO`, in the checkout,
in the cache, and at last at the address `SRNN_TF_ZOO_URL`.
"""

from srnn_tf.zoo.artifacts import read
from srnn_tf.zoo.models import (
    build,
    card,
    folder,
    load,
    names,
    recommended,
    register_root,
    standardization,
)

__all__ = [
    "build",
    "card",
    "folder",
    "load",
    "names",
    "read",
    "recommended",
    "register_root",
    "standardization",
]

"""The zoo: models by name, with published or with fresh weights.

    model = srnn_tf.zoo.load("f_srnn_nottingham")

A name is that of a recipe, `{model}_{dataset}`. Published models are searched for in the folders of
`register_root`, those of the environment variable `SRNN_TF_ZOO`, the checkout, the installation and
the cache; then they are downloaded from the address `SRNN_TF_ZOO_URL`. With `root=` only that
folder is searched. `open` takes a name, a `.keras` file, the folder of a run or an exported folder.
"""

from srnn_tf.zoo.artifacts import read
from srnn_tf.zoo.handles import Published
from srnn_tf.zoo.handles import open_ as open
from srnn_tf.zoo.models import (
    build,
    card,
    folder,
    installed,
    load,
    names,
    recommended,
    register_root,
    standardization,
)

__all__ = [
    "Published",
    "build",
    "card",
    "folder",
    "installed",
    "load",
    "names",
    "open",
    "read",
    "recommended",
    "register_root",
    "standardization",
]

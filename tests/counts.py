"""Third-party data: a modality of ours nowhere, frames of five counts, and a corpus of it."""

import numpy as np

from srnn_tf import data
from srnn_tf.data.corpora import folders

WIDTH = 5


def read(path, options):
    """The frames of a text file, a line a frame: uint8 (T, 5), and what they are multiplied by."""
    try:
        rows = np.loadtxt(path, np.uint8, ndmin=2)
    except ValueError as error:
        raise ValueError(f"{path}: is no table of counts ({error})") from error
    if rows.shape[1:] != (WIDTH,):
        raise ValueError(f"{path}: has shape {rows.shape}; accepted is (T, {WIDTH})")
    return [(rows, 1.0)]


def register():
    """Make both known, as importing a module of one's own would."""
    data.register_modality(
        data.Modality(
            "counts",
            width=WIDTH,
            dtype="|u1",
            endings=(".counts",),
            reader=read,
            unit="step",
            standardized=False,
        )
    )
    data.register_corpus("visits", folders.corpus("counts"))

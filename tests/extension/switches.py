"""A data set of a new modality: what each of four switches was, a line for each minute."""

import numpy as np

from srnn_tf import data
from srnn_tf.data.corpora import folders

WIDTH = 4


def read(path, options):
    """The only sequence of a text file, and what its numbers are multiplied by."""
    rows = np.array([list(line) for line in path.read_text().split()], np.uint8)
    if rows.ndim != 2 or rows.shape[1] != WIDTH or rows.max() > 1:
        raise ValueError(f"{path}: must have lines of {WIDTH} characters 0 or 1")
    return [(rows, 1.0)]


def write(frames, path, standardization=None, sample_rate=None):
    """The frames as such a text file."""
    rows = np.asarray(frames).astype(np.uint8)
    path.write_text("\n".join("".join(map(str, row)) for row in rows))


data.register_modality(
    data.Modality(
        "switches",
        width=WIDTH,
        dtype="|u1",
        endings=(".bits",),
        reader=read,
        writer=write,
        written=(".bits",),
        unit="step",
        standardized=False,
        sample_steps=30,
        uses="Saying which switch is likely to be on.",
    )
)
data.register_corpus("house", folders.corpus("switches"))

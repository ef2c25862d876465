"""Data sets as piano rolls, batches for training, and ways to hear and see a roll."""

import difflib
import os

from srnn_tf.data.frames import reframe
from srnn_tf.data.music import plot_pianoroll, write_midi
from srnn_tf.data.splits import Splits
from srnn_tf.data.streams import EpochDataset, batches, streams

__all__ = [
    "EpochDataset",
    "Splits",
    "batches",
    "load",
    "names",
    "plot_pianoroll",
    "reframe",
    "streams",
    "write_midi",
]

# The data sets of piano rolls that are read from a file the user has.
_FROM_FILE = {
    "nottingham": "Nottingham.mat or Nottingham.pickle",
    "muse": "MuseData.mat or MuseData.pickle",
    "jsb": "JSB_Chorales.mat or JSB Chorales.pickle",
    "piano_midi": "Piano_midi.mat or Piano-midi.de.pickle",
}


def names() -> tuple[str, ...]:
    """Return the names that `load` takes.

    Example:
        names()  # ("bach", "nottingham", "muse", "jsb", "piano_midi")
    """
    return ("bach", *_FROM_FILE)


def load(name: str, path: str | os.PathLike | None = None, edition: str | None = None) -> Splits:
    """Load a data set of piano rolls and print its statistics, one line for each part.

    `bach` needs no file: it is read from the music21 package once and kept in the cache folder.
    The others are the rolls of Boulanger-Lewandowski et al. 2012, arXiv:1206.6392.

    Args:
        name: one of `names()`.
        path: the `.mat` or `.pickle` file of the data set; not for `bach`.
        edition: which published version the file must be; None accepts every known one, "any"
            accepts a file that is none of them.

    Returns:
        `Splits` of uint8 arrays of 0 and 1, shape (T_i, 88), column `c` is MIDI note `c + 21`.

    Raises:
        FileNotFoundError: `path` does not exist.
        ImportError: `bach` without music21 and without a cache file.
        ValueError: another name or edition, a missing path, or a file that is not accepted.

    Example:
        load("nottingham", "Nottingham.mat").event_size  # 88
    """
    if name not in names():
        nearest = difflib.get_close_matches(str(name).lower(), names(), n=1, cutoff=0.0)
        raise ValueError(
            f"name={name!r} is not a data set; did you mean {nearest[0]!r}? "
            f"Accepted are {', '.join(names())}"
        )
    splits = _load_bach(path, edition) if name == "bach" else _load_file(name, path, edition)
    print(splits.describe())
    return splits


def _load_bach(path: str | os.PathLike | None, edition: str | None) -> Splits:
    from srnn_tf.data.bach import load_bach

    if path is not None:
        raise ValueError(f"path={str(path)!r}: bach comes from the music21 package; omit path")
    splits = load_bach()
    if edition not in (None, "any", splits.edition):
        raise ValueError(f"edition={edition!r} of bach is not here; it is {splits.edition!r}")
    return splits


def _load_file(name: str, path: str | os.PathLike | None, edition: str | None) -> Splits:
    from srnn_tf.data.pianoroll import read_pianoroll

    if path is None:
        raise ValueError(
            f"path=None: {name} is read from a file; pass path=, the file {_FROM_FILE[name]}"
        )
    return read_pianoroll(path, name, edition)

"""Data sets, batches for training and scoring, and files of sequences and samples."""

import difflib
import importlib
import os
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from srnn_tf.core.frames import reframe
from srnn_tf.data import corpora
from srnn_tf.data.batching.batches import batches, padded
from srnn_tf.data.batching.epochs import EpochDataset
from srnn_tf.data.batching.pool import Pool
from srnn_tf.data.batching.sequences import pieces
from srnn_tf.data.batching.streams import streams
from srnn_tf.data.batching.transposition import transposed, transposition_range
from srnn_tf.data.corpora import Corpus, register_corpus
from srnn_tf.data.corpora.splits import Splits
from srnn_tf.data.formats.audio import read_audio
from srnn_tf.data.formats.midi import read_midi, write_midi
from srnn_tf.data.formats.standardization import Standardization
from srnn_tf.data.formats.strokes import read_strokes
from srnn_tf.data.formats.synthesis import synthesize
from srnn_tf.data.formats.wav import write_wav
from srnn_tf.data.modality import Modality, register_modality

__all__ = [
    "Corpus",
    "EpochDataset",
    "Modality",
    "Pool",
    "Splits",
    "Standardization",
    "batches",
    "draw_strokes",
    "load",
    "names",
    "padded",
    "pieces",
    "plot_pianoroll",
    "prepare",
    "read_audio",
    "read_midi",
    "read_strokes",
    "reframe",
    "register_corpus",
    "register_modality",
    "streams",
    "synthesize",
    "transposed",
    "transposition_range",
    "write_midi",
    "write_wav",
]

# The data sets that can be read from the file as it is, without `prepare`.
_FROM_FILE = {
    "nottingham": "Nottingham.mat or Nottingham.pickle",
    "muse": "MuseData.mat or MuseData.pickle",
    "jsb": "JSB_Chorales.mat or JSB Chorales.pickle",
    "piano_midi": "Piano_midi.mat or Piano-midi.de.pickle",
}
_PICTURES = ("draw_strokes", "plot_pianoroll")


def __getattr__(name: str) -> Any:
    """What draws is in `srnn_tf.plots`, which this package does not import; old scripts find it."""
    if name in _PICTURES:
        return getattr(importlib.import_module("srnn_tf.plots"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def names() -> tuple[str, ...]:
    """The names that `load` accepts, including those of registered corpora.

    Example:
        names()  # ("bach", "nottingham", "muse", "jsb", "piano_midi", "timit", ...)
    """
    first = ("bach", *_FROM_FILE, "music")
    return first + tuple(name for name in corpora.CORPORA if name not in first)


def load(
    name: str,
    path: str | os.PathLike | None = None,
    edition: str | None = None,
    down_sample: int = 1,
    without: Collection[str] = (),
) -> Splits:
    """Load a data set and print its statistics, one line for each part.

    - Any data set: the folder that `prepare` wrote. Its sequences stay on disk until they are
      sliced.
    - `bach`: no path. It is read from the music21 package once and kept in the cache folder.
    - The other piano rolls (Boulanger-Lewandowski et al. 2012, arXiv:1206.6392): also their `.mat`
      or `.pickle` file.
    - `music`: the folder of those files. It pools bach, nottingham, muse, piano_midi and jsb. Its
      parts are `Pool`s; `streams` of the training part draws a share of each set and transposes.

    Args:
        name: one of `names()`.
        path: the folder or file, as above.
        edition: the published version that a file of piano rolls must have. None accepts every
            known one; "any" accepts every file.
        down_sample: k, for prepared speech. Above 1 each sequence is its k interleaved parts, one
            after another (`reframe`).
        without: the data sets to leave out, for `music`.

    Returns:
        `Splits` of sequences (T_i, D). Piano rolls are uint8 arrays of 0 and 1, D = 88. Speech is
        standardized, D = 200 samples. Handwriting is the moves of a pen, (pen_up, dx, dy), with dx
        and dy standardized.

    Raises:
        FileNotFoundError: `path` does not exist.
        ImportError: `bach` needs music21, and there is no cache file.
        ValueError: the name or edition is unknown, `path` is missing, or a file is not accepted.

    Example:
        load("nottingham", "Nottingham.mat").event_size  # 88
        load("timit", "prepared/timit").train[0][:10].shape  # (10, 200)
    """
    if name not in names():
        nearest = difflib.get_close_matches(str(name).lower(), names(), n=1, cutoff=0.0)
        raise ValueError(
            f"name={name!r} is not a data set; did you mean {nearest[0]!r}? "
            f"Accepted are {', '.join(names())}"
        )
    if without and name != "music":
        raise ValueError(f"without={without!r} is for music; {name} is one data set")
    if name == "music":
        if down_sample != 1:
            raise ValueError(f"down_sample={down_sample!r} is for prepared speech; music is not")
        splits = _load_music(path, without, edition)
    elif path is not None and (_is_prepared(name) or Path(path).is_dir()):
        splits = _load_prepared(name, Path(path), edition, down_sample)
    elif down_sample != 1:
        raise ValueError(f"down_sample={down_sample!r} is for prepared speech; {name} is not")
    elif _is_prepared(name):
        raise ValueError(
            f"path=None: {name} is read from a prepared folder; make one with `srnn-tf data "
            f"prepare {name} --source DIR --out DIR`, and pass it as path= (in commands --data)"
        )
    else:
        splits = _load_bach(path, edition) if name == "bach" else _load_file(name, path, edition)
    print(splits.describe())
    return splits


def _is_prepared(name: str) -> bool:
    """Whether a data set is read from a prepared folder alone."""
    return name not in ("bach", *_FROM_FILE, "music")


def prepare(name: str, source: str | os.PathLike | None, out: str | os.PathLike, **options) -> Path:
    """Read a corpus once and write it as shards; see `data.prepared.preparation.prepare`."""
    from srnn_tf.data.prepared.preparation import prepare as run

    return run(name, source, out, **options)


def _load_prepared(name: str, path: Path, edition: str | None, down_sample: int) -> Splits:
    from srnn_tf.data.prepared import info

    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; {name} is read from a prepared folder")
    splits = info.load(name, path, down_sample)
    if edition not in (None, "any", splits.edition):
        raise ValueError(f"edition={edition!r} is not that of {path}, {splits.edition!r}")
    return splits


def _load_music(
    path: str | os.PathLike | None, without: Iterable[str], edition: str | None
) -> Splits:
    from srnn_tf.data.corpora.pooled_music import load_music

    if path is None:
        files = ", ".join(f"{file} ({name})" for name, file in _FROM_FILE.items())
        raise ValueError(
            "path=None: music is read from a folder; pass path= (in commands --data), "
            f"one with {files}"
        )
    return load_music(path, without, edition)


def _load_bach(path: str | os.PathLike | None, edition: str | None) -> Splits:
    from srnn_tf.data.corpora.bach import load_bach

    if path is not None:
        raise ValueError(f"path={str(path)!r}: bach comes from the music21 package; omit path")
    splits = load_bach()
    if edition not in (None, "any", splits.edition):
        raise ValueError(f"edition={edition!r} of bach is not here; it is {splits.edition!r}")
    return splits


def _load_file(name: str, path: str | os.PathLike | None, edition: str | None) -> Splits:
    from srnn_tf.data.corpora.pianorolls import read_pianoroll

    if path is None:
        raise ValueError(
            f"path=None: {name} is read from a file; pass path= (in commands --data), "
            f"the file {_FROM_FILE[name]}"
        )
    return read_pianoroll(path, name, edition)

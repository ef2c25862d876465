"""The data set `music`: bach, nottingham, muse, piano_midi and jsb pooled, with balanced shares.

- The parts are those of the sets, without leaks. The collections share pieces. So training
  sequences that are in another set's validation or test part, in any key and at any of three time
  steps, are left out. `Splits.remarks` says how many. Pieces that one set itself has in two of its
  parts stay, so that scores on it compare with those of its own models.
- The chorales of `bach` are read from scores, which have a finer time scale than rolls. In training
  they also occur at half and at double their time step. The other sets are rolls.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from srnn_tf.data.batching.pool import Pool
from srnn_tf.data.corpora import bach
from srnn_tf.data.corpora.overlap import repeated
from srnn_tf.data.corpora.pianorolls import FILES, read_pianoroll
from srnn_tf.data.corpora.splits import Splits

SETS = ("bach", *FILES)
TRANSPOSE = 6  # semitones, up or down, in training
# Frames in a quarter note at half and at double the time step of `bach`.
_OTHER_STEPS = (2 * bach.FRAMES_PER_QUARTER, bach.FRAMES_PER_QUARTER // 2)


def load_music(
    folder: str | os.PathLike, without: Iterable[str] = (), edition: str | None = None
) -> Splits:
    """Load the pooled data set.

    Args:
        folder: the folder with `Nottingham.mat`, `MuseData.mat`, `Piano_midi.mat` and
            `JSB_Chorales.mat`, or the original `.pickle` files. `bach` comes with music21.
        without: the names of sets to leave out.
        edition: the edition of each file, as in `srnn_tf.data.load`.

    Returns:
        `Splits` whose parts are `Pool`s.

    Raises:
        FileNotFoundError: the folder does not exist, or a set is missing and not left out.
        ImportError: `bach` is not left out, and music21 is not installed.
        ValueError: a name is unknown, all sets are left out, or a file is not accepted.
    """
    if isinstance(without, str):
        raise ValueError(f"without must be a list of names; received the string {without!r}")
    path, without = Path(folder), tuple(dict.fromkeys(without))
    unknown = sorted(set(without) - set(SETS))
    if unknown:
        raise ValueError(f"without={unknown} are no sets of music; accepted are {', '.join(SETS)}")
    names = [name for name in SETS if name not in without]
    if not names:
        raise ValueError(f"without={list(without)} leaves no set of music")
    files = _files(path, [name for name in names if name != "bach"])
    sets = {
        name: bach.load_bach() if name == "bach" else read_pianoroll(files[name], name, edition)
        for name in names
    }
    left_out = {name: _given_away(name, sets) for name in names}
    train = {
        name: [r for i, r in enumerate(sets[name].train) if i not in left_out[name]]
        for name in names
    }
    empty = [name for name, rolls in train.items() if not rolls]
    if empty:
        raise ValueError(
            f"all training sequences of {', '.join(empty)} are also in another set's validation or "
            f"test part: leave it out by without={empty}"
        )
    views = {"bach": _views(left_out["bach"])} if "bach" in sets else {}
    return Splits(
        "music",
        train=Pool(train, views, TRANSPOSE),
        valid=Pool({name: of.valid for name, of in sets.items()}),
        test=Pool({name: of.test for name, of in sets.items()}),
        edition=", ".join(f"{name} {of.edition}" for name, of in sets.items()),
        source=str(path),
        remarks=tuple(_remarks(sets, left_out, without)),
    )


def _files(folder: Path, names: Sequence[str]) -> dict[str, Path]:
    """The one file of each set."""
    if not folder.exists():
        raise FileNotFoundError(f"{folder} does not exist; music is read from a folder of files")
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder; music is read from a folder of files")
    present = {name: [folder / f for f in FILES[name] if (folder / f).is_file()] for name in names}
    missing = [name for name in names if not present[name]]
    if missing:
        wanted = "; ".join(f"{name}: {' or '.join(FILES[name])}" for name in missing)
        raise FileNotFoundError(
            f"{folder} does not hold {', '.join(missing)} ({wanted}); to leave them out, pass "
            f"without={missing}, in commands {' '.join(f'--without {name}' for name in missing)}"
        )
    for name, paths in present.items():
        if len(paths) > 1:
            raise ValueError(
                f"{folder} holds {' and '.join(f.name for f in paths)}; {name} must be one file"
            )
    return {name: paths[0] for name, paths in present.items()}


def _given_away(name: str, sets: Mapping[str, Splits]) -> set[int]:
    """Training sequences of a set that another set's validation or test part holds."""
    others = [r for other, of in sets.items() if other != name for r in (*of.valid, *of.test)]
    return set(repeated(sets[name].train, others))


def _views(left_out: set[int]) -> list[list[np.ndarray]]:
    """Each training chorale at half and at double its time step."""
    training = [n for n in bach.load_chorales().names if bach.part_of(n) == "train"]
    finer, coarser = (bach.load_chorales(step) for step in _OTHER_STEPS)
    rolls = [dict(zip(c.names, c.rolls, strict=True)) for c in (finer, coarser)]
    # A score that at another step is like an earlier one is not there, and has no such view.
    return [
        [of[name] for of in rolls if name in of]
        for i, name in enumerate(training)
        if i not in left_out
    ]


def _remarks(sets, left_out, without):
    shared = [f"{len(o)} of {len(sets[n].train)} of {n}" for n, o in left_out.items() if o]
    if shared:
        yield (
            "left out of training, since another set's validation or test part has them: "
            + ", ".join(shared)
        )
    if without:
        yield f"without {', '.join(without)}"
    if "bach" in sets:
        yield "bach is also seen at half and at double its time step"

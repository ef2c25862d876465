"""Music that no data set of ours holds: what each published model of music makes of it.

    python -m benchmarks.unseen_music [--run RUN_DIR ...] [--pieces 40] [--steps-per-quarter 2,4]

Pieces of two collections that come with music21, Palestrina's masses and the fiddle tunes of Ryan's
Mammoth Collection, evenly spaced in the order of their file names, are written as MIDI, as any
notation program would, and read back by `srnn_tf.data.formats.midi.read_midi`. The table has nats
per step of 88 keys, protocol full, total over total; higher is better. With latents a score is an
ELBO. The baseline is notes that are independent of everything, fitted to each piece itself.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from srnn_tf import zoo
from srnn_tf.core import checks
from srnn_tf.data.formats.midi import read_midi
from srnn_tf.data.formats.rolls import NUM_NOTES
from srnn_tf.experiments import baselines, evaluate, runs

COLLECTIONS = ("palestrina", "ryansMammoth")


def pieces(collection: str, count: int, folder: str | os.PathLike) -> list[Path]:
    """Write pieces of a collection of music21 as MIDI files.

    Args:
        collection: as music21 calls it.
        count: how many, at most.
        folder: to write to.

    Raises:
        ImportError: music21 is not installed.
        ValueError: it has no such collection.
    """
    from music21 import converter
    from music21.corpus import getComposer

    scores = sorted(Path(path) for path in getComposer(collection))
    if not scores:
        raise ValueError(f"music21 has no collection {collection!r}")
    written = []
    for place in np.linspace(0, len(scores) - 1, min(count, len(scores))).round().astype(int):
        path = Path(folder) / f"{collection}-{place:05d}.mid"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # music21's, of its own files
            converter.parse(scores[place], forceSource=True).write("midi", str(path))
        written.append(path)
    return written


def music_models() -> list[str]:
    """The names of the published models of piano rolls."""
    return [n for n in zoo.names(published=True) if zoo.card(n)["event_size"] == NUM_NOTES]


def baseline(rolls: Sequence[np.ndarray]) -> float:
    """Independent notes fitted to each piece itself, nats per step."""
    nats = sum(baselines.independent([roll], [roll]) * len(roll) for roll in rolls)
    return nats / sum(len(roll) for roll in rolls)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--run", nargs="*", default=(), help="folders of trainings to score too")
    parser.add_argument("--pieces", type=int, default=40, help="of each collection")
    parser.add_argument("--steps-per-quarter", default="2,4", help="of the rolls")
    parser.add_argument("--models", help="published names, with commas; all of music by default")
    args = parser.parse_args(argv)
    with runs.clear_errors(), tempfile.TemporaryDirectory() as folder:
        checks.sizes(pieces=args.pieces)
        files = {name: pieces(name, args.pieces, folder) for name in COLLECTIONS}
        rolls = {
            f"{name}, {steps} a quarter": list(_read(of, int(steps)))
            for steps in args.steps_per_quarter.split(",")
            for name, of in files.items()
        }
        print("| model | " + " | ".join(rolls) + " |\n|---|" + "---|" * len(rolls))
        _row("independent notes, fitted to each piece", map(baseline, rolls.values()))
        opened = [runs.Run.open(run) for run in args.run]
        named = music_models() if args.models is None else filter(None, args.models.split(","))
        for name in named:
            model = zoo.load(name)
            _row(name, [evaluate.score(model, part) for part in rolls.values()])
        for run in opened:
            model = run.best_model()
            name = f"{run.recipe.name}, a run at update {int(model.step)}"
            _row(name, (evaluate.score(model, part) for part in rolls.values()))


def _read(paths, steps_per_quarter):
    """The rolls of files; what cannot be read is named and left out."""
    for path in paths:
        try:
            yield read_midi(path, steps_per_quarter)
        except ValueError as error:
            print(f"left out: {error}", file=sys.stderr)


def _row(name, scores):
    print(f"| {name} | " + " | ".join(f"{score:.4f}" for score in scores) + " |", flush=True)


if __name__ == "__main__":
    main()

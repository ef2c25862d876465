"""Prepare a corpus, or tell what a prepared one holds.

python -m srnn_tf.data prepare NAME --source DIR --out DIR [--workers N] [--skip-bad]
python -m srnn_tf.data info DIR [--verify]
python -m srnn_tf.data names
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path

from srnn_tf.data import corpora
from srnn_tf.data.prepared import info, records
from srnn_tf.data.prepared.preparation import prepare

_HELP = {
    "lists": "folder of the lists that make the parts (vctk, blizzard, iam_ondb)",
    "sample_rate": "of the prepared audio, in Hz; 16000 by default",
    "frame_size": "samples of a step; 200 by default",
    "permutation": "file of the order of a step's samples (perm_timit, perm_speech_commands)",
    "std": "what moves of a pen are divided by; their own by default, 56.04462 in the paper's code",
    "columns": "of stroke arrays, as in dx,dy,pen",
    "steps_per_quarter": "steps in a quarter note, of MIDI files; 2 by default",
    "edition": 'of piano rolls: a known edition, or "any"',
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="srnn_tf.data", description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("prepare", help="read a corpus and write it for training")
    one.add_argument("name", help=", ".join(corpora.CORPORA))
    one.add_argument("--source", help="the folder that the corpus was unpacked to")
    one.add_argument("--out", required=True, help="the folder to make")
    one.add_argument("--workers", type=int, default=1, help="processes that read; 1 by default")
    one.add_argument("--skip-bad", action="store_true", help="go on without files that are bad")
    one.add_argument("--runner", help="of Apache Beam, such as DirectRunner; more words go to it")
    for field in dataclasses.fields(corpora.Options):
        kind = {"int": int, "float | None": float}.get(field.type, str)
        name = "--" + field.name.replace("_", "-")
        one.add_argument(name, type=kind, help=_HELP[field.name])
    two = commands.add_parser("info", help="statistics, beside those of the paper")
    two.add_argument("path", type=Path, help="a prepared folder")
    two.add_argument("--verify", action="store_true", help="compare all files with their checksums")
    commands.add_parser("names", help="the corpora that can be prepared")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    parser = _parser()
    args, rest = parser.parse_known_args(argv)
    if rest and not getattr(args, "runner", None):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    try:
        if args.command == "names":
            print("\n".join(corpora.CORPORA))
        elif args.command == "info":
            if args.verify:
                info.verify(args.path)
            _show(args.path)
        else:
            options = {f.name: getattr(args, f.name) for f in dataclasses.fields(corpora.Options)}
            out = prepare(
                args.name,
                args.source,
                args.out,
                args.workers,
                args.skip_bad,
                args.runner,
                rest,
                **options,
            )
            _show(out)
    except (ValueError, OSError, ImportError) as error:
        records.say(f"error: {error}")
        raise SystemExit(2) from error


def _show(path: Path) -> None:
    print(records.printable(info.describe(info.read(path))))


if __name__ == "__main__":
    main()

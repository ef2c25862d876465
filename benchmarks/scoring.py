"""Scoring and sampling: ours beside plain PyTorch without gradients; one run, interleaved.

    python -m benchmarks.scoring [--cases f_rnn_midi,...] [--rounds 5] [--frames 8]

Three tables, all on the CPU and in float32: frames scored a second by `log_prob`, at the batch of
`train_step`; values drawn a second by `sample`, in sequences of a few frames; and the seconds that
a second of speech takes, 80 frames of 200 values drawn one by one from SRNN-hier. A ratio above 1
means that ours is faster.
"""

from __future__ import annotations

import math
import os

from benchmarks import cases, turns

CONTENDERS = ("ours", "torch")
SPEECH, SECOND = "srnn_hier_speech", 80  # frames of 200 samples, at 16 kHz


def measure(job: str, name: str, rounds: int, **sizes) -> dict[str, float]:
    """Median seconds of each contender."""
    workers = {c: turns.Worker(job, c, name, **sizes) for c in CONTENDERS}
    return turns.alternate(workers, rounds)[0]


def ratio(seconds: dict[str, float]) -> str:
    return f"{seconds['torch'] / seconds['ours']:.2f}" if len(seconds) == 2 else "-"


def rates(job: str, unit: str, names: list[str], rounds: int, **sizes) -> None:
    """A table of how much of the batch of each case a second does: frames, or values."""
    print(f"\n| {job} | batch | ours, {unit}/s | PyTorch, {unit}/s | vs PyTorch |")
    print("|---|---|---|---|---|", flush=True)
    for name in names:
        shape = cases.get(name, **sizes).shape
        amount = math.prod(shape if unit == "values" else shape[:2])
        seconds = measure(job, name, rounds, **sizes)
        rate = {c: amount / s for c, s in seconds.items()}
        cells = " | ".join(turns.cell(rate, c, ",.0f") for c in CONTENDERS)
        batch = " x ".join(str(n) for n in shape)
        print(f"| {name} | {batch} | {cells} | {ratio(seconds)} |", flush=True)


def speech(rounds: int, frames: int, scale: int) -> None:
    """The table of a second of speech."""
    width = cases.get(SPEECH, scale=scale).shape[-1]
    print(f"\n| {frames * width:,} values of {SPEECH} | ours, s | PyTorch, s | vs PyTorch |")
    print("|---|---|---|---|", flush=True)
    for rows in (1, 32):
        sizes = {"batch": rows, "frames": frames, "scale": scale}
        seconds = measure("sampling", SPEECH, rounds, **sizes)
        cells = " | ".join(turns.cell(seconds, c, ".2f") for c in CONTENDERS)
        print(f"| batch {rows} | {cells} | {ratio(seconds)} |", flush=True)


def main() -> None:
    parser = turns.arguments(__doc__.split("\n")[0], rounds=5)
    parser.add_argument("--cases", default=",".join(cases.CASES))
    parser.add_argument("--batch", type=int, help="rows, in place of those of each case")
    parser.add_argument("--frames", type=int, default=8, help="per sequence, of the samples")
    args = parser.parse_args()
    turns.on_cpu()
    names, sizes = turns.chosen(args.cases), {"batch": args.batch, "scale": args.scale}
    print(f"{os.cpu_count()} CPU cores")
    rates("scoring", "frames", names, args.rounds, **sizes)
    rates("sampling", "values", names, args.rounds, frames=args.frames, **sizes)
    speech(max(1, args.rounds // 5), max(1, SECOND // args.scale), args.scale)


if __name__ == "__main__":
    main()

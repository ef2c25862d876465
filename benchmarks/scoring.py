"""Scoring and sampling: ours beside PyTorch without gradients; one run, interleaved.

    python -m benchmarks.scoring [--cases f_rnn_midi,...] [--contenders ours,torch]
        [--rounds 5] [--frames 8] [--no-speech]

Three tables, all on the CPU and in float32: frames scored a second by `log_prob`, at the batch of
`train_step`; values drawn a second by `sample`, in sequences of a few frames; and the seconds that
a second of speech takes, 80 frames of 200 values drawn one by one from SRNN-hier. A ratio above 1
means that ours is faster.
"""

from __future__ import annotations

import math

from benchmarks import cases, turns

CONTENDERS = {"ours": "ours", "torch": "PyTorch", "torch_compiled": "compiled"}
SPEECH, SECOND = "srnn_hier_speech", 80  # frames of 200 samples, at 16 kHz


def measure(job: str, name: str, rounds: int, chosen: list[str], **sizes) -> dict[str, float]:
    """Median seconds of each contender."""
    taking_part = [c for c in chosen if c in cases.CASES[name].contenders]
    workers = {c: turns.Worker(job, c, name, **sizes) for c in taking_part}
    return turns.alternate(workers, rounds)[0]


def ratios(seconds: dict[str, float]) -> str:
    """Cells of how many times faster ours is than PyTorch, eager and compiled."""
    found = {c: s / seconds["ours"] for c, s in seconds.items() if "ours" in seconds}
    return " | ".join(turns.cell(found, c, ".2f") for c in CONTENDERS if c != "ours")


def rates(job: str, unit: str, names: list[str], rounds: int, chosen: list[str], **sizes) -> None:
    """A table of how much of the batch of each case a second does: frames, or values."""
    titles = " | ".join(f"{title}, {unit}/s" for title in CONTENDERS.values())
    print(f"\n| {job} | batch | {titles} | vs PyTorch | vs compiled |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for name in names:
        shape = cases.get(name, **sizes).shape
        amount = math.prod(shape if unit == "values" else shape[:2])
        seconds = measure(job, name, rounds, chosen, **sizes)
        rate = {c: amount / s for c, s in seconds.items()}
        cells = " | ".join(turns.cell(rate, c, ",.0f") for c in CONTENDERS)
        batch = " x ".join(str(n) for n in shape)
        print(f"| {name} | {batch} | {cells} | {ratios(seconds)} |", flush=True)


def speech(rounds: int, frames: int, scale: int, chosen: list[str]) -> None:
    """The table of a second of speech."""
    width = cases.get(SPEECH, scale=scale).shape[-1]
    titles = " | ".join(f"{title}, s" for title in CONTENDERS.values())
    print(f"\n| {frames * width:,} values of {SPEECH} | {titles} | vs PyTorch | vs compiled |")
    print("|---|---|---|---|---|---|", flush=True)
    for rows in (1, 32):
        sizes = {"batch": rows, "frames": frames, "scale": scale}
        seconds = measure("sampling", SPEECH, rounds, chosen, **sizes)
        cells = " | ".join(turns.cell(seconds, c, ".2f") for c in CONTENDERS)
        print(f"| batch {rows} | {cells} | {ratios(seconds)} |", flush=True)


def main() -> None:
    parser = turns.arguments(__doc__.split("\n")[0], rounds=5)
    parser.add_argument("--cases", default=",".join(cases.CASES))
    parser.add_argument("--contenders", default=",".join(CONTENDERS))
    parser.add_argument("--batch", type=int, help="rows, in place of those of each case")
    parser.add_argument("--frames", type=int, default=8, help="per sequence, of the samples")
    parser.add_argument("--no-speech", action="store_true", help="leave the last table out")
    args = parser.parse_args()
    turns.on_cpu()
    turns.Worker.clock, chosen = args.clock, args.contenders.split(",")
    names, sizes = turns.chosen(args.cases), {"batch": args.batch, "scale": args.scale}
    print(turns.machine())
    rates("scoring", "frames", names, args.rounds, chosen, **sizes)
    rates("sampling", "values", names, args.rounds, chosen, frames=args.frames, **sizes)
    if not args.no_speech:
        speech(max(1, args.rounds // 5), max(1, SECOND // args.scale), args.scale, chosen)


if __name__ == "__main__":
    main()

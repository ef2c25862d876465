"""Hours of training on TIMIT, beside those of the paper's Table 7.

    python -m benchmarks.table7 [--quick] [--rounds 3] [--hier-batch N] [--flat-frames N]

Seconds per update, measured here, times 40,000 updates of batch 32. Runs on a GPU where TensorFlow
sees one, else on the CPU; XLA, float32. On the CPU the flat and hier models are measured on a part
of their batch and the time is multiplied by the whole over the part: windows of 200 steps in place
of 2,000 (our cost is linear in the steps), and 4 rows in place of 32. The columns "measured" and
"times" say so; on a GPU the whole batch is measured.
"""

from __future__ import annotations

import argparse
import os

from benchmarks import cases, turns

UPDATES = 40_000
# name: the case; B and T, in frames of 200 values, of the paper's batch; hours on a GTX 1080Ti.
MODELS = {
    "F-RNN": ("f_rnn_speech", (32, 40), 0.86),
    "F-SRNN": ("f_srnn_speech", (32, 40), 1.36),
    "RNN-flat": ("rnn_flat_speech", (32, 10), 20.02),
    "SRNN-flat": ("srnn_flat_speech", (32, 10), 62.86),
    "RNN-hier": ("rnn_hier_speech", (32, 40), 1.55),
    "SRNN-hier": ("srnn_hier_speech", (32, 40), 2.40),
}


def gpu() -> str | None:
    """The first GPU that TensorFlow sees."""
    import tensorflow as tf

    found = tf.config.list_physical_devices("GPU")
    if not found:
        return None
    return tf.config.experimental.get_device_details(found[0]).get("device_name", "GPU")


def part(name: str, args: argparse.Namespace) -> tuple[int, int]:
    """B and T that are measured."""
    _, (rows, frames), _ = MODELS[name]
    if "hier" in name:
        rows = min(rows, args.hier_batch)
    if "flat" in name:
        frames = min(frames, args.flat_frames)
    return rows, frames


def row(name: str, args: argparse.Namespace) -> str:
    """A line of the table."""
    case, (rows, frames), paper = MODELS[name]
    measured = part(name, args)
    times = rows * frames / (measured[0] * measured[1])
    sizes = {"batch": measured[0], "frames": measured[1], "scale": args.scale}
    shape = cases.get(case, **sizes).shape
    worker = turns.Worker("training", "ours", case, **sizes)
    seconds, _ = turns.alternate({"ours": worker}, args.rounds)
    cells = [" x ".join(str(n) for n in shape), turns.cell(seconds, "ours", ".4f"), f"{times:g}"]
    hours = {c: s * times * UPDATES / 3600 for c, s in seconds.items()}
    share = {c: h / paper for c, h in hours.items()}
    cells += [turns.cell(hours, "ours", ".2f"), f"{paper:.2f}", turns.cell(share, "ours", ".2f")]
    return f"| {name} | {' | '.join(cells)} |"


def parsed(on_gpu: bool) -> argparse.Namespace:
    parser = turns.arguments(__doc__.split("\n")[0], rounds=3)
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--hier-batch", type=int, default=32 if on_gpu else 4)
    parser.add_argument("--flat-frames", type=int, default=10 if on_gpu else 1)
    parser.add_argument("--quick", action="store_true", help="one round, the smallest parts")
    args = parser.parse_args()
    if args.quick:
        args.rounds, args.hier_batch, args.flat_frames = 1, min(args.hier_batch, 2), 1
    return args


def main() -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    device = gpu()
    args = parsed(on_gpu=device is not None)
    turns.Worker.clock = args.clock
    print(f"Device: {device or f'CPU, {os.cpu_count()} cores'}; {UPDATES:,} updates\n")
    print("| model | measured | s/update | times | hours | hours, GTX 1080Ti (paper) | share |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for name in args.models.split(","):
        print(row(name, args), flush=True)


if __name__ == "__main__":
    main()

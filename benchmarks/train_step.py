"""Time of a full training step: ours, stock Keras layers, plain PyTorch; one run, interleaved.

    python -m benchmarks.train_step [--cases f_rnn_midi,...] [--contenders ours,...] [--rounds 7]
        [--batch N] [--clock processor] [--json FILE]

Each contender makes the whole update: forward, backward, clipping to norm 0.5, Adam, on the CPU;
"bfloat16" is ours with the policy mixed_bfloat16 and without XLA; "compiled" is PyTorch under
`torch.compile`, of a step where the model has a loop in Python, with compiling in none of the
times. Times are medians over rounds in which the contenders, each in a process of its own, take
turns of half a second; a ratio above 1 means that ours is faster, and "best vs best" is the faster
of PyTorch's over the faster of ours. Peak memory is that after two updates, less what importing
costs. "of peak" is the arithmetic of the matrix products that ours needs, per second of its float32
step, as a share of the rate of the best float32 matrix product measured here.
"""

from __future__ import annotations

import argparse
import json

from benchmarks import cases, flops, turns

CONTENDERS = {"ours": "ours", "ours_bf16": "bfloat16", "keras": "Keras", "torch": "PyTorch"}
CONTENDERS |= {"torch_compiled": "compiled"}
RATIOS = {"keras": "vs Keras", "torch": "vs PyTorch", "torch_compiled": "vs compiled"}
HEADER = [*(f"{title}, s" for title in CONTENDERS.values()), *RATIOS.values()]
HEADER += ["best vs best", "of peak", *(f"MB: {title}" for title in CONTENDERS.values())]


def best_matmul_rate(size: int = 1280) -> float:
    """GFLOP/s of a float32 matrix product here, the ceiling of every float32 step."""
    import tensorflow as tf

    a, b = tf.random.normal([size, 660]), tf.random.normal([660, 2640])
    product = tf.function(lambda: tf.matmul(a, b)[0, 0])
    times, now = [], turns.CLOCKS[turns.Worker.clock]
    for _ in range(20):
        start = now()
        float(product())
        times.append(now() - start)
    return 2 * size * 660 * 2640 / min(times) * 1e-9


def measure(name: str, contenders: list[str], rounds: int, sizes: dict) -> dict[str, dict]:
    """Median seconds, peak MB and ratios of a case."""
    taking_part = [c for c in cases.CASES[name].contenders if c in contenders]
    workers = {c: turns.Worker("training", c, name, **sizes) for c in taking_part}
    seconds, memory = turns.alternate(workers, rounds)
    own = [seconds[c] for c in ("ours", "ours_bf16") if c in seconds]
    theirs = [seconds[c] for c in ("torch", "torch_compiled") if c in seconds]
    ratios = {}
    if "ours" in seconds:
        ratios = {c: seconds[c] / seconds["ours"] for c in RATIOS if c in seconds}
    if own and theirs:
        ratios["best"] = min(theirs) / min(own)
    return {"seconds": seconds, "ratios": ratios, "peak_mb": memory}


def row(name: str, found: dict[str, dict], work: int, rate: float) -> str:
    """A line of the table; `work` is the arithmetic of a step, `rate` GFLOP/s."""
    seconds, ratios, memory = found["seconds"], found["ratios"], found["peak_mb"]
    share = {"ours": work / seconds["ours"] / (rate * 1e9)} if "ours" in seconds else {}
    cells = [turns.cell(seconds, c, ".4f") for c in CONTENDERS]
    cells += [turns.cell(ratios, c, ".2f") for c in (*RATIOS, "best")]
    cells += [turns.cell(share, "ours", ".0%")]
    cells += [turns.cell(memory, c, ".0f") for c in CONTENDERS]
    return f"| {name} | {' | '.join(cells)} |"


def parsed() -> argparse.Namespace:
    parser = turns.arguments(__doc__.split("\n")[0], rounds=7)
    parser.add_argument("--cases", default=",".join(cases.CASES))
    parser.add_argument("--contenders", default=",".join(CONTENDERS))
    parser.add_argument("--batch", type=int, help="rows, in place of those of each case")
    parser.add_argument("--json", help="also write the numbers to this file")
    return parser.parse_args()


def main() -> None:
    args = parsed()
    turns.on_cpu()
    turns.Worker.clock = args.clock
    names, rate = turns.chosen(args.cases), best_matmul_rate()
    print(f"{turns.machine()}; best float32 matrix product {rate:.0f} GFLOP/s\n")
    print("| model | batch | " + " | ".join(HEADER) + " |")
    print("|---|---" + "|---" * len(HEADER) + "|", flush=True)
    rows, sizes = {}, {"batch": args.batch, "scale": args.scale}
    for name in names:
        case = cases.get(name, **sizes)
        found = measure(name, args.contenders.split(","), args.rounds, sizes)
        shape = " x ".join(str(n) for n in case.shape)
        print(row(f"{name} | {shape}", found, flops.training(case), rate), flush=True)
        rows[name] = {**found, "shape": case.shape, "flops": flops.training(case)}
    if args.json:
        with open(args.json, "w") as file:
            json.dump({"gflop_per_second": rate, "cases": rows}, file, indent=2)


if __name__ == "__main__":
    main()

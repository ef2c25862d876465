"""What the first call of everything costs, in processes that have just begun.

    python -m benchmarks.first_use [--models f_rnn_nottingham,...] [--rounds 3] [--clock processor]
        [--before CHECKOUT]

Each score, sample and training step is the first one of a process of its own; the least of all
rounds counts, which take turns. Where the machine has other work, seconds of the processor say
more. The rows are this package without the cache of compiled programs, with it in the process that
fills it, and in those after it; `--before` adds one of an earlier version, whose checkout it names.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SWITCH = "SRNN_TF_COMPILE_CACHE"
ROOT = Path(__file__).parents[1]
JOBS = ("score", "sample", "step")
COLUMNS = {
    "import": "import",
    "load": "load",
    "score": "first score",
    "far": "new length, 10 to 400",
    "near": "new length, 101 to 140",
    "sample": "first sample",
    "step": "first step",
}
# Forty lengths, few of which are rounded to the same one, and forty of which many are.
LENGTHS = {"far": range(10, 401, 10), "near": range(101, 141)}
Seconds = dict[str, tuple[float, float]]


def work(job: str, name: str, scale: int = 1) -> Seconds:
    """Seconds of one job and of what comes before it: of the clock, and of the processor."""
    seconds: Seconds = {}

    def timed(what: str, function: Callable[[], Any], share: int = 1) -> Any:
        start, processor = time.perf_counter(), time.process_time()
        result = function()
        stop, after = time.perf_counter(), time.process_time()
        seconds[what] = ((stop - start) / share, (after - processor) / share)
        return result

    def imported():
        import srnn_tf

        return srnn_tf, srnn_tf.SequenceModel

    package, _ = timed("import", imported)
    model = timed("load", lambda: package.zoo.load(name))
    import numpy as np

    random, width = np.random.default_rng(0), model.event_size
    values = random.standard_normal([16, 400, width])
    values = np.where(model.binary, random.random(values.shape) < 0.05, values).astype(np.float32)
    if job == "score":
        timed("score", lambda: model.log_prob(values[:, :100]).numpy())
        for what, lengths in LENGTHS.items():
            lengths = lengths[::scale]

            def all_lengths(lengths=lengths):
                return [model.log_prob(values[:, :n]).numpy() for n in lengths]

            timed(what, all_lengths, len(lengths))
    elif job == "sample":
        timed("sample", lambda: model.sample(1, 64, seed=0).numpy())
    else:
        timed("step", lambda: model.fit(values[:, :100], batch_size=16, verbose=0))
    return seconds


def run(job: str, name: str, checkout: Path, cache: str, scale: int) -> Seconds:
    """`work` in a new process, of the package in a checkout."""
    variables = {**os.environ, "PYTHONPATH": str(checkout), SWITCH: cache}
    command = [sys.executable, "-P", __file__, "--work", json.dumps([job, name, scale])]
    done = subprocess.run(command, env=variables, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def least(rounds: list[Seconds]) -> Seconds:
    """The least seconds of each kind."""
    names = {name for seconds in rounds for name in seconds}
    given = {name: [s[name] for s in rounds if name in s] for name in names}
    return {n: (min(w for w, _ in all), min(p for _, p in all)) for n, all in given.items()}


def measure(name: str, rounds: int, before: Path | None, scale: int = 1) -> dict[str, Seconds]:
    """The rows of a model's table."""
    rows: dict[str, list[Seconds]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(rounds):
            caches = {"no cache": "0"}
            caches["cache, first process"] = caches["cache, later"] = f"{folder}/{number}"
            for row, cache in caches.items():
                for job in JOBS:
                    rows.setdefault(row, []).append(run(job, name, ROOT, cache, scale))
            if before is not None:
                for job in JOBS:
                    rows.setdefault("before", []).append(run(job, name, before, "0", scale))
    return {row: least(rows[row]) for row in sorted(rows, key=lambda row: row != "before")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", default="f_rnn_nottingham", help="published ones")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clock", choices=("wall", "processor"), default="wall")
    parser.add_argument("--before", type=Path, help="the checkout of an earlier version")
    parser.add_argument("--scale", type=int, default=1, help=argparse.SUPPRESS)
    parser.add_argument("--work", help=argparse.SUPPRESS)
    args = parser.parse_args()
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if args.work:
        print(json.dumps(work(*json.loads(args.work))))
        return
    clock = ("wall", "processor").index(args.clock)
    load = os.getloadavg()[0]
    print(f"{os.cpu_count()} CPU cores, load {load:.1f}; seconds by the {args.clock} clock")
    for name in args.models.split(","):
        print(f"\n| {name} | {' | '.join(COLUMNS.values())} |")
        print("|---" * (1 + len(COLUMNS)) + "|", flush=True)
        for row, seconds in measure(name, args.rounds, args.before, args.scale).items():
            cells = (f"{seconds[column][clock]:.2f}" for column in COLUMNS)
            print(f"| {row} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()

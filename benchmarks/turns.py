"""Contenders in processes of their own that take turns, so that none disturbs another's threads.

A contender that dies, for want of memory for instance, is left out and the others go on.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

from benchmarks import cases, contenders

TURN = 0.5  # seconds
CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}  # the latter of all threads


class Worker:
    """A contender at work on a case.

    Args:
        job: of `contenders.JOBS`.
        contender: who.
        case: its name.
        sizes: other arguments of `cases.get`.

    Attributes:
        clock: in `CLOCKS`; for all workers that are made afterwards.
        peak_mb: memory after two warm-ups, less what importing costs; None if it died.
    """

    clock = "wall"

    def __init__(self, job: str, contender: str, case: str, **sizes: Any):
        self.name, self.errors = f"{contender}, {job} of {case}", tempfile.TemporaryFile("w+")
        order = json.dumps([job, contender, case, sizes, self.clock])
        pipe = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": self.errors}
        command = [sys.executable, "-m", "benchmarks.turns", order]
        self.process = subprocess.Popen(command, text=True, **pipe)
        self.peak_mb = self._answer()

    def turn(self) -> float | None:
        """Mean seconds of the work, done over and over for half a second; None if it died."""
        try:
            self.process.stdin.write("\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass
        return self._answer()

    def close(self) -> None:
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass
        self.process.wait()
        self.process.stdout.close()
        self.errors.close()

    def _answer(self):
        line = self.process.stdout.readline()
        if line:
            return float(line)
        code = self.process.wait()
        self.errors.seek(0)
        last = (self.errors.read().strip().splitlines() or [""])[-1]
        print(f"{self.name}: ended with code {code} {last}", file=sys.stderr, flush=True)
        return None


def alternate(workers: dict[str, Worker], rounds: int) -> tuple[dict[str, float], dict[str, float]]:
    """Median seconds and peak MB of each worker that lives to the end; closes them all."""
    alive = {name: w for name, w in workers.items() if w.peak_mb is not None}
    times: dict[str, list[float]] = {name: [] for name in alive}
    for _ in range(rounds):
        for name, worker in list(alive.items()):
            seconds = worker.turn()
            if seconds is None:
                del alive[name]
            else:
                times[name].append(seconds)
    for worker in workers.values():
        worker.close()
    medians = {name: statistics.median(times[name]) for name in alive}
    return medians, {name: worker.peak_mb for name, worker in alive.items()}


def arguments(description: str, rounds: int) -> argparse.ArgumentParser:
    """The options that the commands have in common."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rounds", type=int, default=rounds, help="turns of each contender")
    parser.add_argument(
        "--clock",
        choices=CLOCKS,
        default="wall",
        help="time that passes, or processor time, for a busy machine (on one core: taskset -c 0)",
    )
    parser.add_argument("--scale", type=int, default=1, help=argparse.SUPPRESS)
    return parser


def chosen(names: str) -> list[str]:
    """The cases of a comma-separated list."""
    found = names.split(",")
    unknown = [name for name in found if name not in cases.CASES]
    if unknown:
        raise SystemExit(f"no such case: {unknown[0]}; there are {', '.join(cases.CASES)}")
    return found


def cell(values: dict[str, float], name: str, how: str) -> str:
    """An entry of a table, "-" where there is none."""
    return format(values[name], how) if name in values else "-"


def machine() -> str:
    """The first words of a table: cores that the process may use, and what is measured."""
    return f"{len(os.sched_getaffinity(0))} CPU cores; {Worker.clock} time"


def on_cpu() -> None:
    """Hide GPUs from this process and its workers."""
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


def _memory(field: str) -> float:
    """A line of the process's own status, MB (Linux)."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith(field))


def _work(job: str, contender: str, case: str, sizes: dict[str, Any], clock: str) -> None:
    """A worker: first its peak MB, then for each line of input one turn, answered in seconds."""
    if contender in contenders.TORCH:
        from benchmarks import torch_models  # noqa: F401
    else:
        from srnn_tf import SequenceModel  # noqa: F401, imports TensorFlow and all that a model needs
    before, now = _memory("VmRSS"), CLOCKS[clock]
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the peak starts anew, from what the imports left resident
    work = contenders.JOBS[job](contender, cases.get(case, **sizes))
    for _ in range(2):  # compile, warm up
        start = now()
        work()
        once = now() - start
    print(_memory("VmHWM") - before, flush=True)
    count = max(1, int(TURN / once))
    for _ in sys.stdin:
        start = now()
        for _ in range(count):
            work()
        print((now() - start) / count, flush=True)


if __name__ == "__main__":
    _work(*json.loads(sys.argv[1]))

"""What a training step takes of memory, and for what: compiling, XLA's buffers, the rest.

    python -m benchmarks.memory [--cases f_rnn_midi,...] [--batches 16,64] [--contenders ours,torch]

MB beyond what importing costs, after two updates on the CPU, each in a process of its own: with
what compiling takes, and with programs from the cache (`SRNN_TF_COMPILE_CACHE`). "buffers" is what
XLA itself plans for the compiled update: weights, the state of Adam, the batch, and all that it
keeps meanwhile. The difference of two batches is what a row costs.
"""

from __future__ import annotations

import argparse
import os
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks import cases, turns

CASES = "f_rnn_midi,delta_rnn_random_midi,rnn_hier_mlp_midi,storn_88,vrnn_88"
HEAD = ["model", "batch", "first update", "from the cache", "buffers", "PyTorch"]


def peak(contender: str, case: str, rows: int, **environment: str) -> float | None:
    """MB of a process at its peak, less what importing costs; None if it died."""
    kept = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    try:
        worker = turns.Worker("training", contender, case, batch=rows)
    finally:
        for name, value in kept.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
    worker.close()
    return worker.peak_mb


def planned(case: str, rows: int) -> float | None:
    """MB of the buffers of the largest program of an update, as XLA reports them."""
    with tempfile.TemporaryDirectory() as folder:
        flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_dump_to={folder} --xla_dump_hlo_as_text"
        peak("ours", case, rows, XLA_FLAGS=flags.strip())
        texts = (file.read_text() for file in Path(folder).glob("*memory-usage-report.txt"))
        found = [re.search(r"Total bytes used: (\d+)", text) for text in texts]
    return max((int(total[1]) / 2**20 for total in found if total), default=None)


def line(case: str, rows: int, who: Sequence[str]) -> str:
    """A row of the table."""
    found: list[float | None] = [None] * 4
    if "ours" in who:
        with tempfile.TemporaryDirectory() as folder:
            cache = {"SRNN_TF_COMPILE_CACHE": folder}
            found[:2] = (peak("ours", case, rows, **cache) for _ in range(2))
        found[2] = planned(case, rows)
    if "torch" in who:
        found[3] = peak("torch", case, rows)
    shape = cases.get(case, batch=rows).shape
    cells = [case, " x ".join(map(str, shape))]
    cells += ["-" if mb is None else f"{mb:.0f}" for mb in found]
    return f"| {' | '.join(cells)} |"


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cases", default=CASES, help="with commas")
    parser.add_argument("--batches", default="16,64", help="rows, with commas")
    parser.add_argument("--contenders", default="ours,torch", help="with commas")
    args = parser.parse_args(argv)
    turns.on_cpu()
    print(f"| {' | '.join(HEAD)} |\n|{'---|' * len(HEAD)}")
    for case in turns.chosen(args.cases):
        for rows in map(int, args.batches.split(",")):
            print(line(case, rows, args.contenders.split(",")), flush=True)


if __name__ == "__main__":
    main()

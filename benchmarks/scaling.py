"""Seconds of an update on one core, on two, on two logical devices, and across two workers.

    python -m benchmarks.scaling [--cases f_srnn_midi,...] [--updates 30] [--rounds 3] [--batch N]

The same global batch each time, so that efficiency is the seconds on one core over twice those of
the two. "one core" and "two cores" are `fit` on one device, with that many cores for its threads;
"2 devices" is `fit` under `MirroredStrategy` on two logical devices of one process; "2 workers" are
two processes of a core each, joined on loopback by `MultiWorkerMirroredStrategy` and trained by
`workers.Loop`. XLA compiles the whole step of one device, and of replicas what each works out
alone: that is part of what scaling costs. Cores are physical ones. Means over ten updates, of which
the first ten are not counted; medians of these, and of rounds in which the ways take turns.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import itertools
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from benchmarks import cases, contenders, turns
from srnn_tf import data
from srnn_tf.experiments import workers

# The cores of each process of a way, and what it runs.
WAYS: dict[str, tuple[list[int], str | None]] = {
    "one core": ([1], None),
    "two cores": ([2], None),
    "2 devices": ([2], "mirrored"),
    "2 workers": ([1, 1], "multiworker"),
}
DEFAULT = "f_rnn_midi,f_srnn_midi,rnn_hier_mlp_midi,f_srnn_speech"
EACH = 10  # updates between two looks at the clock; the first ten warm up


def measure(way: str, case: str, updates: int, **of_case: Any) -> float:
    """Seconds of an update, those of the slower process."""
    sizes, kind = WAYS[way]
    cores = physical_cores()
    processes, ports = [], free_ports(len(sizes))
    for index, count in enumerate(sizes):
        mine, cores = cores[:count], cores[count:]
        order = json.dumps([kind, case, updates, of_case])
        env = dict(os.environ)
        if kind == "multiworker":
            cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
            task = {"type": "worker", "index": index}
            env["TF_CONFIG"] = json.dumps({"cluster": cluster, "task": task})
        command = [sys.executable, "-m", "benchmarks.scaling", "--order", order]
        # Before TensorFlow counts them.
        pinned = functools.partial(os.sched_setaffinity, 0, mine)
        processes.append(
            subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True, preexec_fn=pinned)
        )
    try:
        printed = [process.communicate()[0].strip().splitlines() for process in processes]
    finally:
        for process in processes:
            process.kill()
    if any(process.returncode for process in processes):
        raise SystemExit(f"{way} of {case}: a process ended with an error")
    return max(float(lines[-1]) for lines in printed)


def physical_cores() -> list[int]:
    """CPUs of this process that share no core."""
    found = {}
    for cpu in sorted(os.sched_getaffinity(0)):
        file = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        found.setdefault(file.read_text() if file.is_file() else cpu, cpu)
    return list(found.values())


def free_ports(count: int) -> list[int]:
    """Ports of this machine that nobody listens at."""
    held = [socket.socket() for _ in range(count)]
    for one in held:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


def work(kind: str | None, name: str, updates: int, of_case: dict[str, Any]) -> None:
    """One process: train, and print the median seconds of an update."""
    if kind == "mirrored":
        cpu = tf.config.list_physical_devices("CPU")[0]
        two = [tf.config.LogicalDeviceConfiguration()] * 2
        tf.config.set_logical_device_configuration(cpu, two)
        strategy = tf.distribute.MirroredStrategy(["/cpu:0", "/cpu:1"])
    else:
        strategy = workers.strategy(kind)
    case = cases.get(name, **of_case)
    frames, _ = case.batch()
    steps = EACH + updates // EACH * EACH
    stream = data.padded(list(frames) * steps, len(frames), seed=0)  # an epoch
    with strategy.scope() if strategy else contextlib.nullcontext():
        model = contenders.ours(case)
    ends: list[float] = []
    if kind == "multiworker":
        at_end = lambda logs: bool(ends.append(time.perf_counter()))  # noqa: E731
        workers.Loop(strategy, model, stream).run(steps, EACH, at_end)
    else:
        model.fit(stream, verbose=0, callbacks=[_clock(ends)])
        ends = ends[EACH - 1 :: EACH]
    seconds = [(b - a) / EACH for a, b in itertools.pairwise(ends)]
    print(statistics.median(seconds), flush=True)
    os._exit(0)  # TensorFlow's threads of a cluster would wait for one another


def _clock(ends: list[float]) -> keras.callbacks.Callback:
    return keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: ends.append(time.perf_counter())
    )


def main(argv: Sequence[str] | None = None) -> None:
    parser = turns.arguments(__doc__.split("\n")[0], rounds=3)
    parser.add_argument("--cases", default=DEFAULT)
    parser.add_argument("--updates", type=int, default=30, help="that are counted, in tens")
    parser.add_argument("--batch", type=int, help="rows of all devices; those of each case")
    parser.add_argument("--order", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    turns.on_cpu()
    if args.order:
        order = json.loads(args.order)
        with workers.leaving(order[0]):
            work(*order)
    if len(physical_cores()) < 2:
        raise SystemExit("two cores are needed")
    if args.updates < EACH:
        raise SystemExit(f"--updates must be at least {EACH}; received {args.updates}")
    print("seconds of an update, float32; efficiency against one core in brackets\n")
    print("| model | global batch | " + " | ".join(WAYS) + " |")
    print("|---|---" + "|---" * len(WAYS) + "|", flush=True)
    of_case = {"batch": args.batch, "scale": args.scale}
    for name in turns.chosen(args.cases):
        found = {way: [] for way in WAYS}
        for _ in range(args.rounds):
            for way in WAYS:
                found[way].append(measure(way, name, args.updates, **of_case))
        seconds = {way: statistics.median(values) for way, values in found.items()}
        one = seconds["one core"]
        cells = [f"{one:.4f}"]
        cells += [f"{s:.4f} ({one / s / 2:.0%})" for w, s in seconds.items() if w != "one core"]
        shape = " x ".join(str(n) for n in cases.get(name, **of_case).shape)
        print(f"| {name} | {shape} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()

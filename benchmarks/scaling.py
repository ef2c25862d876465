"""Seconds of an update on one core, on two, on two logical devices, and across two workers.

    python -m benchmarks.scaling [--cases f_srnn_midi,...] [--updates 30] [--rounds 3] [--batch N]

The same global batch each time, so that efficiency is the seconds on one core over twice those of
the two. "one core" and "two cores" are `fit` on one device, XLA on, with that many cores for its
threads; "2 devices" is `fit` under `MirroredStrategy` on two logical devices of one process;
"2 workers" are two processes of a core each, joined on loopback by `MultiWorkerMirroredStrategy`
and trained by `zoo.train`'s loop. Means over ten updates, of which the first ten are not counted;
medians of these, and of rounds in which the ways take turns.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

from benchmarks import cases, turns

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
    cores = sorted(os.sched_getaffinity(0))
    processes, ports = [], _free_ports(len(sizes))
    for index, count in enumerate(sizes):
        mine, cores = cores[:count], cores[count:]
        order = json.dumps([kind, mine, case, updates, of_case])
        env = dict(os.environ)
        if kind == "multiworker":
            cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
            task = {"type": "worker", "index": index}
            env["TF_CONFIG"] = json.dumps({"cluster": cluster, "task": task})
        command = [sys.executable, "-m", "benchmarks.scaling", "--order", order]
        processes.append(subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True))
    printed = [process.communicate()[0].strip().splitlines() for process in processes]
    if any(process.returncode for process in processes):
        raise SystemExit(f"{way} of {case}: a process ended with an error")
    return max(float(lines[-1]) for lines in printed)


def _free_ports(count: int) -> list[int]:
    held = [socket.socket() for _ in range(count)]
    for one in held:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


def work(
    kind: str | None, cores: Sequence[int], name: str, updates: int, of_case: dict[str, Any]
) -> None:
    """One process: train, and print the median seconds of an update."""
    os.sched_setaffinity(0, cores)  # before TensorFlow counts them
    import contextlib

    import tensorflow as tf

    from srnn_tf import data
    from zoo import workers

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
        from benchmarks import contenders

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


def _clock(ends: list[float]) -> Any:
    import keras

    return keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: ends.append(time.perf_counter())
    )


def main(argv: Sequence[str] | None = None) -> None:
    parser = turns.arguments(__doc__.split("\n")[0], rounds=3)
    parser.add_argument("--cases", default=DEFAULT)
    parser.add_argument("--updates", type=int, default=30, help="that are counted")
    parser.add_argument("--batch", type=int, help="rows of all devices; those of each case")
    parser.add_argument("--order", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    turns.on_cpu()
    if args.order:
        work(*json.loads(args.order))
    if len(os.sched_getaffinity(0)) < 2:
        raise SystemExit("two cores are needed")
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

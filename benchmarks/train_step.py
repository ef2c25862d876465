"""Time of a full training step: ours, stock Keras layers, plain PyTorch; one run, interleaved.

    python -m benchmarks.train_step [--cases f_rnn_midi,...] [--rounds 7] [--json FILE]

Each contender makes the whole update: forward, backward, clipping to norm 0.5, Adam. Times are
medians over rounds in which the contenders, each in a process of its own, take turns of half a
second; a ratio above 1 means that ours is faster. Peak memory is that after two updates, less what
importing costs.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

import numpy as np

_MIDI = {"units": 256, "embedding_size": 256, "dropout": 0.5}
_SPEECH = {"embedding_size": 512}
_KEYS = {"class": "factorized", "event_size": 88, "likelihood": {"class": "bernoulli"}}
_SRNN = {"class": "parallel_srnn", "latent_size": 256}


def _mixture(size, components):
    likelihood = {"class": "gaussian_mixture", "num_components": components}
    return {"class": "factorized", "event_size": size, "likelihood": likelihood}


_RNN_SPEECH = {"class": "rnn", "units": 750, "num_layers": 2, **_SPEECH}
_SRNN_SPEECH = {**_SRNN, "units": 825, "hidden_size": 512, **_SPEECH}
_RNN_MIDI = {"class": "rnn", "num_layers": 1, **_MIDI}
_SRNN_MIDI = {**_SRNN, "hidden_size": 0, **_MIDI}
_KEY = {**_KEYS, "event_size": 1}

# name: structure, emission, batch shape (B, T, D) in the user's frames.
CASES = {
    "f_rnn_speech": (_RNN_SPEECH, _mixture(200, 20), (32, 40, 200)),
    "f_srnn_speech": (_SRNN_SPEECH, _mixture(200, 1), (32, 40, 200)),
    "f_rnn_midi": (_RNN_MIDI, _KEYS, (16, 100, 88)),
    "f_srnn_midi": (_SRNN_MIDI, _KEYS, (16, 100, 88)),
    "rnn_flat_midi_880": ({**_RNN_MIDI, "num_layers": 3}, _KEY, (16, 10, 88)),
    "srnn_flat_midi_880": (_SRNN_MIDI, _KEY, (16, 10, 88)),
    "rnn_flat_midi_8800": ({**_RNN_MIDI, "num_layers": 3}, _KEY, (16, 100, 88)),
    "srnn_flat_midi_8800": (_SRNN_MIDI, _KEY, (16, 100, 88)),
    "rnn_flat_speech": (
        {"class": "rnn", "units": 1100, "num_layers": 2, **_SPEECH},
        _mixture(1, 20),
        (32, 1, 200),
    ),
    "srnn_flat_speech": (_SRNN_SPEECH, _mixture(1, 1), (32, 1, 200)),
}
# Stock Keras at 8,800 steps: ten times the 880 steps, where it already takes 6 GB.
SKIP = {("keras", "rnn_flat_midi_8800"), ("keras", "srnn_flat_midi_8800")}
CONTENDERS = ("ours", "keras", "torch")


def _batch(shape, binary):
    rng = np.random.default_rng(0)
    values = rng.random(shape) < 0.05 if binary else rng.standard_normal(shape)
    frames = values.astype(np.float32)
    return frames, np.concatenate([np.zeros_like(frames[:, :1]), frames[:, :-1]], axis=1)


def make(contender: str, case: str):
    """A function that makes one update, and the number of parameters."""
    structure, emission, shape = CASES[case]
    binary = emission["likelihood"]["class"] == "bernoulli"
    frames, previous = _batch(shape, binary)
    size = emission["event_size"]
    if contender != "ours" and size == 1:
        flat = frames.reshape(shape[0], -1, 1)
        frames, previous = flat, np.concatenate([0 * flat[:, :1], flat[:, :-1]], axis=1)
    if contender == "torch":
        from benchmarks import torch_models

        return torch_models.training_step(structure, emission, frames, previous)
    import keras
    import tensorflow as tf

    if contender == "ours":
        from srnn_tf import SequenceModel

        model = SequenceModel(structure, emission, event_size=shape[-1])
        model.compile(keras.optimizers.Adam(1e-4))
    else:
        from benchmarks.keras_models import StockModel

        model = StockModel(structure, emission)
        model.compile(keras.optimizers.Adam(1e-4), jit_compile=True)
        model((frames[:1], previous[:1]))
    batch = {"frames": tf.constant(frames), "previous": tf.constant(previous)}
    compiled = tf.function(model.train_step, jit_compile=True)
    model.optimizer.build(model.trainable_variables)
    return lambda: float(compiled(batch)["loss"]), model.count_params()


def _work(contender: str, case: str) -> None:
    """A worker: first its peak MB, then for each line of input one turn, answered in seconds.

    A turn is half a second of updates in a row, at least one, as in a training.
    """
    if contender == "torch":
        from benchmarks import torch_models  # noqa: F401
    else:
        import srnn_tf  # noqa: F401
    before = _memory("VmRSS")
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the peak starts anew, from what the imports left resident
    step, _ = make(contender, case)
    for _ in range(2):  # compile, warm up
        step()
    print(_memory("VmHWM") - before, flush=True)
    start = time.perf_counter()
    step()
    count = max(1, int(0.5 / (time.perf_counter() - start)))
    for _ in sys.stdin:
        start = time.perf_counter()
        for _ in range(count):
            step()
        print((time.perf_counter() - start) / count, flush=True)


def _memory(field: str) -> float:
    """A line of the process's own status, MB (Linux)."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith(field))


class Worker:
    """A contender in a process of its own, so that thread pools do not disturb one another."""

    def __init__(self, contender: str, case: str):
        command = [sys.executable, "-m", "benchmarks.train_step", "--worker", contender, case]
        pipe = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.process = subprocess.Popen(command, text=True, stderr=subprocess.DEVNULL, **pipe)
        self.peak_mb = float(self.process.stdout.readline())

    def turn(self) -> float:
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def measure(case: str, rounds: int) -> tuple[dict[str, float], dict[str, float]]:
    """Median seconds per update and peak MB of each contender, taking turns."""
    workers = {c: Worker(c, case) for c in CONTENDERS if (c, case) not in SKIP}
    times = {c: [] for c in workers}
    for _ in range(rounds):
        for contender, worker in workers.items():
            times[contender].append(worker.turn())
    for worker in workers.values():
        worker.close()
    median = {c: statistics.median(t) for c, t in times.items()}
    return median, {c: w.peak_mb for c, w in workers.items()}


def best_matmul_rate(size: int = 1280) -> float:
    """GFLOP/s of a float32 matrix product here, the ceiling of every step above."""
    import tensorflow as tf

    a, b = tf.random.normal([size, 660]), tf.random.normal([660, 2640])
    product = tf.function(lambda: tf.matmul(a, b)[0, 0])
    times = []
    for _ in range(20):
        start = time.perf_counter()
        float(product())
        times.append(time.perf_counter() - start)
    return 2 * size * 660 * 2640 / min(times) * 1e-9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", help="also write the numbers to this file")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if args.worker:
        return _work(*args.worker)
    print(
        f"{os.cpu_count()} CPU cores; best float32 matrix product {best_matmul_rate():.0f} GFLOP/s"
    )
    print(
        "\n| model | ours, s | Keras, s | PyTorch, s | vs Keras | vs PyTorch | peak MB: ours | "
        "Keras | PyTorch |\n|---|---|---|---|---|---|---|---|---|",
        flush=True,
    )
    rows = {}
    for case in args.cases.split(","):
        times, memory = measure(case, args.rounds)
        cell = lambda d, c, f: format(d[c], f) if c in d else "-"  # noqa: B023, E731
        ratio = {c: times[c] / times["ours"] for c in times}
        seconds = " | ".join(cell(times, c, ".4f") for c in CONTENDERS)
        ratios = " | ".join(cell(ratio, c, ".2f") for c in CONTENDERS[1:])
        megabytes = " | ".join(cell(memory, c, ".0f") for c in CONTENDERS)
        print(f"| {case} | {seconds} | {ratios} | {megabytes} |", flush=True)
        rows[case] = {"seconds": times, "peak_mb": memory}
    if args.json:
        with open(args.json, "w") as file:
            json.dump(rows, file, indent=2)


if __name__ == "__main__":
    main()

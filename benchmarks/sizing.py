"""What a published model needs behind a server: time to load, memory, latency, throughput.

    python -m benchmarks.sizing [--models f_rnn_nottingham,...]

Each model in turn, over gRPC on loopback, in a process of the substitute for TensorFlow Serving,
one request at a time: one sequence, the median of `REQUESTS` after the first, and a batch. Piano
rolls have 100 steps, lines of writing 500, recordings a second, 80 frames. Memory is what is
resident of the server before it loads the model, which is Python, TensorFlow and Keras, after that,
and at most."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from benchmarks import substitute
from srnn_tf import serving, zoo

DEFAULT = (
    "f_rnn_nottingham,f_srnn_nottingham,rnn_hier_mlp_nottingham,rnn_hier_nottingham,"
    "f_rnn_unipen,rnn_hier_speech_commands,srnn_hier_speech_commands"
)
REQUESTS, ROWS = 9, 32
STEPS = {88: 100, 3: 500, 200: 80}  # by the width: a roll, a line of writing, a second of speech
COLUMNS = (
    *("model", "one sequence", "MB on disk", "loaded in, s", "latency of one, ms"),
    *(f"frames/s, {ROWS} rows", "MB before", "MB loaded", "MB at most"),
)


def made_up(size: int) -> np.ndarray:
    """A batch of frames of a width, (ROWS, T, size)."""
    rng, shape = np.random.default_rng(0), [ROWS, STEPS[size], size]
    if size == 88:
        return (rng.random(shape) < 0.05).astype(np.float32)
    frames = rng.standard_normal(shape).astype(np.float32)
    if size == 3:
        frames[..., 0] = frames[..., 0] > 1.0  # the pen
    return frames


def median_of(count: int, work: Callable[[], object]) -> float:
    """Seconds of the work, done once more beforehand: it traces and allocates."""
    times = []
    for _ in range(count + 1):
        begun = time.perf_counter()
        work()
        times.append(time.perf_counter() - begun)
    return statistics.median(times[1:])


def measure(name: str) -> list[str]:
    """The cells of a row."""
    frames, folder = made_up(zoo.card(name)["event_size"]), Path(zoo.folder(name))
    disk = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) * 1e-6
    with substitute.Process(folder) as server:
        loaded = server.memory()
        with serving.Client(server.address, name, timeout=600.0) as client:
            one = median_of(REQUESTS, lambda: client.score(frames[:1]))
            many = median_of(3, lambda: client.score(frames))
        most = server.memory("VmHWM")
    shape = " x ".join(map(str, frames[:1].shape))
    rate = frames.shape[0] * frames.shape[1] / many
    cells = [name, shape, f"{disk:.1f}", f"{server.seconds:.1f}", f"{one * 1000:.0f}"]
    return [*cells, f"{rate:,.0f}", f"{server.before:.0f}", f"{loaded:.0f}", f"{most:.0f}"]


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", default=DEFAULT)
    args = parser.parse_args(argv)
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}", flush=True)
    for name in args.models.split(","):
        print(f"| {' | '.join(measure(name))} |", flush=True)


if __name__ == "__main__":
    main()

"""Load on the client and on a SavedModel behind a substitute for TensorFlow Serving, on loopback.

    python -m benchmarks.serving [--model NAME] [--clients 50] [--requests 100] [--memory 10000]

Prints latencies (p50, p99) and throughput with and without server-side batching, checks every
answer against the model, and the memory of the server's process before and after many requests.
The substitute is Python: TensorFlow Serving itself is faster, and was not at hand.
"""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from benchmarks import substitute
from srnn_tf import serving, zoo

LENGTHS = (10, 20, 40, 80)


def rolls(width: int, count: int) -> list[np.ndarray]:
    """Sequences of mixed lengths, each unlike the others."""
    rng = np.random.default_rng(0)
    lengths = rng.choice(LENGTHS, count)
    return [(rng.random([n, width]) < 0.05).astype(np.float32) for n in lengths]


class Load:
    """Clients that ask at once, each its own sequences, and check what comes back."""

    def __init__(self, address: str, model: str, sequences: list, expected: np.ndarray):
        self.address, self.model = address, model
        self.sequences, self.expected = sequences, expected
        self.seconds: list[float] = []
        self.wrong = 0
        self._lock = threading.Lock()

    def client(self, index: int, requests: int, together: threading.Barrier) -> None:
        with serving.Client(self.address, self.model, timeout=300.0) as client:
            assert client.event_size  # the connection is made before the clock runs
            together.wait()
            for i in range(requests):
                which = (index * requests + i) % len(self.sequences)
                begun = time.perf_counter()
                found = client.score(self.sequences[which]).log_likelihood[0]
                taken = time.perf_counter() - begun
                good = np.isclose(found, self.expected[which], rtol=1e-4)
                with self._lock:
                    self.seconds.append(taken)
                    self.wrong += not good

    def run(self, clients: int, requests: int) -> float:
        """Seconds for all."""
        together = threading.Barrier(clients + 1)
        threads = [
            threading.Thread(target=self.client, args=(i, requests, together))
            for i in range(clients)
        ]
        for thread in threads:
            thread.start()
        together.wait()
        begun = time.perf_counter()
        for thread in threads:
            thread.join()
        return time.perf_counter() - begun


def material(model: str) -> tuple[list[np.ndarray], np.ndarray]:
    """Sequences of mixed lengths, and their log likelihoods in this process."""
    local = serving.Local(model)
    sequences = rolls(local.event_size, 200)
    return sequences, local.score(sequences).log_likelihood


class Found(NamedTuple):
    """What a load came to."""

    p50: float  # ms
    p99: float  # ms
    rate: float  # requests per second
    wrong: int
    lost: int


def under_load(
    model: str, batching: bool, clients: int, requests: int, sequences: list, expected: np.ndarray
) -> Found:
    """`clients` at once, `requests` each, against a server of its own."""
    with substitute.Process(zoo.folder(model), batching) as server:
        load = Load(server.address, model, sequences, expected)
        load.run(4, 10)  # warm
        load.seconds.clear()
        taken = load.run(clients, requests)
    asked = clients * requests
    p50, p99 = np.quantile(load.seconds, [0.5, 0.99]) * 1000
    return Found(p50, p99, asked / taken, load.wrong, asked - len(load.seconds))


def memory_of(
    model: str, requests: int, sequences: list, expected: np.ndarray
) -> list[tuple[int, float]]:
    """Requests answered so far and MB of the server then: after a tenth of them, and at the end."""
    found = []
    with substitute.Process(zoo.folder(model)) as server:
        load = Load(server.address, model, sequences, expected)
        for more in (requests // 10, requests - requests // 10):
            load.run(4, more // 4)
            found.append((len(load.seconds), server.memory()))
    return found


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="f_rnn_bach")
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--requests", type=int, default=100, help="of each client")
    parser.add_argument("--memory", type=int, default=10_000, help="requests; 0 for none")
    args = parser.parse_args(argv)
    held = material(args.model)
    print(f"{args.model}, rolls of {LENGTHS} steps, {args.clients} clients x {args.requests}")
    print("| server-side batching | p50, ms | p99, ms | requests per second | wrong | lost |")
    print("|---|---|---|---|---|---|")
    for batching in (False, True):
        found = under_load(args.model, batching, args.clients, args.requests, *held)
        print(
            f"| {'yes' if batching else 'no'} | {found.p50:.1f} | {found.p99:.1f} "
            f"| {found.rate:.0f} | {found.wrong} | {found.lost} |",
            flush=True,
        )
    for count, megabytes in memory_of(args.model, args.memory, *held) if args.memory else ():
        print(f"after {count:,} requests: {megabytes:.0f} MB")


if __name__ == "__main__":
    main()

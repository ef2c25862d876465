"""Time of a training step of the structures that go step by step, and of the alternative.

    python -m benchmarks.unroll [--cases vrnn,srnn,zforcing] [--rounds 5]

Two questions, at the sizes of the piano-roll models, batch 16, both under XLA: what 400 steps cost
beside 100, and what the same model costs when its loops over time are `tf.while_loop`s that
TensorFlow differentiates by itself. Each time is the median over updates that take turns in one
process: forward, backward, clipping, Adam.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import numpy as np

_SIZES = {"units": 256, "embedding_size": 256, "latent_size": 256, "hidden_size": 0, "dropout": 0.5}
CASES = {name: {"class": name, **_SIZES} for name in ("vrnn", "srnn", "zforcing")}
LENGTHS = (100, 400)


def automatic_unroll(cell, inputs, states, *, weights, lengths=None, time_major=True):
    """What `scan.unroll` computes, as a `tf.while_loop` left to automatic differentiation."""
    import tensorflow as tf

    from srnn_tf.core.scan.dense import Dense

    steps = tf.nest.flatten(inputs)[0].shape[0]

    def at(t):
        return tf.nest.map_structure(lambda x: x[t], inputs)

    first, _ = cell(at(0), states, Dense(weights))
    arrays = [
        tf.TensorArray(v.dtype, size=steps, element_shape=v.shape) for v in tf.nest.flatten(first)
    ]

    def body(t, states, arrays):
        outputs, states = cell(at(t), states, Dense(weights))
        written = zip(arrays, tf.nest.flatten(outputs), strict=True)
        return t + 1, states, [a.write(t, v) for a, v in written]

    _, states, arrays = tf.while_loop(
        lambda t, *_: t < steps, body, (0, states, arrays), maximum_iterations=steps
    )
    return tf.nest.pack_sequence_as(first, [a.stack() for a in arrays]), states


def automatic_lstm(inputs, recurrent_kernel, state=None, *, lengths=None, reverse=False, **_):
    """What `scan.lstm` computes, by `automatic_unroll`."""
    import tensorflow as tf

    from srnn_tf.core import scan

    inputs = tf.reverse(inputs, [0]) if reverse else inputs
    rows, units = inputs.shape[1], recurrent_kernel.shape[0]
    state = (tf.zeros([rows, units]),) * 2 if state is None else tuple(state)

    def step(x, state, dense):
        h, c = scan.lstm_step(x + dense(state[0], "h"), state[1])
        return h, (h, c)

    weights = {"h": (recurrent_kernel, None)}
    outputs, state = automatic_unroll(step, inputs, state, weights=weights)
    return (tf.reverse(outputs, [0]) if reverse else outputs), state


@contextlib.contextmanager
def automatic_gradients() -> Iterator[None]:
    """The package with its loops over time left to automatic differentiation."""
    from srnn_tf.core import scan

    loops = {"unroll": automatic_unroll, "lstm": automatic_lstm}
    with mock.patch.multiple(scan, **loops):
        yield


def training_step(case: str, steps: int) -> Callable[[], Any]:
    """A function that makes one update; compiled at its first call."""
    import keras
    import tensorflow as tf

    from srnn_tf import SequenceModel

    model = SequenceModel(
        CASES[case], {"class": "factorized", "event_size": 88, "likelihood": "bernoulli"}
    )
    model.compile(keras.optimizers.Adam(1e-4))
    model.optimizer.build(model.trainable_variables)
    frames = (np.random.default_rng(0).random([16, steps, 88]) < 0.05).astype(np.float32)
    batch = {"frames": tf.constant(frames)}
    compiled = tf.function(model.train_step, jit_compile=True)
    return lambda: float(compiled(batch)["loss"])


def measure(case: str, rounds: int) -> dict[str, float]:
    """Median seconds of an update: at each length, and at the longer one by autodiff."""
    contenders = {f"T={steps}": training_step(case, steps) for steps in LENGTHS}
    for step in contenders.values():
        step()
    with automatic_gradients():
        contenders["autodiff"] = training_step(case, LENGTHS[-1])
        contenders["autodiff"]()
    times = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, step in contenders.items():
            step()  # caches are warm, as in training
            start = time.perf_counter()
            step()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(t) for name, t in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    short, long = LENGTHS
    print(f"{os.cpu_count()} CPU cores; seconds per training step, batch 16, float32, XLA\n")
    print(f"| structure | T = {short} | T = {long} | ratio | autodiff, T = {long} | vs ours |")
    print("|---|---|---|---|---|---|", flush=True)
    for case in args.cases.split(","):
        times = measure(case, args.rounds)
        ours, other = times[f"T={long}"], times["autodiff"]
        ratio = ours / times[f"T={short}"]
        cells = f"{times[f'T={short}']:.3f} | {ours:.3f} | {ratio:.2f}x"
        print(f"| {case} | {cells} | {other:.3f} | {other / ours:.2f}x |", flush=True)


if __name__ == "__main__":
    main()

"""Where the time of a training step goes: its parts alone, beside the machine's limits.

    python -m benchmarks.anatomy [--cases f_rnn_midi,storn_88,rnn_hier_speech] [--rounds 7]
        [--batch N] [--clock processor]

Ours in float32 with XLA on the CPU. For each case: the whole update; the structure alone and the
emission alone, each forth and back; the loops of LSTMs alone, the same way, on inputs that are
already projected; clipping and Adam alone; and the matrix products alone, in the shapes and the
order in which the update has them: those of a loop one after the other, once forward and once for
the gradient of the state, and one product for the gradient of the weights. Parts overlap: the loops
are inside the structure and the emission, and the products inside all but Adam. Times are medians
of rounds in which the parts take turns in one process. Before them stand the limits: the rate of
the best float32 matrix product, and of copying an array that is larger than the caches.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from benchmarks import cases, contenders, flops, train_step, turns
from benchmarks.cases import Case

CASES = ("f_rnn_midi", "storn_88", "rnn_hier_speech")
COPIED = 2**26  # float32 numbers, 256 MB


class Product(NamedTuple):
    """Products (rows, inputs) by (inputs, outputs), so many one after the other."""

    rows: int
    inputs: int
    outputs: int
    times: int = 1

    @property
    def flops(self) -> int:
        """Of one pass."""
        return 2 * self.rows * self.inputs * self.outputs * self.times


class Loop(NamedTuple):
    """The loop of an LSTM: on inputs (steps, rows, 4 units), or on one value for each row."""

    steps: int
    rows: int
    units: int
    scalars: bool = False


def loops(case: Case) -> list[Loop]:
    """The loops of a case.

    Raises:
        ValueError: the structure or the emission is none of those that are taken apart here.
    """
    rows, steps, size = case.shape
    kind, low = case.structure["class"], case.emission["class"]
    if kind not in ("rnn", "storn") or low not in ("factorized", "autoregressive_rnn") or case.flat:
        raise ValueError(
            "`case` must be an RNN or STORN with a factorized or autoregressive_rnn emission of "
            f"whole frames; received {kind} with {low} of {case.emission['event_size']} values"
        )
    layers = case.structure.get("num_layers", 1) * (2 if kind == "storn" else 1)
    found = [Loop(steps, rows, case.structure["units"])] * layers
    if low == "autoregressive_rnn":
        found.append(Loop(size - 1, rows * steps, case.emission["units"], scalars=True))
    return found


def products(case: Case) -> list[Product]:
    """The products of the score, forward; their arithmetic is a third of `flops.training`."""
    rows, steps, size = case.shape
    every, config = rows * steps, case.structure
    units, width = config["units"], config["embedding_size"]
    found = [Product(every, size, width)]
    if config["class"] == "storn":
        hidden, latent = config["hidden_size"], config["latent_size"]
        found.append(Product(every, size, width))
        inputs = (width, width + latent)
        heads = [(units, hidden), (hidden, 2 * latent)] if hidden else [(units, 2 * latent)]
        found += [Product(every, *head) for head in heads]
    else:
        inputs = (width, *[units] * (config["num_layers"] - 1))
    for each in inputs:
        found += [Product(every, each, 4 * units), Product(rows, units, 4 * units, steps)]
    params = flops.params_size(case.emission["likelihood"])
    if case.emission["class"] == "factorized":
        return [*found, Product(every, units, size * params)]
    low = case.emission["units"]
    found += [Product(every, units, 4 * low), Product(every, low, 4 * low, size - 1)]
    # Heads of single values, if they are not shared, are as many products.
    private = case.emission["head"] == "private"
    head = (every, low, params, size) if private else (every * size, low, params)
    return [*found, Product(*head)]


def multiplied(product: Product) -> Callable[[], Any]:
    """A function that makes the three products that one of the score becomes in training."""
    import tensorflow as tf

    rows, inputs, outputs, times = product
    x, kernel = tf.random.normal([rows, inputs]), tf.random.normal([inputs, outputs])
    dy, transposed = tf.random.normal([rows, outputs]), tf.transpose(kernel)
    xs, dys = tf.random.normal([rows * times, inputs]), tf.random.normal([rows * times, outputs])

    def in_turn(x, kernel):
        """Each product reads the one before, as that of a loop does."""
        if times == 1:
            return tf.matmul(x, kernel)

        def body(i, x):  # the largest number needs all of the product
            y = tf.reduce_max(tf.matmul(x, kernel), axis=-1, keepdims=True)
            return i + 1, x * 0.5 + y * 1e-3

        return tf.while_loop(lambda i, x: i < times, body, (0, x), maximum_iterations=times)[1]

    @tf.function(jit_compile=True)
    def products(x, kernel, dy, transposed, xs, dys):
        return in_turn(x, kernel), in_turn(dy, transposed), tf.matmul(xs, dys, transpose_a=True)

    return lambda: products(x, kernel, dy, transposed, xs, dys)[0][0, 0].numpy()


def scanned(loop: Loop) -> Callable[[], Any]:
    """A function that goes through a loop, forth and back."""
    import tensorflow as tf

    from srnn_tf.core import scan

    steps, rows, units, scalars = loop
    kernel = tf.random.normal([units, 4 * units]) * units**-0.5
    if scalars:
        read = (tf.random.normal([steps, rows]), tf.random.normal([4 * units]) * 0.1)
        read += (tf.random.normal([rows, 4 * units]) * 0.1,)
    else:
        read = (tf.random.normal([steps, rows, 4 * units]),)
    run = scan.lstm_rank_one if scalars else scan.lstm

    @tf.function(jit_compile=True, autograph=False)
    def gradient(read, kernel):
        with tf.GradientTape() as tape:
            tape.watch((read[1:] if scalars else read, kernel))
            total = tf.reduce_sum(run(*read, kernel, time_major=True)[0])
        return tape.gradient(total, (read[1:] if scalars else read, kernel))

    return lambda: gradient(read, kernel)[1][0, 0].numpy()


def parts(case: Case) -> dict[str, Callable[[], Any]]:
    """Functions that make the update and parts of it: name, function."""
    import tensorflow as tf

    from srnn_tf.core.random import Key
    from srnn_tf.training.clip import clip

    # Adam alone has a model of its own, whose weights it may change.
    model, other = contenders.ours(case), contenders.ours(case)
    frames, previous = (tf.constant(a) for a in case.batch())
    for each in (model, other):
        each(tf.zeros([1, 2, case.shape[-1]]))
    other.optimizer.build(other.trainable_variables)
    structure, emission = model.structure, model.emission
    noise = tf.random.normal([*case.shape[:2], max(1, structure.latent_size)])
    if not structure.latent_size:
        noise = None

    def trace(previous, frames):
        return structure(previous, targets=frames, noise=noise, key=Key(tf.constant([0, 1])))

    context = tf.random.normal([*case.shape[:2], structure.context_size])
    weights = [tf.random.normal(v.shape) * 1e-3 for v in other.trainable_variables]

    @tf.function(jit_compile=True, autograph=False)
    def structure_alone(previous, frames):
        with tf.GradientTape() as tape:
            found = trace(previous, frames)
            total = tf.reduce_sum(found.context)
            if structure.latent_size:
                total += tf.reduce_sum(found.kl)
        return tape.gradient(total, structure.trainable_variables)

    @tf.function(jit_compile=True, autograph=False)
    def emission_alone(context, frames):
        with tf.GradientTape() as tape:
            tape.watch(context)
            total = tf.reduce_sum(emission(context, key=Key(tf.constant([0, 2]))).log_prob(frames))
        return tape.gradient(total, [context, *emission.trainable_variables])

    @tf.function(jit_compile=True, autograph=False)
    def adam_alone(gradients):
        other.optimizer.apply(clip(gradients, 0.5), other.trainable_variables)
        return gradients[0]

    def awaited(function, *arguments):
        return lambda: tf.nest.flatten(function(*arguments))[0].numpy()

    return {
        "update": contenders.training("ours", case),
        "structure": awaited(structure_alone, previous, frames),
        "emission": awaited(emission_alone, context, frames),
        "clipping and Adam": awaited(adam_alone, weights),
    }


def measure(functions: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Median seconds of each function; all take turns."""
    now = turns.CLOCKS[turns.Worker.clock]
    for function in functions.values():
        function()
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            function()  # caches are warm, as in training
            start = now()
            function()
            times[name].append(now() - start)
    return {name: statistics.median(each) for name, each in times.items()}


def bandwidth(size: int = COPIED) -> float:
    """GB/s read and written while an array of `size` float32 numbers is copied."""
    array, now, times = np.ones(size, np.float32), turns.CLOCKS[turns.Worker.clock], []
    copy = np.empty_like(array)
    for _ in range(5):
        start = now()
        np.copyto(copy, array)
        times.append(now() - start)
    return 2 * array.nbytes / min(times[1:]) * 1e-9


def table(case: Case, rounds: int, rate: float) -> list[str]:
    """The lines of a case's table; `rate` is that of the best product, GFLOP/s."""
    each = dict.fromkeys(products(case))
    for product in products(case):
        each[product] = (each[product] or 0) + 1
    functions: dict[str, Callable[[], Any]] = parts(case)
    functions |= {str(loop): scanned(loop) for loop in dict.fromkeys(loops(case))}
    functions |= {str(product): multiplied(product) for product in each}
    seconds = measure(functions, rounds)
    whole, lines = seconds["update"], []

    def add(name, taken, work):
        rated = f"{work / taken * 1e-9:.0f} | {work / taken * 1e-9 / rate:.0%}" if work else "- | -"
        lines.append(f"| {name} | {taken * 1e3:.2f} | {taken / whole:.0%} | {rated} |")

    add("update", whole, flops.training(case))
    for name in ("structure", "emission", "clipping and Adam"):
        add(name, seconds[name], 0)
    in_loops = sum(seconds[str(loop)] for loop in loops(case))
    recurrent = sum(
        3 * p.flops for p in products(case) if p.times > 1 and 4 * p.inputs == p.outputs
    )
    add("loops of LSTMs", in_loops, recurrent)
    total = sum(seconds[str(p)] * count for p, count in each.items())
    add("matrix products", total, flops.training(case))
    for product, count in each.items():
        rows, inputs, outputs, times = product
        shape = f"{rows} x {inputs} by {inputs} x {outputs}"
        name = f"- {count * times} of {shape}, and gradients"
        add(name, seconds[str(product)] * count, 3 * product.flops * count)
    return lines


def main() -> None:
    parser = turns.arguments(__doc__.split("\n")[0], rounds=7)
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--batch", type=int, help="rows, in place of those of each case")
    args = parser.parse_args()
    turns.on_cpu()
    turns.Worker.clock = args.clock
    names, rate = turns.chosen(args.cases), train_step.best_matmul_rate()
    print(
        f"{turns.machine()}; best float32 matrix product {rate:.0f} GFLOP/s, copying "
        f"{bandwidth(COPIED // args.scale):.1f} GB/s"
    )
    for name in names:
        case = cases.get(name, batch=args.batch, scale=args.scale)
        shape = " x ".join(str(n) for n in case.shape)
        weights = sum(math.prod(v.shape) for v in _built(case).trainable_variables)
        print(f"\n{name}, {shape}, {weights:,} weights\n")
        print(
            "| part | ms | of the update | GFLOP/s | of the best product |\n|---|---|---|---|---|"
        )
        print("\n".join(table(case, args.rounds, rate)), flush=True)


def _built(case: Case):
    import tensorflow as tf

    model = contenders.ours(case)
    model(tf.zeros([1, 2, case.shape[-1]]))
    return model


if __name__ == "__main__":
    main()

"""Distributions of frames whose values depend on one another: scored whole, drawn in order."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import keras
import tensorflow as tf
import tensorflow_probability as tfp

from srnn_tf.core import checks, random, scan
from srnn_tf.core.types import State, Temperature
from srnn_tf.likelihoods import Likelihood, ValueLikelihood

tfd = tfp.distributions
# The values of a block that is scored at once, and the fewest and most rows of one: a block fits
# the processor's caches, and memory does not grow with the batch.
SCORED_VALUES, FEWEST_ROWS, MOST_ROWS = 2**14, 256, 2048


class Chain(tfd.Distribution):
    """The autoregressive distribution of the values of a frame.

        p(x | h) = prod{ p(x_i | x_<i, h) : i = 1, ..., D }

    It has `log_prob`, `sample` and `greedy`; it can be sliced and copied. Neither its mean nor its
    mode is known. Gradients reach the context and the weights that the two functions read.

    Args:
        context: (B, T, H).
        event_size: D.
        score: a function from contexts (N, H) and frames (N, D) to log p(x | h), (N,).
        draw: a function from contexts (N, H) and a seed, or None for the greedy choice, to frames
            (N, D).
    """

    def __init__(self, context: tf.Tensor, event_size: int, score: Callable, draw: Callable):
        parameters = dict(context=context, event_size=event_size, score=score, draw=draw)
        self.context, self.event_size, self.score, self.draw = context, event_size, score, draw
        super().__init__(
            dtype=tf.float32,
            reparameterization_type=tfd.NOT_REPARAMETERIZED,
            validate_args=False,
            allow_nan_stats=True,
            parameters=parameters,
            name="Chain",
        )

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        properties = tfp.util.ParameterProperties
        return {"context": properties(event_ndims=1)}

    def greedy(self) -> tf.Tensor:
        """The more probable bit, or the mean of the largest component, of each value in order."""
        return tf.reshape(self.draw(_rows(self.context), None), self._frames())

    def _log_prob(self, x):
        checks.width("value", x.shape, self.event_size)
        context, leading = self.context, dims(x)[:-1]
        if x.shape[:-1] != context.shape[:-1]:
            leading = tf.broadcast_dynamic_shape(tf.shape(x)[:-1], tf.shape(context)[:-1])
            x, context = (
                tf.broadcast_to(a, tf.concat([leading, [a.shape[-1]]], axis=0))
                for a in (x, context)
            )
        return tf.reshape(self.score(_rows(context), _rows(x)), leading)

    def _sample_n(self, n, seed=None):
        n = n if tf.get_static_value(n) is None else int(tf.get_static_value(n))
        rows = tf.tile(_rows(self.context), [n, 1])
        return tf.reshape(self.draw(rows, random.as_seed(seed)), [n, *self._frames()])

    def _frames(self):
        return [*dims(self.context)[:-1], self.event_size]

    def _batch_shape(self):
        return self.context.shape[:-1]

    def _batch_shape_tensor(self):
        return tf.shape(self.context)[:-1]

    def _event_shape(self):
        return tf.TensorShape([self.event_size])

    def _event_shape_tensor(self):
        return tf.constant([self.event_size])


def dims(x: tf.Tensor) -> list:
    """The sizes of all axes of a tensor: integers where they are static."""
    dynamic = tf.unstack(tf.shape(x))
    return [d if n is None else n for n, d in zip(x.shape, dynamic, strict=True)]


def _rows(x):
    return tf.reshape(x, [-1, x.shape[-1]])


class Run(NamedTuple):
    """Consecutive values of a frame that have the same likelihood."""

    likelihood: ValueLikelihood
    start: int
    stop: int

    @property
    def size(self) -> int:
        return self.stop - self.start


def runs_of(likelihood: Likelihood, event_size: int) -> list[Run]:
    """The runs of a frame: consecutive values that have the same likelihood.

    Example:
        >>> from srnn_tf.likelihoods import Handwriting
        >>> [run.size for run in runs_of(Handwriting(5), 3)]
        [1, 2]
    """
    runs: list[Run] = []
    for i, value in enumerate(likelihood.values(event_size)):
        if runs and runs[-1].likelihood is value:
            runs[-1] = runs[-1]._replace(stop=i + 1)
        else:
            runs.append(Run(value, i, i + 1))
    return runs


def draw_in_turn(
    runs: list[Run],
    state: State,
    params: Callable,
    read: Callable,
    seed: tf.Tensor | None,
    temperature: Temperature,
) -> tf.Tensor:
    """Draw the values of frames in order, (N, D); a state carries the previous values.

    Args:
        runs: the runs of the frame.
        state: the state before the first value, a nest of (N, ...).
        params: a function from (run index, i, state) to the parameters of value i, (N, P). i is a
            tensor.
        read: a function from (x_i (N,), i, state) to the next state.
        seed: (2,), or None for the greedy choice.
        temperature: the temperature of each draw.
    """
    # All randomness is laid out before the loop.
    seeds = None if seed is None else random.split(seed, runs[-1].stop)
    pieces = []
    for r, run in enumerate(runs):

        def body(i, state, drawn, r=r, run=run):
            value = run.likelihood(params(r, i, state)[:, None], temperature)
            x = value.greedy() if seeds is None else value.sample(seed=seeds[i])
            return i + 1, read(x[:, 0], i, state), drawn.write(i - run.start, x[:, 0])

        rows = tf.nest.flatten(state)[0].shape[0]
        drawn = tf.TensorArray(tf.float32, size=run.size, element_shape=[rows])
        _, state, drawn = tf.while_loop(
            lambda i, *_, run=run: i < run.stop,
            body,
            (run.start, state, drawn),
            maximum_iterations=run.size,
        )
        pieces.append(drawn.stack())
    return tf.transpose(tf.concat(pieces, axis=0))


def chained(
    layer: keras.layers.Layer,
    context: tf.Tensor,
    score: Callable,
    draw: Callable,
    key: random.Key | None,
    recomputed_rows: int | None = None,
) -> Chain:
    """A `Chain` for contexts (B, T, H) that is scored in blocks of rows, which limits memory.

    Args:
        layer: the emission.
        context: (B, T, H).
        score: a function from contexts (N, H), frames (N, D) and a key to log p(x | h), (N,).
        draw: as in `Chain`.
        key: the key for dropout. With a key, in training, all rows are scored at once, which is
            faster.
        recomputed_rows: in training, score in blocks of this many rows instead, and recompute them
            for the gradient.
    """

    def scored(context, x):
        if key is not None and recomputed_rows is None:
            return score(context, x, key)
        rows = recomputed_rows or scored_rows(layer.event_size)
        return in_blocks(layer, score, context, x, rows, key)

    return Chain(context, layer.event_size, scored, draw)


def scored_rows(event_size: int) -> int:
    """The number of rows in a block, for frames of `event_size` values.

    Example:
        >>> [scored_rows(size) for size in (3, 16, 88, 200)]
        [2048, 1024, 256, 256]
    """
    return min(max(SCORED_VALUES // event_size, FEWEST_ROWS), MOST_ROWS)


class _Score:
    """A score of rows as a cell of `scan.unroll`, which recomputes it for the gradient."""

    def __init__(self, layer, score, key):
        self.variables, self.score = layer.variables, score
        self.key = key and key.without_rows()  # a block may end within a row

    def __call__(self, inputs, states, training=False):
        context, x, *seeds = inputs
        return self.score(context, x, self.key and self.key.at(seeds[0])), states


def in_blocks(
    layer: keras.layers.Layer,
    score: Callable,
    context: tf.Tensor,
    x: tf.Tensor,
    size: int,
    key: random.Key | None,
):
    """Evaluate `score(context, x, key)` in blocks of rows: log p(x | h) of all rows, (N,).

    Memory holds one block at a time, also in the backward pass, which recomputes it.

    Args:
        layer: the layer whose variables `score` reads.
        context, x: (N, H) and (N, D).
        size: the most rows in a block.
        key: the key for dropout; None for no dropout.
    """
    rows = dims(x)[0]
    if isinstance(rows, int) and rows <= size:
        return score(context, x, key)
    # Blocks of one size: less than a row of each is padding.
    count = -(-rows // size)
    if not isinstance(rows, int):
        count = tf.maximum(count, 1)
    size = -(-rows // count)

    def blocks(a):
        padded = tf.pad(a, [[0, count * size - rows], [0, 0]])
        return tf.reshape(padded, [count, size, a.shape[-1]])

    seeds = () if key is None else (key.split(count),)
    inputs = (blocks(context), blocks(x), *seeds)
    scores, _ = scan.unroll(_Score(layer, score, key), inputs, (), time_major=True)
    return tf.reshape(scores, [-1])[:rows]

"""Any cell over time, its gradient one step at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from srnn_tf.core.scan.arrays import new_array, num_steps, swap_time
from srnn_tf.core.scan.dense import Dense, Weights, weight_gradients
from srnn_tf.core.types import Nest


def unroll(
    cell: Callable,
    inputs: Nest,
    states: Nest,
    *,
    weights: Weights | None = None,
    lengths: tf.Tensor | None = None,
    time_major: bool = False,
    training: bool = False,
) -> tuple[Any, Any]:
    """Run any cell over time; the backward loop recomputes one step per iteration.

        outputs_t, states_t = cell(inputs_t, states_{t-1})

    The forward loop stores the carried states only. So memory is that of the states and outputs,
    whatever the cell computes inside. (With `weights`, the backward loop also stores the inputs of
    their products.) Gradients reach `inputs`, `states` and the cell's trainable weights; everything
    else that a cell reads must be in `inputs`. There are first derivatives only.

    With `weights` the cell is a function `cell(inputs, states, dense)`, which uses them through
    `dense(x, name)` = x W + b only. One product per weight after the loop then computes the
    gradients, which is several times as fast as a sum over steps.

    Args:
        cell: a built Keras layer, or any callable, `cell(inputs, states, training=...)`, a pure
            function of its arguments and weights that returns (outputs, states).
        inputs: nest of (B, T, ...).
        states: nest of (B, ...); a step must return the same shapes and dtypes.
        weights: a dict from a name to a kernel (F, G) and a bias (G,), or None for no bias.
        lengths: (B,) int32; the states of a row stop changing after its last real step.
        time_major: inputs and outputs are (T, B, ...).
        training: passed to a cell without `weights`.

    Returns:
        outputs, a nest of (B, T, ...), and the states after the last step.

    Raises:
        ValueError: there are no inputs, a layer is not built, or the states of the cell change
            shape or dtype.

    Example:
        >>> def add(x, s, training=False):
        ...     return x + s, x + s
        >>> outputs, total = unroll(add, tf.ones([2, 5]), tf.zeros([2]))
        >>> total.numpy()
        array([5., 5.], dtype=float32)
        >>> def affine(x, s, dense):
        ...     return s, dense(s, "w") + x
        >>> _, last = unroll(affine, tf.ones([2, 5, 3]), tf.zeros([2, 3]), weights={
        ...     "w": (2.0 * tf.eye(3), None)})
        >>> float(last[0, 0])
        31.0
    """
    flat = [tf.convert_to_tensor(x) for x in tf.nest.flatten(inputs)]
    if not flat:
        raise ValueError(f"`inputs` must hold at least one tensor; received {inputs!r}")
    if not getattr(cell, "built", True):
        raise ValueError(f"`cell` must be built before it is unrolled; received {cell!r}")
    flat = flat if time_major else [swap_time(x) for x in flat]
    loop = _Unroll(cell, inputs, states, weights, lengths, training)
    outputs, last = loop.run(flat, [tf.convert_to_tensor(s) for s in tf.nest.flatten(states)])
    outputs = outputs if time_major else [swap_time(o) for o in outputs]
    return tf.nest.pack_sequence_as(loop.output_structure, outputs), tf.nest.pack_sequence_as(
        states, last
    )


def _as_tensors(weights: Weights) -> dict[str, tuple]:
    return {
        name: tuple(None if w is None else tf.convert_to_tensor(w) for w in pair)
        for name, pair in weights.items()
    }


class _Unroll:
    """One call of `unroll`: a pure step over flat lists, and the two loops around it.

    `tensors` are what the step reads besides: the flat `weights`, or the values of the cell's
    variables.
    """

    def __init__(self, cell, inputs, states, weights, lengths, training):
        self.cell, self.lengths, self.training = cell, lengths, training
        self.input_structure, self.state_structure = inputs, states
        # Variables too: what the loop reads must be tensors, whose gradients it gives.
        self.weights: Any = None if weights is None else _as_tensors(weights)
        # Frozen ones too: what a step reads must be an argument of the loop.
        variables = () if weights else getattr(cell, "variables", ())
        self.variables = [v for v in variables if "float" in v.dtype]
        self.output_structure = None  # known after the first trace of the cell
        self.calls = []  # of `dense` in one step, known after the first trace

    def tensors(self):
        if self.weights is None:
            return [v.value for v in self.variables]
        return [w for w in tf.nest.flatten(self.weights) if w is not None]

    def packed(self, tensors):
        """`weights` with these tensors in place of its own."""
        rest = iter(tensors)
        return {
            name: tuple(None if w is None else next(rest) for w in self.weights[name])
            for name in sorted(self.weights)
        }

    def step(self, t, inputs, states, tensors, dense=None):
        """The cell on flat lists, reading `tensors`."""
        x = tf.nest.pack_sequence_as(self.input_structure, inputs)
        s = tf.nest.pack_sequence_as(self.state_structure, states)
        if self.weights is None:
            mapping = list(zip(self.variables, tensors, strict=True))
            with keras.StatelessScope(state_mapping=mapping):
                outputs, new = self.cell(x, s, training=self.training)
        else:
            dense = dense or Dense(self.packed(tensors))
            outputs, new = self.cell(x, s, dense)
            self.calls = dense.calls
        self.output_structure = outputs
        new = tf.nest.flatten(new)
        _check_states(states, new)
        if self.lengths is not None:
            new = [
                tf.where(_column(t < self.lengths, n), n, s)
                for n, s in zip(new, states, strict=True)
            ]
        return tf.nest.flatten(outputs), new

    def run(self, inputs, states):
        if inputs[0].shape[0] == 1:  # no loop: TensorFlow differentiates a single step
            outputs, last = self.step(0, [x[0] for x in inputs], states, self.tensors())
            return [o[None] for o in outputs], last
        num_inputs, num_states = len(inputs), len(states)
        counts = []

        @tf.custom_gradient
        def loop(*flat):
            xs, first = flat[:num_inputs], list(flat[num_inputs : num_inputs + num_states])
            tensors = list(flat[num_inputs + num_states :])
            outputs, last, visited = self.forward(xs, first, tensors)
            counts.append(len(outputs))

            def backward(*gradients):
                d_outputs, d_last = gradients[: len(outputs)], gradients[len(outputs) :]
                return self.backward(xs, visited, tensors, d_outputs, d_last)

            return tuple(outputs) + tuple(last), backward

        results = loop(*inputs, *states, *self.tensors())
        return list(results[: counts[-1]]), list(results[counts[-1] :])

    def forward(self, inputs, states, tensors):
        steps = num_steps(inputs[0])
        # Only the shapes of the outputs are used: XLA and the graph prune this step.
        shapes, _ = self.step(0, [x[0] for x in inputs], states, tensors)

        def body(t, states, outputs, visited):
            visited = [a.write(t, s) for a, s in zip(visited, states, strict=True)]
            values, states = self.step(t, [x[t] for x in inputs], states, tensors)
            return (
                t + 1,
                states,
                [a.write(t, v) for a, v in zip(outputs, values, strict=True)],
                visited,
            )

        arrays = [[new_array(steps, v.dtype, v.shape) for v in group] for group in (shapes, states)]
        _, states, outputs, visited = tf.while_loop(
            lambda t, *_: t < steps, body, (0, states, *arrays), maximum_iterations=steps
        )
        return [a.stack() for a in outputs], states, [a.stack() for a in visited]

    def backward(self, inputs, visited, tensors, d_outputs, d_states):
        """Gradients of the flat inputs, the first states and the tensors."""
        steps = num_steps(inputs[0])
        weights = None if self.weights is None else self.packed(tensors)
        transposed = weights and {n: tf.transpose(kernel) for n, (kernel, _) in weights.items()}
        # In this loop, gradients of variables are added up, those of `dense` taken after it.
        summed = [] if weights is not None else tensors
        calls = list(self.calls)

        def differentiate(t, xs, states, d_states):
            rows = tf.shape((states or xs)[0])[0]
            probes = [tf.zeros([rows, c.y.shape[-1]], c.y.dtype) for c in calls]
            dense = None if weights is None else Dense(weights, transposed, probes)
            sources = [*_real(xs), *_real(states), *summed, *probes]
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(sources)
                outputs, new = self.step(t, xs, states, tensors, dense)
            upstream = [d[t] for d in _real(d_outputs)] + d_states
            targets = _real(outputs) + _real(new)
            gradients = tape.gradient(targets, sources, upstream, tf.UnconnectedGradients.ZERO)
            gradients = [tf.convert_to_tensor(g) for g in gradients]  # that of a gather is sparse
            sizes = [len(_real(xs)), len(_real(states)), len(summed)]
            dx, d_states, d_summed, d_probes = _cut(gradients, sizes)
            return dx, d_states, d_summed, [c.x for c in dense.calls] if dense else [], d_probes

        def body(k, d_states, d_summed, arrays):
            t = steps - 1 - k
            xs, states = [x[t] for x in inputs], [s[t] for s in visited]
            dx, d_states, more, *used = differentiate(t, xs, states, d_states)
            d_summed = [a + g for a, g in zip(d_summed, more, strict=True)]
            written = [
                [a.write(t, g) for a, g in zip(group, values, strict=True)]
                for group, values in zip(arrays, [dx, *used], strict=True)
            ]
            return k + 1, d_states, d_summed, written

        arrays = [
            [new_array(steps, x.dtype, x.shape[1:]) for x in _real(inputs)],
            [new_array(steps, c.x.dtype, c.x.shape) for c in calls],
            [new_array(steps, c.y.dtype, c.y.shape) for c in calls],
        ]
        _, d_states, d_summed, arrays = tf.while_loop(
            lambda k, *_: k < steps,
            body,
            (0, _real(d_states), [tf.zeros_like(w) for w in summed], arrays),
            maximum_iterations=steps,
        )
        dx, used, products = ([a.stack() for a in group] for group in arrays)
        if weights is not None:
            d_summed = weight_gradients(weights, [c.name for c in calls], used, products)
        return (*_spread(inputs, dx), *_spread(visited, d_states), *d_summed)


def _real(tensors):
    return [x for x in tensors if x.dtype.is_floating]


def _cut(values, sizes):
    """Consecutive parts of these sizes, and what is left."""
    parts = []
    for size in sizes:
        parts.append(values[:size])
        values = values[size:]
    return [*parts, values]


def _spread(tensors, gradients):
    """None for the tensors that are not real."""
    rest = iter(gradients)
    return [next(rest) if x.dtype.is_floating else None for x in tensors]


def _check_states(old, new):
    def describe(states):
        return [(tuple(s.shape), s.dtype.name) for s in states]

    if len(old) != len(new) or any(
        o.dtype != n.dtype or not o.shape.is_compatible_with(n.shape)
        for o, n in zip(old, new, strict=True)
    ):
        raise ValueError(
            f"the cell must return states like those it received, {describe(old)}; "
            f"it returned {describe(new)}"
        )


def _column(condition, like):
    return tf.reshape(condition, [-1] + [1] * (like.shape.rank - 1))

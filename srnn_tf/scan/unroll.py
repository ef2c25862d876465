"""Any cell over time, its gradient one step at a time."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from srnn_tf.scan.arrays import new_array, num_steps, swap_time


def unroll(
    cell: Any,
    inputs: Any,
    states: Any,
    *,
    lengths: tf.Tensor | None = None,
    time_major: bool = False,
    training: bool = False,
) -> tuple[Any, Any]:
    """Run any cell over time; its gradient re-runs one step per backward iteration.

        outputs_t, states_t = cell(inputs_t, states_{t-1})

    The forward loop keeps the carried states alone, so memory is that of the states and outputs,
    whatever the cell computes inside. Gradients reach `inputs`, `states` and the cell's trainable
    weights, so whatever else a cell reads must come in through `inputs`. First derivatives only.

    Args:
        cell: a built Keras layer, or any callable, `cell(inputs, states, training=...)`, a pure
            function of its arguments and weights that returns (outputs, states).
        inputs: nest of (B, T, ...).
        states: nest of (B, ...); a step must return the same shapes and dtypes.
        lengths: (B,) int32; the states of a row stop changing after its last real step.
        time_major: inputs and outputs are (T, B, ...).
        training: passed to the cell.

    Returns:
        outputs, a nest of (B, T, ...), and the states after the last step.

    Raises:
        ValueError: no inputs, or a cell whose states change shape or dtype.

    Example:
        >>> def add(x, s, training=False):
        ...     return x + s, x + s
        >>> outputs, total = unroll(add, tf.ones([2, 5]), tf.zeros([2]))
        >>> total.numpy()
        array([5., 5.], dtype=float32)
    """
    flat = [tf.convert_to_tensor(x) for x in tf.nest.flatten(inputs)]
    if not flat:
        raise ValueError(f"`inputs` must hold at least one tensor; received {inputs!r}")
    flat = flat if time_major else [swap_time(x) for x in flat]
    loop = _Unroll(cell, inputs, states, lengths, training)
    outputs, last = loop.run(flat, [tf.convert_to_tensor(s) for s in tf.nest.flatten(states)])
    outputs = outputs if time_major else [swap_time(o) for o in outputs]
    return tf.nest.pack_sequence_as(loop.output_structure, outputs), tf.nest.pack_sequence_as(
        states, last
    )


class _Unroll:
    """One call of `unroll`: a pure step over flat lists, and the two loops around it."""

    def __init__(self, cell, inputs, states, lengths, training):
        self.cell, self.lengths, self.training = cell, lengths, training
        self.input_structure, self.state_structure = inputs, states
        self.variables = list(getattr(cell, "trainable_variables", ()))
        self.output_structure = None  # known after the first trace of the cell

    def step(self, t, inputs, states, weights):
        """The cell on flat lists, its weights replaced by the tensors `weights`."""
        scope = keras.StatelessScope(state_mapping=list(zip(self.variables, weights, strict=True)))
        with scope:
            outputs, new = self.cell(
                tf.nest.pack_sequence_as(self.input_structure, inputs),
                tf.nest.pack_sequence_as(self.state_structure, states),
                training=self.training,
            )
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
        num_inputs, num_states = len(inputs), len(states)
        counts = []

        @tf.custom_gradient
        def loop(*flat):
            xs, first = flat[:num_inputs], list(flat[num_inputs : num_inputs + num_states])
            weights = list(flat[num_inputs + num_states :])
            outputs, last, visited = self.forward(xs, first, weights)
            counts.append(len(outputs))

            def backward(*gradients):
                d_outputs, d_last = gradients[: len(outputs)], gradients[len(outputs) :]
                return self.backward(xs, visited, weights, d_outputs, d_last)

            return tuple(outputs) + tuple(last), backward

        results = loop(*inputs, *states, *[v.value for v in self.variables])
        return list(results[: counts[-1]]), list(results[counts[-1] :])

    def forward(self, inputs, states, weights):
        steps = num_steps(inputs[0])
        # Only the shapes of the outputs are used: XLA and the graph prune this step.
        shapes, _ = self.step(0, [x[0] for x in inputs], states, weights)

        def body(t, states, outputs, visited):
            visited = [a.write(t, s) for a, s in zip(visited, states, strict=True)]
            values, states = self.step(t, [x[t] for x in inputs], states, weights)
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

    def backward(self, inputs, visited, weights, d_outputs, d_states):
        """Gradients of the flat inputs, the first states and the weights."""
        steps = num_steps(inputs[0])

        def real(tensors):
            return [x for x in tensors if x.dtype.is_floating]

        def body(k, d_states, d_weights, d_inputs):
            t = steps - 1 - k
            xs, states = [x[t] for x in inputs], [s[t] for s in visited]
            sources = [*real(xs), *real(states), *weights]
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(sources)
                outputs, new = self.step(t, xs, states, weights)
            upstream = [d[t] for d in real(d_outputs)] + d_states
            gradients = tape.gradient(
                real(outputs) + real(new), sources, upstream, tf.UnconnectedGradients.ZERO
            )
            dx = gradients[: len(real(xs))]
            d_states = gradients[len(dx) : len(dx) + len(d_states)]
            d_weights = [
                a + g for a, g in zip(d_weights, gradients[len(dx) + len(d_states) :], strict=True)
            ]
            return (
                k + 1,
                d_states,
                d_weights,
                [a.write(t, g) for a, g in zip(d_inputs, dx, strict=True)],
            )

        arrays = [new_array(steps, x.dtype, x.shape[1:]) for x in real(inputs)]
        zeros = [tf.zeros_like(w) for w in weights]
        _, d_states, d_weights, arrays = tf.while_loop(
            lambda k, *_: k < steps,
            body,
            (0, real(d_states), zeros, arrays),
            maximum_iterations=steps,
        )
        d_inputs = iter([a.stack() for a in arrays])
        d_first = iter(d_states)

        def spread(tensors, it):
            return [next(it) if x.dtype.is_floating else None for x in tensors]

        return (*spread(inputs, d_inputs), *spread(visited, d_first), *d_weights)


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

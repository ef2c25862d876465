"""A diagonal linear recurrence over complex states, with a hand-written gradient."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from srnn_tf.core.scan.arrays import at, flip, new_array, num_steps, swap_time


def diagonal(
    inputs: tf.Tensor,
    decay: tf.Tensor,
    initial_state: Sequence[tf.Tensor] | None = None,
    *,
    lengths: tf.Tensor | None = None,
    reverse: bool = False,
    time_major: bool = False,
) -> tuple[tf.Tensor, tuple[tf.Tensor, tf.Tensor]]:
    """A linear recurrence whose complex states do not mix.

        s_t = decay * s_{t-1} + inputs_t        (elementwise)

    Complex numbers are their real parts, followed by their imaginary parts.

    Args:
        inputs: (B, T, 2N), float32 or float64.
        decay: (2N,), in the dtype of `inputs`; of absolute values below 1, or the states grow.
        initial_state: real and imaginary parts, each (B, N); zeros by default.
        lengths, reverse, time_major: as in `lstm`.

    Returns:
        s of every step, (B, T, 2N), and its parts after each row's last real step, each (B, N).

    Raises:
        ValueError: shapes do not fit one another.

    Example:
        >>> i = tf.constant([0.0, 1.0])  # a quarter of a turn in each step
        >>> states, _ = diagonal(tf.constant([[[1.0, 0.0], [0.0, 0.0], [0.0, 0.0]]]), i)
        >>> states.numpy().tolist()
        [[[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]]

    Reference: Orvieto et al., arXiv:2303.06349.
    """
    inputs = inputs if time_major else swap_time(inputs)
    decay = tf.convert_to_tensor(decay)
    _check(inputs, decay, initial_state)
    if reverse:
        inputs = flip(inputs, lengths)
    if initial_state is None:
        first = tf.zeros([tf.shape(inputs)[1], decay.shape[0]], inputs.dtype)
    else:
        first = tf.cast(tf.concat(initial_state, axis=-1), inputs.dtype)
    if inputs.shape[0] == 1:  # no loop
        states = (_turned(first, decay) + inputs[0])[None]
    else:
        states = _scan(inputs, decay, first)
    last = states[-1]
    if lengths is not None:  # a row without a real step keeps its initial state
        index = tf.cast(lengths, tf.int32) - 1
        last = tf.where((index < 0)[:, None], first, at(states, tf.maximum(index, 0)))
    if reverse:
        states = flip(states, lengths)
    return states if time_major else swap_time(states), tuple(tf.split(last, 2, axis=-1))


def _turned(states, decay):
    """states * decay, of complex numbers."""
    (x, y), (a, b) = tf.split(states, 2, axis=-1), tf.split(decay, 2)
    return tf.concat([a * x - b * y, a * y + b * x], axis=-1)


@tf.custom_gradient
def _scan(inputs, decay, first):
    states = _loop(inputs, decay, first)

    def backward(upstream):
        # The recurrence is linear: its gradient is the same scan, from the last step to the first.
        conjugate = decay * tf.repeat(tf.constant([1.0, -1.0], decay.dtype), decay.shape[0] // 2)
        d_inputs = _loop(upstream, conjugate, tf.zeros_like(first), reverse=True)
        before = tf.concat([first[None], states[:-1]], axis=0)
        (x, y), (dx, dy) = (tf.split(s, 2, axis=-1) for s in (before, d_inputs))
        d_decay = tf.concat([x * dx + y * dy, x * dy - y * dx], axis=-1)
        return d_inputs, tf.reduce_sum(d_decay, axis=[0, 1]), _turned(d_inputs[0], conjugate)

    return states, backward


def _loop(inputs, decay, state, reverse=False):
    steps = num_steps(inputs)

    def body(k, state, states):
        t = steps - 1 - k if reverse else k
        state = _turned(state, decay) + inputs[t]
        return k + 1, state, states.write(t, state)

    states = new_array(steps, inputs.dtype, state.shape)
    *_, states = tf.while_loop(
        lambda k, *_: k < steps, body, (0, state, states), maximum_iterations=steps
    )
    return states.stack()


def _check(inputs, decay, initial_state):
    width = decay.shape[0] if decay.shape.rank == 1 else 1
    if width % 2:
        raise ValueError(f"`decay` must be (2N,); received shape {decay.shape}")
    if inputs.shape.rank != 3 or inputs.shape[-1] != width:
        raise ValueError(f"`inputs` must end in {width} values; received shape {inputs.shape}")
    for part in initial_state or ():
        if part.shape.rank != 2 or part.shape[-1] != width // 2:
            raise ValueError(
                f"`initial_state` must be two of (B, {width // 2}); received shape {part.shape}"
            )

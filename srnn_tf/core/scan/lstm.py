"""Long short-term memory with a hand-written gradient."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from srnn_tf.core.scan import lstm_loops
from srnn_tf.core.scan.arrays import at, flip, num_steps, swap_time


def lstm(
    inputs: tf.Tensor,
    recurrent_kernel: tf.Tensor,
    initial_state: Sequence[tf.Tensor] | None = None,
    *,
    lengths: tf.Tensor | None = None,
    reverse: bool = False,
    time_major: bool = False,
    return_initial: bool = False,
) -> tuple[tf.Tensor, tuple[tf.Tensor, tf.Tensor]]:
    """Long short-term memory over inputs that are already projected.

        i_t, f_t, g_t, o_t = split(inputs_t + h_{t-1} U)       gates in the order of Keras
        c_t = sigmoid(f_t) c_{t-1} + sigmoid(i_t) tanh(g_t)
        h_t = sigmoid(o_t) tanh(c_t)

    Args:
        inputs: (B, T, 4H), the projected inputs, bias included.
        recurrent_kernel: U, (H, 4H), in the dtype of `inputs`.
        initial_state: h and c, each (B, H); zeros by default.
        lengths: (B,) int32, the number of real steps in each row; all T by default.
        reverse: run from the last real step of each row to the first. Outputs stay in the order
            of the inputs; those of padding are undefined.
        time_major: inputs and outputs are (T, B, ...).
        return_initial: outputs start with the initial h, T + 1 in all; not with `reverse`.

    Returns:
        h of every step, (B, T, H), and (h, c) after each row's last real step, each (B, H). c is
        kept in float32 throughout.

    Raises:
        ValueError: shapes do not fit one another, or `return_initial` is given with `reverse`.

    Example:
        >>> outputs, (h, c) = lstm(tf.zeros([2, 5, 12]), tf.zeros([3, 12]))
        >>> outputs.shape
        TensorShape([2, 5, 3])

    Reference: Hochreiter and Schmidhuber (1997); gates as in Gers et al. (2000).
    """
    inputs = inputs if time_major else swap_time(inputs)
    _check_kernel(recurrent_kernel)
    _check_width("inputs", inputs, recurrent_kernel.shape[1], (3,))
    _check_initial(return_initial, reverse)
    if reverse:
        inputs = flip(inputs, lengths)
    h0, c0 = _initial(initial_state, inputs.dtype, tf.shape(inputs)[1], recurrent_kernel)
    last = _last_index(lengths, inputs)
    if inputs.shape[0] == 1:  # no loop
        h, c = lstm_loops.lstm_step(inputs[0] + tf.matmul(h0, recurrent_kernel), c0)
        c = c if lengths is None else tf.where((last >= 0)[:, None], c, c0)
        return _finish(tf.stack([h0, h]), c, lengths, False, time_major, return_initial)
    hs, c_last = lstm_loops.dense(inputs, recurrent_kernel, h0, c0, last)
    return _finish(hs, c_last, lengths, reverse, time_major, return_initial)


def lstm_rank_one(
    inputs: tf.Tensor,
    kernel: tf.Tensor,
    base: tf.Tensor,
    recurrent_kernel: tf.Tensor,
    initial_state: Sequence[tf.Tensor] | None = None,
    *,
    lengths: tf.Tensor | None = None,
    reverse: bool = False,
    time_major: bool = False,
    return_initial: bool = False,
) -> tuple[tf.Tensor, tuple[tf.Tensor, tf.Tensor]]:
    """`lstm` with the projected input `base + x_t * kernel`, one scalar x_t per step and row.

    The (B, T, 4H) projection is never formed: a step reads B scalars instead of B * 4H numbers.

    Args:
        inputs: x, (B, T).
        kernel: (4H,), the projection of the scalar.
        base: (4H,) or (B, 4H), added at each step: the bias, or a projected context.
        recurrent_kernel, initial_state, lengths, reverse, time_major, return_initial: as in `lstm`;
            time-major inputs are (T, B).

    Returns:
        As `lstm`.

    Raises:
        ValueError: shapes do not fit one another.

    Example:
        >>> outputs, _ = lstm_rank_one(
        ...     tf.ones([2, 5]), tf.ones([12]), tf.zeros([12]), tf.zeros([3, 12]))
        >>> outputs.shape
        TensorShape([2, 5, 3])
    """
    inputs = inputs if time_major else swap_time(inputs)
    if inputs.shape.rank != 2:
        raise ValueError(f"`inputs` must be (B, T) scalars; received shape {inputs.shape}")
    _check_kernel(recurrent_kernel)
    kernel, base = tf.convert_to_tensor(kernel), tf.convert_to_tensor(base)
    _check_width("kernel", kernel, recurrent_kernel.shape[1], (1,))
    _check_width("base", base, recurrent_kernel.shape[1], (1, 2))
    _check_initial(return_initial, reverse)
    if base.shape.rank == 1:
        base = tf.broadcast_to(base, [tf.shape(inputs)[1], base.shape[0]])
    if reverse:
        inputs = flip(inputs, lengths)
    if inputs.shape[0] == 1:  # no loop
        projected = base + tf.transpose(inputs) * kernel
        projected = projected[None] if time_major else projected[:, None]
        return lstm(
            projected,
            recurrent_kernel,
            initial_state,
            lengths=lengths,
            time_major=time_major,
            return_initial=return_initial,
        )
    h0, c0 = _initial(initial_state, inputs.dtype, tf.shape(inputs)[1], recurrent_kernel)
    last = _last_index(lengths, inputs)
    hs, c_last = lstm_loops.rank_one_inputs(inputs, kernel, base, recurrent_kernel, h0, c0, last)
    return _finish(hs, c_last, lengths, reverse, time_major, return_initial)


def _last_index(lengths, inputs):
    if lengths is None:
        return tf.fill([tf.shape(inputs)[1]], num_steps(inputs) - 1)
    return tf.cast(lengths, tf.int32) - 1


def _initial(state, dtype, rows, recurrent_kernel):
    if state is None:
        zeros = tf.zeros([rows, recurrent_kernel.shape[0]])
        return tf.cast(zeros, dtype), zeros
    h, c = (tf.convert_to_tensor(s) for s in state)
    for array in (h, c):
        _check_width("initial_state", array, recurrent_kernel.shape[0], (2,))
    return tf.cast(h, dtype), tf.cast(c, tf.float32)


def _finish(hs, c_last, lengths, reverse, time_major, return_initial):
    # A row without a real step keeps its initial state.
    state = (hs[-1] if lengths is None else at(hs, tf.cast(lengths, tf.int32)), c_last)
    outputs = hs if return_initial else hs[1:]
    if reverse:
        outputs = flip(outputs, lengths)
    return outputs if time_major else swap_time(outputs), state


def _check_kernel(recurrent_kernel):
    units, width = recurrent_kernel.shape
    if width != 4 * units:
        raise ValueError(f"`recurrent_kernel` must be (H, 4H); received {recurrent_kernel.shape}")


def _check_initial(return_initial, reverse):
    if return_initial and reverse:
        raise ValueError("`return_initial` must be False with `reverse`; received True")


def _check_width(name, array, width, ranks):
    if array.shape.rank not in ranks or array.shape[-1] != width:
        raise ValueError(
            f"`{name}` must end in {width} values, as `recurrent_kernel` has it, and have rank "
            f"{' or '.join(map(str, ranks))}; received shape {array.shape}"
        )

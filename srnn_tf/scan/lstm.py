"""Long short-term memory with a hand-written gradient."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from srnn_tf.scan.arrays import array_of, flip, new_array, num_steps, swap_time


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
            of the inputs; past a row's end they are of no use.
        time_major: inputs and outputs are (T, B, ...).
        return_initial: outputs begin with the initial h, T + 1 in all; not with `reverse`.

    Returns:
        h of every step, (B, T, H), and (h, c) after each row's last real step, each (B, H). c is
        kept in float32 throughout.

    Raises:
        ValueError: shapes that do not fit one another, `return_initial` with `reverse`.

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
        h, c = lstm_step(inputs[0] + tf.matmul(h0, recurrent_kernel), c0)
        c = tf.where((last >= 0)[:, None], c, c0)
        return _finish(tf.stack([h0, h]), c, lengths, False, time_major, return_initial)
    hs, c_last = _lstm_dense(inputs, recurrent_kernel, h0, c0, last)
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
    """`lstm` whose projected input is `base + x_t * kernel` with one scalar x_t per step and row.

    The (B, T, 4H) projection is never formed: a step reads B scalars instead of B * 4H numbers.

    Args:
        inputs: x, (B, T).
        kernel: (4H,), the projection of the scalar.
        base: (4H,) or (B, 4H), what every step adds: the bias, or a context projected once.
        recurrent_kernel, initial_state, lengths, reverse, time_major, return_initial: as in `lstm`;
            time-major inputs are (T, B).

    Returns:
        As `lstm`.

    Raises:
        ValueError: shapes that do not fit one another.

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
        where = dict(lengths=lengths, time_major=time_major, return_initial=return_initial)
        projected = projected[None] if time_major else projected[:, None]
        return lstm(projected, recurrent_kernel, initial_state, **where)
    h0, c0 = _initial(initial_state, inputs.dtype, tf.shape(inputs)[1], recurrent_kernel)
    last = _last_index(lengths, inputs)
    hs, c_last = _lstm_rank_one(inputs, kernel, base, recurrent_kernel, h0, c0, last)
    return _finish(hs, c_last, lengths, reverse, time_major, return_initial)


def rank_one(base: tf.Tensor, x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """base (B, 4H) + x (B,) * kernel (4H,), what `lstm_rank_one` projects a scalar to.

    Written as a difference: of three terms added up, as they would be with the recurrent product,
    TensorFlow's graph optimizer makes one sum that fails inside loops.

    Example:
        >>> rank_one(tf.ones([1, 2]), tf.constant([2.0]), tf.constant([3.0, 4.0])).numpy()
        array([[7., 9.]], dtype=float32)
    """
    return base - x[:, None] * -kernel


def lstm_step(z: tf.Tensor, c: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """One step of `lstm` after its products, for cells under `unroll`.

    Args:
        z: (B, 4H), the projected inputs and recurrent product added up.
        c: (B, H) float32, the cell state.

    Returns:
        h in the dtype of `z`, and c, each (B, H).

    Example:
        >>> h, c = lstm_step(tf.zeros([2, 12]), tf.ones([2, 3]))
        >>> float(c[0, 0])
        0.5
    """
    scale, gain, shift = _gate_constants(c.shape[-1], z.dtype)
    gates = tf.cast(tf.tanh(z * scale) * gain + shift, c.dtype)
    i, f, g, o = tf.split(gates, 4, axis=-1)
    c = f * c + i * g
    return tf.cast(o * tf.tanh(c), z.dtype), c


@tf.custom_gradient
def _lstm_dense(inputs, recurrent_kernel, h0, c0, last):
    # The buffer of the projected inputs becomes that of the slopes, and in the backward loop that
    # of the gradient: XLA then writes in place, and only one (T, B, 4H) array is alive.
    buffer = array_of(inputs)
    hs, c_last, saved = _lstm_forward(buffer.read, buffer, recurrent_kernel, h0, c0, last)

    def backward(d_hs, d_c_last):
        dz, dh0, dc0 = _lstm_backward(d_hs, d_c_last, last, saved, recurrent_kernel)
        # One matrix product for all steps gives the gradient of the recurrent kernel.
        return dz, _kernel_gradient(hs, dz), dh0, dc0, None

    return (hs, c_last), backward


@tf.custom_gradient
def _lstm_rank_one(inputs, kernel, base, recurrent_kernel, h0, c0, last):
    buffer = new_array(num_steps(inputs), base.dtype, base.shape)
    hs, c_last, saved = _lstm_forward(
        lambda t: rank_one(base, inputs[t], kernel), buffer, recurrent_kernel, h0, c0, last
    )

    def backward(d_hs, d_c_last):
        dz, dh0, dc0 = _lstm_backward(d_hs, d_c_last, last, saved, recurrent_kernel)
        d_kernel = tf.einsum("tb,tbz->z", inputs, dz)
        d_inputs = tf.einsum("tbz,z->tb", dz, kernel)
        d_base = tf.reduce_sum(dz, axis=0)
        return d_inputs, d_kernel, d_base, _kernel_gradient(hs, dz), dh0, dc0, None

    return (hs, c_last), backward


def _lstm_forward(step_input, buffer, recurrent_kernel, h0, c0, last):
    """h before the first and after every step, c after the last, what the backward loop reads.

    Saved per step: the slopes that turn [dc, dc, dc, dh] into the gradient of the projected inputs
    (T, B, 4H), d c_t / d h_t and d c_t / d c_{t-1} (T, B, H each). All of it is elementwise work
    that the backward loop, bound by its chain of small kernels, then does not do.
    """
    dtype, units = recurrent_kernel.dtype, recurrent_kernel.shape[0]
    steps = buffer.size()
    scale, gain, shift = _gate_constants(units, dtype)

    def body(t, h, c, c_last, slopes, hs, dc_dh, forget):
        z = step_input(t) + tf.matmul(h, recurrent_kernel)
        # One tanh for the four gates, since sigmoid(z) = tanh(z / 2) / 2 + 1 / 2. XLA would
        # evaluate split expressions again in each of their consumers.
        gates = tf.cast(tf.tanh(z * scale) * gain + shift, c.dtype)
        i, f, g, o = tf.split(gates, 4, axis=-1)
        previous, c = c, f * c + i * g
        tanh_c = tf.tanh(c)
        h = tf.cast(o * tanh_c, dtype)
        slope = [g * i * (1 - i), previous * f * (1 - f), i * (1 - g * g), tanh_c * o * (1 - o)]
        slopes = slopes.write(t, tf.cast(tf.concat(slope, axis=-1), dtype))
        dc_dh = dc_dh.write(t, tf.cast(o * (1 - tanh_c * tanh_c), dtype))
        c_last = tf.where((last == t)[:, None], c, c_last)
        return (
            t + 1,
            h,
            c,
            c_last,
            slopes,
            hs.write(t + 1, h),
            dc_dh,
            forget.write(t, tf.cast(f, dtype)),
        )

    hs = new_array(steps + 1, dtype, h0.shape).write(0, h0)
    small = [new_array(steps, dtype, h0.shape) for _ in range(2)]
    _, _, _, c_last, slopes, hs, dc_dh, forget = tf.while_loop(
        lambda t, *_: t < steps, body, (0, h0, c0, c0, buffer, hs, *small), maximum_iterations=steps
    )
    hs = hs.stack()
    known = tf.get_static_value(steps)  # the write before the loop made TensorFlow forget it
    hs.set_shape([None if known is None else known + 1, *hs.shape[1:]])
    return hs, c_last, (slopes.stack(), dc_dh.stack(), forget.stack())


def _lstm_backward(d_hs, d_c_last, last, saved, recurrent_kernel):
    """Gradients with respect to the projected inputs (T, B, 4H), h0 and c0."""
    slopes, dc_dh, forget = saved
    steps, dtype = num_steps(slopes), recurrent_kernel.dtype
    transposed = tf.transpose(recurrent_kernel)

    def single(a):
        return tf.cast(a, tf.float32)

    def body(k, dh, dc, buffer):
        t = steps - 1 - k
        dh = single(dh) + single(d_hs[t + 1])
        dc = dc + dh * single(dc_dh[t]) + tf.where((last == t)[:, None], d_c_last, 0.0)
        dz = tf.concat([dc, dc, dc, dh], axis=-1) * single(buffer.read(t))
        dz = tf.cast(dz, dtype)
        return k + 1, tf.matmul(dz, transposed), dc * single(forget[t]), buffer.write(t, dz)

    dc = tf.zeros_like(d_c_last)
    _, dh0, dc0, dz = tf.while_loop(
        lambda k, *_: k < steps,
        body,
        (0, tf.cast(dc, dtype), dc, array_of(slopes)),
        maximum_iterations=steps,
    )
    # A row without a real step keeps its initial state.
    return dz.stack(), dh0 + d_hs[0], dc0 + tf.where((last < 0)[:, None], d_c_last, 0.0)


def _kernel_gradient(hs, dz):
    def rows(a):
        return tf.reshape(a, [-1, a.shape[-1]])

    return tf.matmul(rows(hs[:-1]), rows(dz), transpose_a=True)


def _gate_constants(units: int, dtype):
    """scale, gain and shift of the shared tanh for the gates i, f, g, o, each (4H,)."""

    def spread(i, f, g, o):
        return tf.constant([i] * units + [f] * units + [g] * units + [o] * units)

    values = spread(0.5, 0.5, 1.0, 0.5), spread(0.5, 0.5, 1.0, 0.5), spread(0.5, 0.5, 0.0, 0.5)
    return [tf.cast(v, dtype) for v in values]


def _last_index(lengths, inputs):
    if lengths is None:
        return tf.fill([tf.shape(inputs)[1]], num_steps(inputs) - 1)
    return tf.cast(lengths, tf.int32) - 1


def _at(array, index):
    """Row b of a time-major array at step index[b]: (B, ...)."""
    return tf.gather_nd(array, tf.stack([index, tf.range(tf.shape(index)[0])], axis=-1))


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
    state = (hs[-1] if lengths is None else _at(hs, tf.cast(lengths, tf.int32)), c_last)
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

"""The loops of `lstm` and their gradients, and one step of it."""

from __future__ import annotations

import tensorflow as tf

from srnn_tf.core.scan.arrays import array_of, new_array, num_steps


def rank_one(base: tf.Tensor, x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """base (B, 4H) + x (B,) * kernel (4H,), the projection in `lstm_rank_one`.

    It is computed as a difference: TensorFlow's graph optimizer would merge it with the recurrent
    product into one sum of three terms, which fails inside loops.

    Example:
        >>> rank_one(tf.ones([1, 2]), tf.constant([2.0]), tf.constant([3.0, 4.0])).numpy()
        array([[7., 9.]], dtype=float32)
    """
    return base - x[:, None] * -kernel


def lstm_step(z: tf.Tensor, c: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """One step of `lstm` after its products, for cells under `unroll`.

    Args:
        z: (B, 4H), the sum of projected inputs and recurrent product.
        c: (B, H) float32, the cell state.

    Returns:
        h in the dtype of `z`, and c, each (B, H).

    Example:
        >>> h, c = lstm_step(tf.zeros([2, 12]), tf.ones([2, 3]))
        >>> float(c[0, 0])
        0.5
    """
    i, f, g, o = _gates(tf.cast(z, c.dtype), _gate_constants(c.shape[-1], c.dtype))
    c = f * c + i * g
    return tf.cast(o * tf.tanh(c), z.dtype), c


def _gates(z, constants):
    """The four gates from their inputs, (B, 4H), in one dtype.

    One tanh for all, since sigmoid(z) = tanh(z / 2) / 2 + 1 / 2: XLA would evaluate split
    expressions again in each of their consumers.
    """
    scale, gain, shift = constants
    return tf.split(tf.tanh(z * scale) * gain + shift, 4, axis=-1)


@tf.custom_gradient
def dense(inputs, recurrent_kernel, h0, c0, last):
    # The buffer of the projected inputs becomes that of the slopes, and in the backward loop that
    # of the gradient: XLA then writes in place, and only one (T, B, 4H) array is alive.
    buffer = array_of(inputs)
    hs, c_last, saved = _forward(buffer.read, buffer, recurrent_kernel, h0, c0, last)

    def backward(d_hs, d_c_last):
        dz, dh0, dc0 = _backward(d_hs, d_c_last, last, saved, recurrent_kernel)
        # One matrix product for all steps gives the gradient of the recurrent kernel.
        return dz, _kernel_gradient(hs, dz), dh0, dc0, None

    return (hs, c_last), backward


@tf.custom_gradient
def rank_one_inputs(inputs, kernel, base, recurrent_kernel, h0, c0, last):
    buffer = new_array(num_steps(inputs), base.dtype, base.shape)
    hs, c_last, saved = _forward(
        lambda t: rank_one(base, inputs[t], kernel), buffer, recurrent_kernel, h0, c0, last
    )

    def backward(d_hs, d_c_last):
        dz, dh0, dc0 = _backward(d_hs, d_c_last, last, saved, recurrent_kernel)
        d_kernel = tf.einsum("tb,tbz->z", inputs, dz)
        d_inputs = tf.einsum("tbz,z->tb", dz, kernel)
        d_base = tf.reduce_sum(dz, axis=0)
        return d_inputs, d_kernel, d_base, _kernel_gradient(hs, dz), dh0, dc0, None

    return (hs, c_last), backward


def _forward(step_input, buffer, recurrent_kernel, h0, c0, last):
    """h before the first and after every step, c after the last, what the backward loop reads.

    Saved per step: the slopes that turn [dc, dc, dc, dh] into the gradient of the projected inputs
    (T, B, 4H), d c_t / d h_t and d c_t / d c_{t-1} (T, B, H each). All of it is elementwise work
    that the backward loop, bound by its chain of small kernels, then does not do.
    """
    dtype, units = recurrent_kernel.dtype, recurrent_kernel.shape[0]
    steps = buffer.size()
    # In float32, for which TensorFlow's elementwise kernels are faster than for bfloat16.
    constants, product = _gate_constants(units, c0.dtype), _recurrent_product(recurrent_kernel, h0)

    def body(t, h, c, c_last, slopes, hs, dc_dh, forget):
        z = tf.cast(step_input(t) + product(h), c.dtype)
        i, f, g, o = _gates(z, constants)
        previous, c = c, f * c + i * g
        tanh_c = tf.tanh(c)
        slope = [g * i * (1 - i), previous * f * (1 - f), i * (1 - g * g), tanh_c * o * (1 - o)]
        low = [o * tanh_c, o * (1 - tanh_c * tanh_c), f, *slope]
        h, by_h, kept, *slope = (tf.cast(a, dtype) for a in low)
        slopes = slopes.write(t, tf.concat(slope, axis=-1))
        hs, dc_dh, forget = hs.write(t + 1, h), dc_dh.write(t, by_h), forget.write(t, kept)
        return t + 1, h, c, tf.where((last == t)[:, None], c, c_last), slopes, hs, dc_dh, forget

    # Steps that are padding in all rows are left out: h is zero there, and gradients are.
    end = tf.reduce_max(last) + 1
    hs = new_array(steps + 1, dtype, h0.shape).write(0, h0)
    small = [new_array(steps, dtype, h0.shape) for _ in range(2)]
    _, _, _, c_last, slopes, hs, dc_dh, forget = tf.while_loop(
        lambda t, *_: t < end, body, (0, h0, c0, c0, buffer, hs, *small), maximum_iterations=steps
    )
    hs = hs.stack()
    known = tf.get_static_value(steps)  # the write before the loop made TensorFlow forget it
    hs.set_shape([None if known is None else known + 1, *hs.shape[1:]])
    return hs, c_last, (slopes.stack(), dc_dh.stack(), forget.stack())


def _recurrent_product(recurrent_kernel, h0):
    """The function from h to h U, as two products of half the columns where those are faster.

    A thread pool has no use for the few rows of one product; two products run at the same time.
    """
    rows, units = h0.shape
    if rows is None or not 4 <= rows <= 16 or units > 256:
        return lambda h: tf.matmul(h, recurrent_kernel)
    halves = tf.split(recurrent_kernel, 2, axis=1)
    return lambda h: tf.concat([tf.matmul(h, half) for half in halves], axis=1)


def _backward(d_hs, d_c_last, last, saved, recurrent_kernel):
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
        low = tf.cast(dc, dtype)
        dz = tf.concat([low, low, low, tf.cast(dh, dtype)], axis=-1) * buffer.read(t)
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

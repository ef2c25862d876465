"""Random numbers: the only source of draws.

Every draw is a pure function of a seed, two int32 numbers. All come from the Philox generator,
since XLA's default generator takes about 40 times as long on a CPU. Noise and dropout are drawn
through a `Key`: a seed for one place and, on several devices, for the rows of one replica.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from numbers import Integral
from typing import NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from srnn_tf.core.types import Array, Shape, Size


def as_seed(seed: int | Array | None) -> tf.Tensor:
    """The seed (2,) of what a caller of a distribution's `sample` gives.

    An integer stands for the same draws each time, None for others each time.

    Raises:
        ValueError: the seed is neither of them nor has shape (2,).
    """
    if seed is None:
        return tfp.random.sanitize_seed(None)
    if isinstance(seed, Integral):  # all 64 bits count
        seed = np.array([int(seed) % 2**64], np.uint64).view(np.int32)
    tensor = tf.convert_to_tensor(seed)
    if tensor.shape.rank == 0:
        tensor = tf.stack([tensor, 0])
    if not tensor.shape.is_compatible_with([2]) or not tensor.dtype.is_integer:
        raise ValueError(f"`seed` must be None, an integer, or two integers; received {seed!r}")
    return tensor


def fold_in(seed: tf.Tensor, data: tf.Tensor | int) -> tf.Tensor:
    """A new seed (2,) from a seed and an integer; the same in eager, graph and XLA."""
    return tf.random.experimental.stateless_fold_in(seed, data, alg="philox")


def split(seed: tf.Tensor, num: Size) -> tf.Tensor:
    """`num` independent seeds, (num, 2)."""
    return tf.random.experimental.stateless_split(seed, num, alg="philox")


def bits(shape: Shape, seed: tf.Tensor) -> tf.Tensor:
    """Random int32 numbers."""
    return tf.random.stateless_uniform(
        shape, seed, minval=None, maxval=None, dtype=tf.int32, alg="philox"
    )


def octets(shape: Shape, seed: tf.Tensor) -> tf.Tensor:
    """Random uint8 numbers, four from each int32."""
    size = tf.reduce_prod(shape)
    words = bits([(size + 3) // 4], seed)
    return tf.reshape(tf.reshape(tf.bitcast(words, tf.uint8), [-1])[:size], shape)


def uniform(shape: Shape, seed: tf.Tensor) -> tf.Tensor:
    """Uniform float32 draws in (0, 1), equal in eager, graph and XLA."""
    words = tf.bitwise.right_shift(tf.bitcast(bits(shape, seed), tf.uint32), 9)
    return (tf.cast(words, tf.float32) + 0.5) * 2.0**-23


def normal(shape: Shape, seed: tf.Tensor) -> tf.Tensor:
    """Standard normal float32 draws, equal in eager, graph and XLA to about 2e-5.

    `tf.random.stateless_normal` differs between them. Draw i depends on the seed and i alone: a
    longer leading axis continues a shorter one.
    """
    return tf.math.ndtri(uniform(shape, seed))


class Rows(NamedTuple):
    """The rows of a global batch that a replica has: `count` of `total`, from `first` on.

    `copies` is the number of whole batches that are concatenated along the axis of the rows.
    """

    first: tf.Tensor
    count: tf.Tensor
    total: tf.Tensor
    copies: int = 1


_NO_ROWS = Rows(None, None, None, 0)  # what is drawn for has no rows of its own


class Key:
    """A seed for the draws of one place in the code.

    A strategy of `tf.distribute` gives each replica some rows of a global batch. With `rows`, a key
    draws for the global batch and returns these rows, so that N replicas draw what one device would
    draw for all rows.

    Args:
        seed: (2,) int32.
        rows: the rows of the replica; None for all.

    Example:
        >>> key = Key([3, 14])
        >>> key.fold("dropout").normal([5, 2], axis=0).shape
        TensorShape([5, 2])
    """

    __slots__ = ("seed", "rows")

    def __init__(self, seed: Array, rows: Rows | None = None):
        self.seed, self.rows = tf.convert_to_tensor(seed, tf.int32), rows

    def fold(self, place: str | int | tf.Tensor) -> Key:
        """A new key for a place, given by name or number."""
        number = zlib.crc32(place.encode()) >> 1 if isinstance(place, str) else place
        return self.at(fold_in(self.seed, number))

    def at(self, seed: tf.Tensor) -> Key:
        """A key with another seed, for the same rows."""
        return Key(seed, self.rows)

    def split(self, num: Size) -> tf.Tensor:
        """The seeds of `num` independent keys, (num, 2); `at` makes a key of each."""
        return split(self.seed, num)

    def repeated(self, copies: int) -> Key:
        """A key for an axis of rows that concatenates `copies` batches."""
        if self.rows is None or self.rows is _NO_ROWS:
            return self
        return Key(self.seed, self.rows._replace(copies=copies))

    def without_rows(self) -> Key:
        """A key for draws without an axis of whole rows; a replica cannot draw with it."""
        return Key(self.seed, None if self.rows is None else _NO_ROWS)

    def normal(self, shape: Shape, axis: int) -> tf.Tensor:
        """Standard normal draws; `axis` is that of the rows, or of rows merged with steps."""
        return self._rows_of(lambda whole: normal(whole, self.seed), shape, axis)

    def uniform(self, shape: Shape, axis: int) -> tf.Tensor:
        """Uniform draws in (0, 1), as `normal`."""
        return self._rows_of(lambda whole: uniform(whole, self.seed), shape, axis)

    def octets(self, shape: Shape, axis: int) -> tf.Tensor:
        """Uniform uint8 draws, as `normal`."""
        return self._rows_of(lambda whole: octets(whole, self.seed), shape, axis)

    def _rows_of(self, drawn: Callable[[Shape], tf.Tensor], shape: Shape, axis: int) -> tf.Tensor:
        """`drawn(shape)`; in a replica, its rows of the draws for the global batch.

        Raises:
            ValueError: in a replica, of a key `without_rows`.
        """
        rows = self.rows
        if rows is None:
            return drawn(shape)
        if rows is _NO_ROWS:
            raise ValueError(
                "dropout under a strategy of several replicas does not go with `recompute`, whose "
                "blocks are not whole rows; set one of the two to its default"
            )
        sizes = tf.unstack(shape) if tf.is_tensor(shape) else list(shape)
        before, after = sizes[:axis], sizes[axis + 1 :]
        inner = sizes[axis] // (rows.copies * rows.count)
        whole = drawn([*before, rows.copies * rows.total * inner, *after])
        whole = tf.reshape(whole, [*before, rows.copies, rows.total, inner, *after])
        start = [0] * (axis + 1) + [rows.first] + [0] * (1 + len(after))
        part = tf.slice(whole, start, [*before, rows.copies, rows.count, inner, *after])
        return tf.reshape(part, shape)


def fold(key: Key | None, place: str | int | tf.Tensor) -> Key | None:
    """`key.fold(place)`; None without a key."""
    return None if key is None else key.fold(place)

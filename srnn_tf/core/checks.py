"""Checks of arguments and of data, outside compiled code. All raise a ValueError.

XLA drops assertions silently. So data are checked as arrays in the eager entry points, and by
`check_batch` in the `tf.data` pipeline of `fit` and `evaluate`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from numbers import Integral, Real
from typing import TYPE_CHECKING, cast

import numpy as np

from srnn_tf.core import lazy
from srnn_tf.core.registry import unknown
from srnn_tf.core.types import Array, Shape, Temperature

if TYPE_CHECKING:
    import tensorflow as tf
else:  # much of what imports this module does not need it
    tf = lazy.module("tensorflow")

# Marks an error of ours inside the InvalidArgumentError that a failing pipeline raises.
MARK = "srnn_tf:"
# The largest magnitude of a value that is accepted. Densities square values: float32 overflows from
# about 1e19 on, or well before that where a scale is small.
LARGEST = 1e9
# The most values of a sample, 2 GiB of float32, and the most rows or particles of streams.
MOST_VALUES, MOST_STREAMS = 2**29, 2**24
# Libraries whose containers NumPy would read without their mask, index, missing values or zeros.
_CONTAINERS = ("pandas", "polars", "pyarrow", "scipy", "sparse")


def sizes(minimum: int = 1, **values: int) -> None:
    """Check that each argument is an integer of at least `minimum`."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, Integral) or value < minimum:
            raise ValueError(
                f"`{name}` must be an integer of at least {minimum}; received {value!r}"
            )


def seeds(values: int | Sequence[int] | np.ndarray, rows: int) -> None:
    """Check that the argument `seed` is an integer of at least 0, or one for each row."""
    if not np.ndim(values):
        return sizes(minimum=0, seed=cast("int", values))
    array = reals(values, "seed")
    if array.shape != (rows,) or array.dtype.kind not in "iu" or array.min() < 0:
        raise ValueError(
            f"`seed` must be an integer of at least 0, or one for each of the {rows} rows; "
            f"received {array.dtype} of shape {array.shape}"
        )


def between(name: str, value: int, first: int, last: int) -> None:
    """Check that the argument `name` is an integer from `first` to `last`."""
    if isinstance(value, bool) or not isinstance(value, Integral) or not first <= value <= last:
        raise ValueError(f"`{name}` must be an integer from {first} to {last}; received {value!r}")


def rate(**values: float) -> None:
    """Check that each argument is a dropout rate, in [0, 1)."""
    for name, value in values.items():
        if not isinstance(value, Real) or not 0.0 <= value < 1.0:
            raise ValueError(f"`{name}` must be in [0, 1); received {value!r}")


def weight(**values: float) -> None:
    """Check that each argument is a finite number of at least 0."""
    for name, value in values.items():
        if not isinstance(value, Real) or not 0.0 <= value < float("inf"):
            raise ValueError(f"`{name}` must be a number of at least 0; received {value!r}")


def positive(**values: float) -> None:
    """Check that each argument is a finite number above 0."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, Real) or not 0.0 < value < float("inf"):
            raise ValueError(f"`{name}` must be a positive number; received {value!r}")


def temperature(value: Temperature) -> None:
    """Check that a temperature is a positive number; tensors are not checked."""
    if not tf.is_tensor(value) and (not isinstance(value, Real) or not 0.0 < value < float("inf")):
        raise ValueError(f"`temperature` must be a positive number; received {value!r}")


def width(name: str, shape: Shape, size: int) -> None:
    """Check that the last axis, if it is static, has this size."""
    if len(shape) == 0 or shape[-1] not in (size, None):
        raise ValueError(f"`{name}` must end in {size} values; received shape {tuple(shape)}")


def choice(name: str, value: object, known: Iterable[str]) -> None:
    """Check that the argument is one of the known names."""
    if value not in known:
        raise unknown(f"`{name}`", value, known)


def bound(name: str, value: object, latent_size: int) -> None:
    """Check that the argument `name` is a bound that a model of this latent size supports."""
    if not latent_size:
        raise ValueError(
            f"`{name}` must be 'elbo' for a model without latents, whose likelihood is exact; "
            f"received {value!r}"
        )


def count(value: int, what: str, most: int = MOST_STREAMS) -> None:
    """Check a size that memory must hold, before it is allocated."""
    if value > most:
        raise ValueError(f"{what} must be at most {most}; received {value}")


def sample_size(batch_size: int, num_steps: int, width: int) -> None:
    """Check that memory can hold a sample: `width` numbers for each step of each row."""
    most = MOST_VALUES // width
    count(batch_size * num_steps, "`batch_size` x `num_steps`, the steps of a sample,", most)


def reals(values: Array, name: str, accepted: str = "a numeric array") -> np.ndarray:
    """Real numbers or booleans as an array of their own dtype, not copied if they are one.

    Raises:
        ValueError: they are anything else that NumPy would make numbers of by dropping something:
            masked, complex, sparse, ragged or symbolic arrays, dates, strings, objects, or tables.
    """
    dense(name, values)
    _check_container(values, name, accepted)
    try:
        array = np.asarray(values)
    except Exception as error:  # any library may raise here, and any type
        raise ValueError(f"`{name}` must be {accepted}: {error}") from error
    if not is_real(array.dtype):
        raise ValueError(f"`{name}` must be {accepted} of real numbers; received {array.dtype}")
    return array


def is_real(dtype: np.dtype | tf.DType) -> bool:
    """Whether a dtype is of real numbers or booleans, bfloat16 and the like included."""
    try:
        dtype = tf.as_dtype(dtype)
    except TypeError:  # TensorFlow has none: long double is the only real one
        return getattr(dtype, "kind", "") == "f"
    return (dtype.is_floating or dtype.is_integer or dtype.is_bool) and not dtype.is_quantized


def _check_container(values, name, accepted):
    if isinstance(values, np.ma.MaskedArray):
        raise ValueError(
            f"`{name}` must be {accepted}; received a masked array, whose mask would be ignored: "
            "give its `.data`, and `mask` for steps that are padding"
        )
    library = type(values).__module__.split(".")[0]
    if _is_sparse(values) or library in _CONTAINERS:
        raise ValueError(
            f"`{name}` must be {accepted}; received a {library} {type(values).__name__}: convert "
            "it to a dense array first"
        )
    if tf.is_tensor(values) and not hasattr(values, "numpy"):
        raise ValueError(f"`{name}` must have values here; received a symbolic tensor, {values}")
    if isinstance(values, (list, tuple)):  # NumPy would drop the masks of members too
        for member in values:
            if not isinstance(member, (int, float)):
                _check_container(member, name, accepted)


def frame_shape(shape: Shape, event_size: int, name: str = "frames", axes: str = "B, T") -> None:
    """Check that the static shape is (B, T, D); `axes` names all axes but the last."""
    rank = shape.rank if isinstance(shape, tf.TensorShape) else len(shape)
    wanted = axes.count(",") + 2
    if rank != wanted:
        raise ValueError(
            f"`{name}` must have rank {wanted}, ({axes}, {event_size}); received shape {shape}"
        )
    if shape[-1] not in (event_size, None):
        raise ValueError(f"`{name}` must have {event_size} values per step; received shape {shape}")


def dense(name: str, value: object) -> None:
    """Check that the argument `name` is not a ragged or a sparse tensor."""
    if isinstance(value, tf.RaggedTensor):
        raise ValueError(
            f"`{name}` must not be ragged: pass `{name}.to_tensor()` as `{name}`, and "
            f"`tf.sequence_mask({name}.row_lengths())` as `mask`; received shape {value.shape}"
        )
    if isinstance(value, tf.SparseTensor):
        raise ValueError(
            f"`{name}` must be dense: pass `tf.sparse.to_dense({name})`; received a SparseTensor"
        )


def frames(
    values: Array,
    event_size: int,
    binary: Sequence[bool],
    name: str = "frames",
    axes: str = "B, T",
) -> np.ndarray:
    """Check frames and return them as float32 (B, T, D).

    Args:
        values: the frames.
        event_size: D.
        binary: which of the D values must be 0 or 1.
        name: the name of the argument, for errors.
        axes: the names of all axes but the last, for errors; their number is checked.

    Raises:
        ValueError: the frames are no real numbers (booleans only where all values are 0 or 1), have
            a wrong rank or width, are empty, NaN, infinite or above 1e9 in magnitude, or are not 0
            or 1 where the likelihood is Bernoulli.
    """
    array = reals(values, name, f"a numeric array ({axes}, {event_size})")
    frame_shape(array.shape, event_size, name, axes)
    if 0 in array.shape:
        raise ValueError(f"`{name}` must not be empty; received shape {array.shape}")
    if array.dtype == bool and not all(binary):
        raise ValueError(f"`{name}` must be real numbers in this model; received booleans")
    if array.dtype.kind not in "biu":
        if array.dtype.kind != "f" or array.dtype.itemsize < 4:  # bfloat16 and the like
            array = array.astype(np.float32)
        bad = ~np.isfinite(array)
        if bad.any():
            raise ValueError(f"`{name}` must be finite; received NaN or infinity at {_where(bad)}")
    large = (array > LARGEST) | (array < -LARGEST)
    if large.any():
        raise ValueError(
            f"`{name}` must be from {-LARGEST:g} to {LARGEST:g}, beyond which float32 overflows; "
            f"received {array[large][0]} at {_where(large)}: standardize the data"
        )
    array = array.astype(np.float32, copy=False)
    if any(binary):
        bad = (array != 0.0) & (array != 1.0) & np.asarray(binary)  # `isin` takes six times as long
        if bad.any():
            raise ValueError(
                f"`{name}` must be 0 or 1 for a Bernoulli likelihood; received {array[bad][0]} "
                f"at {_where(bad)}"
            )
    return array


def frame(values: Array, event_size: int, binary: Sequence[bool]) -> np.ndarray:
    """Check one frame per stream, as `frames` does, and return it as float32 (B, D)."""
    return frames(values, event_size, binary, "frame", axes="B")


def mask(values: Array, shape: tuple[int, int]) -> np.ndarray:
    """Check a mask and return it as bool (B, T): in each row real steps, then padding.

    Raises:
        ValueError: the mask has a wrong shape or values other than 0 and 1, or a row has no real
            step or a hole.
    """
    array = reals(values, "mask", "a boolean array (B, T)")
    if array.shape != tuple(shape):
        raise ValueError(f"`mask` must have shape (B, T) = {shape}; received {array.shape}")
    if not np.isin(array, (0, 1)).all():
        raise ValueError(f"`mask` must be boolean; received dtype {array.dtype} with other values")
    array = array.astype(bool)
    rows = np.flatnonzero(~array[:, 0])
    if rows.size:
        raise ValueError(f"`mask` must have a real first step in each row; row {rows[0]} has none")
    holes = np.flatnonzero((array[:, 1:] & ~array[:, :-1]).any(axis=1))
    if holes.size:
        raise ValueError(
            "`mask` must be true, then false, along each row (sequences are right-padded); "
            f"row {holes[0]} has a hole"
        )
    return array


def observed(values: Array, shape: tuple[int, int]) -> np.ndarray:
    """Check which frames are observed and return it as bool (B, T); any of them may be missing.

    Raises:
        ValueError: the array is not boolean, or has a wrong shape.
    """
    array = reals(values, "observed", "a boolean array (B, T)")
    observed_shape(array, shape)
    return array


def observed_shape(values: np.ndarray | tf.Tensor, shape: Shape) -> None:
    """Check that `observed` is bool and, as far as is known, of shape (B, T)."""
    if values.dtype != bool:
        name = getattr(values.dtype, "name", values.dtype)
        raise ValueError(f"`observed` must be boolean, (B, T); received dtype {name}")
    if not tf.TensorShape(values.shape).is_compatible_with(shape):
        raise ValueError(
            f"`observed` must have shape (B, T) = {tuple(shape)}; received {tuple(values.shape)}"
        )


def traced_frames(
    values: Array, event_size: int, binary: Sequence[bool], name: str = "frames"
) -> tf.Tensor:
    """`frames` inside a `tf.function`, which knows no values: its checks run there.

    XLA drops those of values.
    """
    x, conditions = _checked_frames(tf.convert_to_tensor(values), event_size, binary, name, False)
    return _asserted({name: x}, conditions)[name]


def traced_mask(values: Array, frames: tf.Tensor) -> tf.Tensor:
    """`mask` inside a `tf.function`, as `traced_frames`."""
    mask, message = tf.convert_to_tensor(values), "`mask` must have the shape (B, T) of `frames`"
    same = _same_shape(mask, frames.shape[:2], tf.shape(frames)[:2], message)
    mask, conditions = _checked_mask(mask)
    return _asserted({"mask": mask}, [(same, message), *conditions])["mask"]


def check_batch(
    batch: dict[str, tf.Tensor], event_size: int, binary: Sequence[bool], empty: bool = False
) -> dict[str, tf.Tensor]:
    """The checks of `frames` and `mask` as TensorFlow operations, to map over a pipeline.

    Static shapes and dtypes are checked when the function is traced, values when it runs. With
    `empty` a batch may have no rows, as a worker's part of the last batch may.
    """
    batch, conditions = dict(batch), []
    for name, values in batch.items():
        dense(name, values)
    for name in ("frames", "previous"):
        if name in batch:
            batch[name], more = _checked_frames(batch[name], event_size, binary, name, empty)
            conditions += more
    shape = tf.shape(batch["frames"])
    if "previous" in batch:
        message = "`previous` must have the shape of `frames`"
        same = _same_shape(batch["previous"], batch["frames"].shape, shape, message)
        conditions.append((same, message))
    if "mask" in batch:
        message = "`mask` must have the shape (B, T) of `frames`"
        same = _same_shape(batch["mask"], batch["frames"].shape[:2], shape[:2], message)
        conditions.append((same, message))
        batch["mask"], more = _checked_mask(batch["mask"])
        conditions += more
    result = _asserted(batch, conditions)
    for name in {"frames", "previous"} & set(result):
        result[name].set_shape([None, None, event_size])
    return result


def _asserted(tensors, conditions):
    """The tensors, once the conditions hold."""
    asserts = []
    for ok, text in conditions:
        with tf.control_dependencies(asserts):  # in this order: the first mistake is the one told
            asserts.append(tf.debugging.Assert(ok, [f"{MARK} {text}"]))
    with tf.control_dependencies(asserts):
        return {name: tf.identity(x) for name, x in tensors.items()}


def _is_sparse(value: object) -> bool:
    return isinstance(value, (tf.SparseTensor, tf.RaggedTensor, tf.IndexedSlices))


def _checked_frames(x, event_size, binary, name, empty):
    if _is_sparse(x):
        raise ValueError(f"`{name}` must be a dense tensor; received a {type(x).__name__}")
    if not is_real(x.dtype):
        raise ValueError(f"`{name}` must be numeric; received {x.dtype.name}")
    if x.dtype.is_bool and not all(binary):
        raise ValueError(f"`{name}` must be real numbers in this model; received booleans")
    if x.shape.rank is None:
        raise ValueError(f"`{name}` must have rank 3, (B, T, {event_size}); its rank is not known")
    frame_shape(x.shape, event_size, name)
    x = tf.cast(x, tf.float32)
    conditions = [
        (tf.shape(x)[-1] == event_size, f"`{name}` must have {event_size} values per step"),
        ((tf.size(x) > 0) | (empty & (tf.shape(x)[0] == 0)), f"`{name}` must not be empty"),
        (
            tf.reduce_all(tf.math.is_finite(x)),
            f"`{name}` must be finite; received NaN or infinity",
        ),
        (
            tf.reduce_all(tf.abs(x) <= LARGEST),
            f"`{name}` must be from {-LARGEST:g} to {LARGEST:g}, beyond which float32 overflows",
        ),
    ]
    if any(binary):
        # The width may be wrong: that is the message then, not one about shapes here.
        value = tf.minimum(tf.range(tf.shape(x)[-1]), event_size - 1)
        other = tf.logical_not(tf.gather(list(binary), value))
        zero_one = tf.reduce_all((x == 0.0) | (x == 1.0) | other)
        conditions.append((zero_one, f"`{name}` must be 0 or 1 for a Bernoulli likelihood"))
    return x, conditions


def _checked_mask(mask):
    if _is_sparse(mask) or not is_real(mask.dtype):
        raise ValueError(f"`mask` must be a boolean tensor; received {mask}")
    boolean = tf.cast(mask, tf.bool)
    exact = tf.reduce_all(tf.cast(boolean, tf.float32) == tf.cast(mask, tf.float32))
    holes = tf.reduce_any(boolean[:, 1:] & ~boolean[:, :-1])
    first = tf.reduce_all(boolean[:, :1])
    return boolean, [
        (exact, "`mask` must be boolean"),
        (first, "`mask` must have a real first step in each row"),
        (~holes, "`mask` must be true, then false, along each row"),
    ]


def _same_shape(x, static, dynamic, message):
    if not x.shape.is_compatible_with(static):
        raise ValueError(f"{message}, {static}; received {x.shape}")
    return tf.reduce_all(tf.shape(x) == dynamic)


def _where(wrong: np.ndarray) -> tuple[int, ...]:
    return tuple(int(i) for i in np.argwhere(wrong)[0])

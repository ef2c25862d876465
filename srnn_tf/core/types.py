"""What public signatures call the tensors, nests and data that they take: names, no code."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

if TYPE_CHECKING:  # names are strings, so that data can be read without it
    import tensorflow as tf

# Tensors, or dicts, lists and tuples of them, as `tf.nest` has it.
Nest: TypeAlias = "tf.Tensor | Mapping[str, Nest] | Sequence[Nest]"
# What a structure hands on from step to step, (B, ...) each.
State: TypeAlias = "Nest"
# What a posterior that reads the future reads of each step, (B, T, ...) each; None without one.
Evidence: TypeAlias = "Nest | None"
# A number of rows or steps: a tensor where a graph is for any of them.
Size: TypeAlias = "int | tf.Tensor"
Shape: TypeAlias = "Sequence[Size | None] | tf.Tensor | tf.TensorShape"
# Numbers that divide logits: a constant, or a tensor that a compiled program takes.
Temperature: TypeAlias = "float | tf.Tensor"
# A batch in eager mode: whatever NumPy makes an array of, tensors too.
Array: TypeAlias = ArrayLike
# What draws are made with: None for the fixed table, an integer, or one for each row.
Seeds: TypeAlias = "int | np.ndarray | None"
# Whatever `fit` reads: arrays, dicts of them, or batches of TensorFlow, of an `EpochDataset`, or of
# any iterable.
Data: TypeAlias = "Array | Mapping[str, Array] | tf.data.Dataset | Batches | Iterable[Any]"
# Constructor arguments, as JSON has them.
Config: TypeAlias = dict[str, Any]


class Batches(Protocol):
    """Batches in an order that is a function of the update: `data.EpochDataset`."""

    def as_dataset(self, start: Any = ..., endless: bool = ...) -> tf.data.Dataset: ...


class Steps(Protocol):
    """A sequence (T, D): an array, or one of a prepared data set, which stays on disk."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, key: Any, /) -> Any: ...

    def __array__(self, /) -> np.ndarray: ...

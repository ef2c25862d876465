"""Snapshots of settings: what a compiled program was traced from, as a key that can be compared."""

from __future__ import annotations

import functools
import zlib
from collections.abc import Mapping, Set
from typing import Any

import keras
import numpy as np
import tensorflow as tf

_PLAIN = (type(None), bool, int, float, complex, str, bytes, np.generic)
# Objects of these libraries are not looked into: they are the same only if they are one object.
_OPAQUE = ("tensorflow", "tf_keras", "jax", "torch")


class _Same:
    """An object as a key that equals that of the same object only. It keeps the object alive.

    An `id` alone would be that of another object once the first is gone.
    """

    __slots__ = ("object",)

    def __init__(self, of: Any):
        self.object = of

    def __hash__(self):
        return id(self.object)

    def __eq__(self, other):
        return isinstance(other, _Same) and self.object is other.object


def snapshot(*objects: Any) -> tuple:
    """A hashable key of all settings of objects, and of the layers and objects that they hold.

    Two snapshots are equal if the settings are: numbers, strings, arrays and dtype policies by
    value; variables, tensors and functions by identity. Values of variables are no settings: a
    compiled program reads them at each call. What Keras notes about a layer when it is called is
    left out.

    Example:
        >>> layer = keras.layers.Dense(2)
        >>> layer.build((None, 3))
        >>> before = snapshot(layer)
        >>> before == snapshot(layer)
        True
        >>> layer.use_bias = False
        >>> before == snapshot(layer)
        False
    """
    seen: dict[int, int] = {}
    return tuple(_walk(x, seen) for x in objects)


def _walk(x, seen):
    if isinstance(x, _PLAIN):  # 1, 1.0 and True are equal, and NaN is not
        return type(x), repr(x)
    if isinstance(x, np.ndarray) and x.dtype != object:
        return x.shape, x.dtype.str, zlib.crc32(np.ascontiguousarray(x).data)
    if isinstance(x, (tf.DType, np.dtype, tf.TensorShape)):
        return type(x), repr(x)
    if isinstance(x, keras.Variable):
        return _Same(x), x.dtype, _Same(x._value)
    if isinstance(x, (tuple, list)):
        return type(x), tuple(_walk(y, seen) for y in x)
    if isinstance(x, Mapping):
        return type(x), tuple((_walk(k, seen), _walk(y, seen)) for k, y in x.items())
    if isinstance(x, Set):
        return type(x), frozenset(_walk(y, seen) for y in x)
    if isinstance(x, functools.partial):
        return type(x), _walk((x.func, x.args, x.keywords), seen)
    if not hasattr(x, "__dict__") or callable(x) and not _has_settings(x):
        return _Same(x)
    if type(x).__module__.split(".")[0] in _OPAQUE:
        return _Same(x)
    if id(x) in seen:
        return "seen", seen[id(x)]
    seen[id(x)] = len(seen)
    is_layer = isinstance(x, keras.layers.Layer)
    attributes = (
        (name, _walk(value, seen))
        for name, value in vars(x).items()
        if not (is_layer and name in _notes()) and not _is_cached(type(x), name)
    )
    return type(x), tuple(sorted(attributes, key=lambda pair: pair[0]))


def _is_cached(cls: type, name: str) -> bool:
    """Whether an attribute was computed from others, at its first use."""
    return isinstance(getattr(cls, name, None), functools.cached_property)


def _has_settings(x):
    """Whether a callable is an object such as a layer, and no function or class."""
    return not isinstance(x, type) and not hasattr(x, "__code__") and not hasattr(x, "__func__")


@functools.cache
def _notes() -> frozenset[str]:
    """The attributes that every Keras layer has and that are no settings of it."""
    return frozenset(vars(keras.layers.Layer())) - {"_dtype_policy"}


class Settings:
    """The settings that functions were last made from, by the functions' names."""

    def __init__(self):
        self._last: dict[str, tuple] = {}

    def changed(self, name: str, *objects: Any) -> bool:
        """Whether the settings of objects differ from those of the last call of this name."""
        now = snapshot(*objects)
        before, self._last[name] = self._last.get(name, now), now
        return before != now

"""Snapshots of settings: what a compiled program was traced from, as a key that can be compared."""

from __future__ import annotations

import functools
import operator
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
    return tuple(_walk(x, seen, []) for x in objects)


class Watch:
    """`snapshot` of the same objects at each call, with a walk only after something has changed.

    A call first looks whether every attribute and item is still the object that it was at the
    last walk, and whether arrays hold the same values. That takes a tenth of a walk.

    Example:
        >>> layer = keras.layers.Dense(2)
        >>> layer.build((None, 3))
        >>> watch = Watch(layer)
        >>> before = watch()
        >>> watch() is before
        True
        >>> layer.use_bias = False
        >>> watch() == before
        False
    """

    def __init__(self, *objects: Any):
        self._objects = objects
        self._last: tuple[_Key, list] | None = None

    def __call__(self) -> _Key:
        """The snapshot as a key; the same object as long as nothing changes."""
        if self._last is not None:
            key, parts = self._last
            if all(part() for part in parts):
                return key
        parts, seen = [], {}
        key = _Key(tuple(_walk(x, seen, parts) for x in self._objects))
        if self._last is not None and key == self._last[0]:
            key = self._last[0]
        self._last = key, parts  # at once, for threads
        return key


class _Key:
    """A snapshot as a key of dictionaries, hashed once."""

    __slots__ = ("hash", "parts")

    def __init__(self, parts: tuple):
        self.parts, self.hash = parts, hash(parts)

    def __hash__(self):
        return self.hash

    def __eq__(self, other):
        if self is other:
            return True
        return isinstance(other, _Key) and self.hash == other.hash and self.parts == other.parts


class _Items:
    """Whether a list, or a dict of attributes or items, still has the same objects in it."""

    __slots__ = ("names", "of", "values")

    def __init__(self, of: list | dict):
        self.of = of
        self.names, self.values = _items(of)

    def __call__(self):
        names, values = _items(self.of)
        if len(values) != len(self.values):
            return False
        return all(map(operator.is_, values, self.values)) and (
            names is None or all(map(operator.is_, names, self.names))
        )


def _items(of):
    return (list(of), list(of.values())) if isinstance(of, dict) else (None, list(of))


class _Attributes(_Items):
    """`_Items` of the attributes of an object, which has the same class."""

    __slots__ = ("cls", "object")

    def __init__(self, of: Any):
        super().__init__(vars(of))
        self.object, self.cls = of, type(of)

    def __call__(self):
        return (
            self.object.__dict__ is self.of and type(self.object) is self.cls and super().__call__()
        )


def _array(x):
    return x.shape, x.dtype.str, zlib.crc32(np.ascontiguousarray(x).data)


def _changes():
    """Of a mapping that is no dict, which is not watched: it counts as changed at each call."""
    return False


class _Members:
    """Whether a set still has the same objects in it."""

    __slots__ = ("ids", "members", "of")

    def __init__(self, of: Set):
        self.of, self.members = of, list(of)  # which keeps them: their ids stay theirs
        self.ids = set(map(id, self.members))

    def __call__(self):
        return len(self.of) == len(self.members) and self.ids.issuperset(map(id, self.of))


def _walk(x, seen, parts):
    """The key of x. What tells later whether x still has the same key is appended to `parts`."""
    if isinstance(x, _PLAIN):  # 1, 1.0 and True are equal, and NaN is not
        return type(x), repr(x)
    if isinstance(x, np.ndarray) and x.dtype != object:
        key = _array(x)
        parts.append(lambda: _array(x) == key)
        return key
    if isinstance(x, (tf.DType, np.dtype, tf.TensorShape)):
        return type(x), repr(x)
    if isinstance(x, keras.Variable):
        value, dtype = x._value, x.dtype
        parts.append(lambda: x._value is value and x.dtype == dtype)
        return _Same(x), dtype, _Same(value)
    if isinstance(x, (tuple, list)):
        if isinstance(x, list):
            parts.append(_Items(x))
        return type(x), tuple(_walk(y, seen, parts) for y in x)
    if isinstance(x, Mapping):
        parts.append(_Items(x) if isinstance(x, dict) else _changes)
        items = ((_walk(k, seen, parts), _walk(y, seen, parts)) for k, y in x.items())
        return type(x), tuple(items)
    if isinstance(x, Set):
        parts.append(_Members(x))
        return type(x), frozenset(_walk(y, seen, parts) for y in x)
    if isinstance(x, functools.partial):
        return type(x), _walk((x.func, x.args, x.keywords), seen, parts)
    if not hasattr(x, "__dict__") or callable(x) and not _has_settings(x):
        return _Same(x)
    if type(x).__module__.split(".")[0] in _OPAQUE:
        return _Same(x)
    if id(x) in seen:
        return "seen", seen[id(x)]
    seen[id(x)] = len(seen)
    parts.append(_Attributes(x))
    is_layer = isinstance(x, keras.layers.Layer)
    attributes = (
        (name, _walk(value, seen, parts))
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

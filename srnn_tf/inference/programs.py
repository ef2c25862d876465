"""Compiled `tf.function`s, one per function, settings and shapes, in bounded number."""

from __future__ import annotations

import functools
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from srnn_tf.core.snapshot import Watch
from srnn_tf.density import Density

# The most programs that XLA compiles for a model. It never gives the memory of one back.
MOST_COMPILED = 48
# The most programs for any shape that are kept.
MOST_GENERAL = 32
# Where rounding makes no other difference, XLA compiles a shape when it comes for this time: that
# takes as long as 10 to 70 calls save.
COMMON = 16
MOST_COUNTED = 1024


class Programs:
    """A cache of `tf.function`s: one for each function, settings of the density, and shapes.

    When a layer is quantized or replaced, or an attribute changes, the next call has a new program.
    XLA compiles one per shape, scores only for shapes that are common. It keeps what it compiled
    until the process ends; so, after `MOST_COMPILED` of them, new shapes share one program without
    XLA, whose memory is given back when it has not been used for long.

    Args:
        density: the density that the functions read.
        xla: a function that says, at each call, whether to compile with XLA.
    """

    def __init__(self, density: Density, xla: Callable[[], bool]):
        self.density, self.xla = density, xla
        self._settings = Watch(density)
        self.compiled: dict[tuple, Any] = {}
        self.general: OrderedDict[tuple, Any] = OrderedDict()
        self.counts: Counter[tuple] = Counter()  # calls of shapes that are not common yet
        # Whether one program serves all B and T, by settings.
        self.serves_all: OrderedDict[tuple, bool] = OrderedDict()

    def __call__(self, function: Callable, *key: Any, free: int | None = None) -> Callable:
        """The program of `function`, which takes arrays, integers and hashable options.

        Inside a `tf.function` of the caller it is `function` itself, which becomes a part of that.

        Args:
            function: the function.
            key: what distinguishes functions of one name, and the sizes that must be static.
            free: the number of arguments, the first ones, that have shape (B, T, ...). With it,
                XLA compiles a shape once it is common; before, one program serves all B and T. The
                two differ by rounding, so give it only where that makes no other difference: what
                is drawn can turn on one bit. None to compile each shape with XLA at once.
        """
        if not tf.executing_eagerly():
            return function
        settings = (function.__qualname__, self._settings(), *key)  # ty: ignore[missing-attribute]

        def call(*arguments):
            return self._run(function, settings, arguments, free)

        return call

    def _run(self, function, settings, arguments, free):
        if self.xla():
            shapes = (settings, _signature(arguments))
            if shapes not in self.compiled and len(self.compiled) < MOST_COMPILED:
                for_all = free and self._is_for_all(function, settings, arguments, free)
                if not for_all or self._is_common(shapes):
                    self.compiled[shapes] = _Compiled(function, arguments)
            if shapes in self.compiled:
                return self.compiled[shapes](*arguments)
        program = self._general(function, settings)
        return program(*map(_as_tensor, arguments))

    def _general(self, function, settings):
        """The program for any shape, made or used last."""
        if settings not in self.general:
            self.general[settings] = _function(function, reduce_retracing=True)
        self.general.move_to_end(settings)
        while len(self.general) > MOST_GENERAL:
            self.general.popitem(last=False)
        return self.general[settings]

    def _is_for_all(self, function, settings, arguments, free):
        """Whether one program serves all B and T; it is traced, once, to know."""
        if settings in self.serves_all and (
            settings in self.general or not self.serves_all[settings]
        ):
            return self.serves_all[settings]
        specs = [*map(_any_shape, arguments[:free]), *map(_as_tensor, arguments[free:])]
        try:
            self._general(function, settings).get_concrete_function(*specs)
        except Exception:  # of a part that needs static sizes; what is wrong otherwise XLA will say
            del self.general[settings]
            self.serves_all[settings] = False
        else:
            self.serves_all[settings] = True
        while len(self.serves_all) > MOST_COUNTED:
            self.serves_all.popitem(last=False)
        return self.serves_all[settings]

    def _is_common(self, shapes):
        self.counts[shapes] += 1
        if self.counts[shapes] < COMMON:
            if len(self.counts) > MOST_COUNTED:  # of which only the newest half can become common
                for old in list(self.counts)[: MOST_COUNTED // 2]:
                    del self.counts[old]
            return False
        del self.counts[shapes]
        return True


def _function(function, **options):
    # Loops and branches are TensorFlow's already; AutoGraph would only take time.
    program = tf.function(function, autograph=False, **options)
    # Every new shape is compiled, on purpose: TensorFlow need not warn of it.
    program._omit_frequent_tracing_warning = True
    return program


class _Compiled:
    """The program of XLA for the shapes and options of some arguments.

    Its function takes tensors alone: to look up one that has options among its arguments takes
    TensorFlow 0.2 ms at each call.
    """

    def __init__(self, function, arguments):
        flat = tf.nest.flatten(arguments)
        structure = tf.nest.map_structure(lambda _: None, arguments)
        options = [None if _is_array(x) else x for x in flat]  # nothing may keep the arrays
        self.arrays = [i for i, x in enumerate(flat) if _is_array(x)]

        @functools.wraps(function, updated=())
        def run(*tensors):
            values = list(options)
            for i, x in zip(self.arrays, tensors, strict=True):
                values[i] = x
            return function(*tf.nest.pack_sequence_as(structure, values))

        del run.__wrapped__  # whose signature TensorFlow would take for that of `run`
        specs = [tf.TensorSpec(flat[i].shape, tf.as_dtype(flat[i].dtype)) for i in self.arrays]
        self.program = _function(run, jit_compile=True).get_concrete_function(*specs)

    def __call__(self, *arguments):
        flat = tf.nest.flatten(arguments)
        return self.program(*(tf.convert_to_tensor(flat[i]) for i in self.arrays))


def _is_array(x):
    return tf.is_tensor(x) or isinstance(x, np.ndarray)


def _signature(x):
    """What TensorFlow traces anew for: shapes and dtypes of arrays, other arguments as such."""
    if isinstance(x, (tuple, list)):
        return type(x), tuple(map(_signature, x))
    if isinstance(x, dict):
        return dict, tuple((name, _signature(x[name])) for name in sorted(x))
    if _is_array(x):
        return tuple(x.shape), tf.as_dtype(x.dtype)
    return type(x), x


def _any_shape(x):
    """What stands for an array (B, T, ...) of any B and T."""
    return tf.TensorSpec([None, None, *x.shape[2:]], tf.as_dtype(x.dtype))


def _as_tensor(x):
    """Sizes as tensors, so that one program is for all of them; nests stay as they are."""
    is_size = isinstance(x, int) and not isinstance(x, bool)
    return tf.constant(x) if is_size or isinstance(x, np.ndarray) else x

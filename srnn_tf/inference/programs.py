"""Compiled `tf.function`s, one per function and shape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf


class Programs:
    """A cache of `tf.function`s, compiled with XLA or not.

    Args:
        xla: a function that says, at each call, whether to compile with XLA.
    """

    def __init__(self, xla: Callable[[], bool]):
        self.xla = xla
        self.made: dict[tuple, Any] = {}

    def __call__(self, function: Callable, *key: Any) -> Callable:
        """The `tf.function` of `function`; `key` distinguishes functions of one name."""
        xla = self.xla()
        key = (function.__qualname__, xla, *key)  # ty: ignore[missing-attribute]
        if key not in self.made:
            # Loops and branches are TensorFlow's already; AutoGraph would only take time.
            program = tf.function(function, jit_compile=xla, autograph=False)
            # Every new shape is compiled, on purpose: TensorFlow need not warn of it.
            program._omit_frequent_tracing_warning = True
            self.made[key] = program
        return self.made[key]

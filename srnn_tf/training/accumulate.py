"""Gradient accumulation: one update of several batches, equal to that of all their rows at once.

    gradient = sum{ gradient of the loss of a real frame } / number of real frames, of all batches

Keras accumulates in its optimizers. It averages the batches' means, whatever their padding, gives
the learning rate's schedule and the moving average a step for each batch, and would accumulate
gradients that were clipped already. So a model takes this over from its optimizer: it sums
gradients here, then clips them and calls the optimizer, once for each update.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

Gradients = Sequence["tf.Tensor | None"]
# Of optimizers that a model has taken the accumulation from: they may be compiled with again.
_TAKEN: weakref.WeakKeyDictionary[keras.optimizers.Optimizer, Accumulator] = (
    weakref.WeakKeyDictionary()
)


class Accumulator:
    """Sums of gradients, kept and saved among the variables of an optimizer.

    Args:
        steps: the number of batches of an update.
    """

    def __init__(self, steps: int):
        self.steps = steps
        self.built = False

    def build(
        self, optimizer: keras.optimizers.Optimizer, variables: Sequence[keras.Variable]
    ) -> None:
        """Create the sums in a built optimizer, once."""
        if self.built:
            return
        add = optimizer.add_variable_from_reference
        self._sums = {id(v): add(v, name="accumulated_gradient") for v in variables}
        self._frames = optimizer.add_variable((), name="accumulated_frames")
        self.batches = optimizer.add_variable((), dtype="int64", name="accumulated_batches")
        self.built = True

    def position(self, updates: int) -> int:
        """The number of batches read so far."""
        return updates * self.steps + (int(self.batches.numpy()) if self.built else 0)

    def add(
        self,
        variables: Sequence[keras.Variable],
        gradients: Gradients,
        frames: tf.Tensor,
        update: Callable[[Gradients], None],
    ) -> None:
        """Add the mean gradients of a batch; with the last batch, update with those of all.

        Args:
            variables: the variables of the gradients.
            gradients: the gradients of a mean over the batch's frames.
            frames: the number of those frames.
            update: a function of the mean gradients over all frames.
        """
        sums = [self._sums[id(v)] for v in variables]
        for total, gradient in zip(sums, gradients, strict=True):
            if gradient is not None:
                total.assign_add(gradient * frames)
        self._frames.assign_add(frames)
        self.batches.assign_add(1)

        def last():
            pairs = zip(sums, gradients, strict=True)
            update([None if g is None else s.value / self._frames.value for s, g in pairs])
            for variable in (*sums, self._frames, self.batches):
                variable.assign(tf.zeros_like(variable.value))
            return tf.constant(True)

        tf.cond(self.batches.value >= self.steps, last, lambda: tf.constant(False))


def taken(optimizer: keras.optimizers.Optimizer) -> bool:
    """Whether a model has taken gradient accumulation over from the optimizer."""
    return optimizer in _TAKEN


def take(optimizer: keras.optimizers.Optimizer) -> Accumulator | None:
    """Take gradient accumulation over from an optimizer; None if it has none.

    Its `gradient_accumulation_steps` is None afterwards, and its iterations are updates.
    """
    inner = innermost(optimizer)
    steps = inner.gradient_accumulation_steps
    if not steps:
        return _TAKEN.get(inner)
    iterations = int(inner.iterations)
    inner.gradient_accumulation_steps = None
    inner.iterations.assign(iterations)
    accumulator = _TAKEN.setdefault(inner, Accumulator(steps))
    accumulator.steps = steps
    return accumulator


def config_of(optimizer: keras.optimizers.Optimizer) -> dict[str, Any]:
    """The config of an optimizer, with the accumulation that a model took over from it."""
    whole = part = keras.saving.serialize_keras_object(optimizer)
    while "inner_optimizer" in part["config"]:
        part = part["config"]["inner_optimizer"]
    accumulator = _TAKEN.get(innermost(optimizer))
    if accumulator is not None:
        part["config"]["gradient_accumulation_steps"] = accumulator.steps
    return whole


def innermost(optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    """The optimizer inside all `LossScaleOptimizer`s."""
    while hasattr(optimizer, "inner_optimizer"):
        optimizer = optimizer.inner_optimizer
    return optimizer

"""Ours, stock Keras and PyTorch, each behind functions that do the work of a case once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.cases import Case

TORCH = ("torch", "torch_compiled")


def ours(case: Case, bfloat16: bool = False) -> Any:
    """Our model, compiled with XLA; in bfloat16 without, where oneDNN multiplies faster."""
    import keras

    from srnn_tf import SequenceModel

    policy = {"dtype": "mixed_bfloat16"} if bfloat16 else {}
    configs = ({**config, **policy} for config in (case.structure, case.emission))
    model = SequenceModel(*configs, event_size=case.shape[-1])
    model.compile(keras.optimizers.Adam(1e-4), jit_compile=not bfloat16)
    return model


def in_torch(case: Case, contender: str = "torch") -> Any:
    from benchmarks import torch_models

    model = torch_models.build(case.structure, case.emission)
    return torch_models.compiled(model) if contender == "torch_compiled" else model


def stock_keras(case: Case, frames, previous) -> Any:
    import keras

    from benchmarks.keras_models import StockModel

    model = StockModel(case.structure, case.emission)
    model.compile(keras.optimizers.Adam(1e-4), jit_compile=True)
    model((frames[:1], previous[:1]))
    return model


def training(contender: str, case: Case) -> Callable[[], float]:
    """An update: forward, backward, clipping to norm 0.5, Adam. Returns the loss."""
    if contender in TORCH:
        from benchmarks import torch_models

        return torch_models.training_step(in_torch(case, contender), *case.steps())
    import tensorflow as tf

    if contender == "keras":
        frames, previous = case.steps()
        model = stock_keras(case, frames, previous)
    else:
        frames, previous = case.batch()
        model = ours(case, contender == "ours_bf16")
    batch = {"frames": tf.constant(frames), "previous": tf.constant(previous)}
    compiled = tf.function(model.train_step, jit_compile=contender != "ours_bf16")
    model.optimizer.build(model.trainable_variables)
    return lambda: float(compiled(batch)["loss"])


def scoring(contender: str, case: Case) -> Callable[[], Any]:
    """log p of a batch, or a single-sample bound."""
    if contender in TORCH:
        from benchmarks import torch_models

        return torch_models.scorer(in_torch(case, contender), *case.steps())
    from srnn_tf.inference.programs import COMMON

    model, (frames, _) = ours(case), case.batch()
    for _ in range(COMMON):  # from then on XLA is used
        model.log_prob(frames)
    return lambda: model.log_prob(frames).numpy()


def sampling(contender: str, case: Case) -> Callable[[], Any]:
    """As many sequences of as many frames as the case's batch has, drawn from the model."""
    rows, steps, width = case.shape
    if contender in TORCH:
        from benchmarks import torch_models

        size = case.emission["event_size"]
        return torch_models.sampler(in_torch(case, contender), rows, steps * width // size, size)
    model = ours(case)
    return lambda: model.sample(rows, steps, seed=0).numpy()


JOBS = {"training": training, "scoring": scoring, "sampling": sampling}

"""The data that `fit` and `evaluate` accept, as one checked `tf.data` pipeline of dicts."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from srnn_tf.core import checks
from srnn_tf.core.types import Data, Nest
from srnn_tf.data.batching.epochs import EpochDataset, array_batches
from srnn_tf.density import Density

KEYS = ("frames", "previous", "mask")
# Nothing here needs AutoGraph, which would wrap our errors in its own.
plain = tf.autograph.experimental.do_not_convert
ACCEPTED = (
    "an array (N, T, D), a dict of `frames`[, `previous`, `mask`], or a tf.data.Dataset or "
    "EpochDataset of batches of these"
)


def pipeline(
    density: Density,
    data: Data,
    batch_size: int | None = None,
    seed: int = 0,
    shuffle: bool = False,
    endless: bool = False,
    start: Callable[[], int] = lambda: 0,
) -> tf.data.Dataset:
    """Checked batches, as dicts of tensors.

    Args:
        density: the density that the data must fit.
        data: an array, a dict of arrays, or batches; see `ACCEPTED`.
        batch_size: the batch size for arrays; 32 by default.
        seed: the seed of the order of arrays.
        shuffle: shuffle arrays.
        endless: continue past the end of the epoch (`steps_per_epoch` was given).
        start: a function that returns the first step, called for each iterator.

    Raises:
        ValueError: the data have another type, or fail a check.
    """
    if is_batched(data) and batch_size is not None:
        raise ValueError("`batch_size` must be None for a dataset, which holds batches")
    if isinstance(data, tf.data.Dataset):
        if data.cardinality() == 0:
            raise ValueError("the dataset is empty: it holds no batch")
        return data.map(plain(lambda *batch: _checked(density, as_dict(batch))))
    if not isinstance(data, EpochDataset):
        arrays = _arrays(density, data)
        batch_size = 32 if batch_size is None else batch_size
        checks.sizes(batch_size=batch_size)
        data = array_batches(arrays, batch_size, seed, shuffle)
    batches = data.as_dataset(start, endless).map(plain(lambda batch: _checked(density, batch)))
    # Nothing in it can be tuned, and the end of `fit` would wait for the tuner's next iteration.
    options = tf.data.Options()
    options.autotune.enabled = False
    return batches.with_options(options)


def is_batched(data: Data) -> bool:
    """Whether the data are batches already."""
    return isinstance(data, (tf.data.Dataset, EpochDataset))


def as_dict(batch: Nest) -> dict[str, tf.Tensor]:
    """A batch as a dict: a tensor becomes `frames`, a tuple of one element that element."""
    while isinstance(batch, (tuple, list)):
        if len(batch) != 1:
            raise ValueError(f"a batch must be one tensor or dict; received {len(batch)} members")
        batch = batch[0]
    if not isinstance(batch, Mapping):
        return {"frames": batch}
    if "frames" not in batch:
        raise ValueError(f"a batch must hold `frames`; received {sorted(batch)}")
    strange = sorted(set(map(str, batch)) - {*KEYS, "index"})
    if strange:
        raise ValueError(f"a batch may hold {', '.join(KEYS)}; received {strange} too")
    return dict(batch)


def refuse_targets(y: Any, kwargs: Mapping[str, Any]) -> None:
    """Check that arguments of Keras that have no meaning for a density are not given."""
    if y is not None:
        raise ValueError("`y` must be None: the model is a density of `x` alone")
    for name in ("validation_split", "sample_weight", "class_weight"):
        if kwargs.get(name) is not None and not np.all(np.equal(kwargs[name], 0.0)):
            raise ValueError(f"`{name}` is not supported; pass `validation_data` and `mask`")


@contextlib.contextmanager
def our_errors():
    """Raise a check that failed inside the pipeline as a ValueError."""
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        if checks.MARK not in str(error):
            raise
        message = str(error).split(checks.MARK, 1)[1].split("'", 1)[0].split("\n", 1)[0]
        raise ValueError(f"{message.strip(' ]')}, in a batch of the dataset") from None


def _arrays(density, data) -> dict[str, np.ndarray]:
    if not isinstance(data, (Mapping, np.ndarray, list, tuple, tf.Tensor)):
        raise ValueError(f"the data must be {ACCEPTED}; received {type(data).__name__}")
    given = data if isinstance(data, Mapping) else {"frames": data}
    strange = sorted(set(given) - set(KEYS))
    if strange or "frames" not in given:
        raise ValueError(f"the data must be {ACCEPTED}; received keys {sorted(given)}")

    def check(name):
        return checks.frames(given[name], density.event_size, density.binary, name)

    arrays = {"frames": check("frames")}
    shape = arrays["frames"].shape
    if given.get("previous") is not None:
        arrays["previous"] = check("previous")
        if arrays["previous"].shape != shape:
            raise ValueError(
                f"`previous` must have the shape of `frames`, {shape}; "
                f"received {arrays['previous'].shape}"
            )
    if given.get("mask") is not None:
        arrays["mask"] = checks.mask(given["mask"], shape[:2])
    return arrays


def _checked(density, batch):
    batch = dict(batch)
    index = batch.pop("index", None)
    if index is not None:  # `data.batches` fills a batch up with rows that are no data
        batch = {name: tf.boolean_mask(x, index >= 0) for name, x in batch.items()}
    return checks.check_batch(batch, density.event_size, density.binary, empty=index is not None)

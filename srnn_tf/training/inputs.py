"""The data that `fit` and `evaluate` accept, as one checked `tf.data` pipeline of dicts."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from numbers import Real
from typing import Any

import keras
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
    "an array (N, T, D), a dict of `frames`[, `previous`, `mask`], or batches of these: a "
    "tf.data.Dataset, EpochDataset, keras.utils.PyDataset, generator or other iterable"
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
    data = _alone(data)
    if is_batched(data) and batch_size is not None:
        raise ValueError("`batch_size` must be None for a dataset, which holds batches")
    if isinstance(data, tf.data.Dataset):
        if data.cardinality() == 0:
            raise ValueError("the dataset is empty: it holds no batch")
        return data.map(plain(lambda *batch: _checked(density, as_dict(batch))))
    if _iterable(data):
        return _iterated(density, data)
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
    return isinstance(data, (tf.data.Dataset, EpochDataset)) or _iterable(data)


def is_read_once(data: Data) -> bool:
    """Whether the data are a generator, which cannot start again."""
    return isinstance(data, Iterator)


def as_dict(batch: Nest) -> dict[str, tf.Tensor]:
    """A batch as a dict: a tensor becomes `frames`, a tuple of one element that element.

    As in Keras, a tuple may have None for targets and weights, and a member may be None.
    """
    while isinstance(batch, (tuple, list)):
        members = [member for member in batch if member is not None]
        if len(members) != 1:
            raise ValueError(f"a batch must be one tensor or dict; received {len(members)} members")
        batch = members[0]
    if not isinstance(batch, Mapping):
        return {"frames": batch}
    batch = {name: member for name, member in batch.items() if member is not None}
    if "frames" not in batch:
        raise ValueError(f"a batch must hold `frames`; received {sorted(batch)}")
    strange = sorted(set(map(str, batch)) - {*KEYS, "index"})
    if strange:
        raise ValueError(f"a batch may hold {', '.join(KEYS)}; received {strange} too")
    return dict(batch)


def one_batch(density: Density, data: Nest) -> dict[str, np.ndarray]:
    """A checked batch, of `train_on_batch` and the like, as a dict of arrays.

    Raises:
        ValueError: it has another type, or fails a check.
    """
    if isinstance(data, list) and all(isinstance(row, list) for row in data):
        data = {"frames": data}  # an array as lists of numbers, not a list of one member
    batch = {name: _numpy(name, x) for name, x in as_dict(_alone(data)).items()}
    index = batch.pop("index", None)
    if index is not None:
        batch = {name: x[index >= 0] for name, x in batch.items()}
    return _arrays(density, batch)


def split(density: Density, data: Data, share: float) -> tuple[Data, Data]:
    """Arrays without their last rows, and these: `validation_split` of Keras.

    Raises:
        ValueError: `share` is not in (0, 1) or leaves either part without rows, or the data are no
            arrays.
    """
    if not isinstance(share, Real) or not 0.0 < share < 1.0:
        raise ValueError(f"`validation_split` must be in (0, 1); received {share!r}")
    data = _alone(data)
    if is_batched(data):
        raise ValueError(
            "`validation_split` needs arrays, and the data are batches; pass `validation_data`"
        )
    arrays = _arrays(density, data)
    rows = len(arrays["frames"])
    first = int(rows * (1.0 - share))
    if not 0 < first < rows:
        raise ValueError(
            f"`validation_split` must leave rows for both parts; received {share!r} for {rows} rows"
        )
    training = {name: x[:first] for name, x in arrays.items()}
    return training, {name: x[first:] for name, x in arrays.items()}


def refuse_targets(y: Any, kwargs: Mapping[str, Any]) -> None:
    """Check that arguments of Keras that have no meaning for a density are not given."""
    if y is not None:
        raise ValueError("`y` must be None: the model is a density of `x` alone")
    for name in ("sample_weight", "class_weight"):
        if kwargs.get(name) is not None:
            raise ValueError(f"`{name}` is not supported; leave out rows, or frames by `mask`")


def refuse_losses(kwargs: Mapping[str, Any]) -> None:
    """Check that `compile` is not given losses or metrics of targets."""
    for name in ("loss", "loss_weights", "metrics", "weighted_metrics"):
        if kwargs.get(name):
            raise ValueError(
                f"`{name}` must be None: a density has no targets. `objective` is its loss, and "
                "its metrics are loss, bound, log_likelihood, kl, kl_weight and active_units; "
                f"received {kwargs[name]!r}"
            )


@contextlib.contextmanager
def our_errors():
    """Raise a check that failed inside the pipeline as a ValueError."""
    try:
        yield
    except (tf.errors.InvalidArgumentError, tf.errors.UnknownError) as error:
        if checks.MARK not in str(error):
            raise
        message = str(error).split(checks.MARK, 1)[1].split("'", 1)[0].split("\n", 1)[0]
        raise ValueError(f"{message.strip(' ]')}, in a batch of the dataset") from None


def _arrays(density, data) -> dict[str, np.ndarray]:
    kinds = (Mapping, np.ndarray, list, tuple, tf.Tensor, tf.RaggedTensor, tf.SparseTensor)
    if not isinstance(data, kinds) and not hasattr(data, "__array__"):
        raise ValueError(f"the data must be {ACCEPTED}; received {type(data).__name__}")
    given = data if isinstance(data, Mapping) else {"frames": data}
    given = {name: _numpy(name, x) for name, x in given.items()}
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


def _alone(data):
    """The data of a tuple (x, None) or (x, None, None), as Keras has them with targets."""
    if isinstance(data, tuple) and any(member is None for member in data):
        return as_dict(data) if isinstance(data[0], Mapping) else as_dict(data)["frames"]
    return data


def _iterable(data) -> bool:
    """Whether it is an iterable of batches: what is an array, or converts to one, is not."""
    if isinstance(data, keras.utils.PyDataset):
        return True
    arrays = (Mapping, list, tuple, str, bytes, tf.RaggedTensor, tf.data.Dataset, EpochDataset)
    return (
        isinstance(data, Iterable)
        and not isinstance(data, arrays)
        and not hasattr(data, "__array__")
    )


def _iterated(density, data) -> tf.data.Dataset:
    """Checked batches of an iterable that yields NumPy arrays, tensors or those of PyTorch."""
    started = _batches_of(data)
    try:
        first = next(started)
    except StopIteration:
        raise ValueError(f"the {type(data).__name__} is empty: it holds no batch") from None
    names = list(one_batch(density, first))
    # The batch that was read to know the names is that of the first iterator.
    waiting, count = [itertools.chain([first], started)], _length(data)

    def generate():
        found = 0
        for batch in waiting.pop() if waiting else _batches_of(data):
            found += 1
            try:
                arrays = one_batch(density, batch)
                if list(arrays) != names:
                    raise ValueError(f"each batch must hold {names}; received {list(arrays)}")
            except ValueError as error:
                # `our_errors` finds it in the text of the pipeline's error, up to a quote.
                raise ValueError(f"{checks.MARK} {error}".replace("'", '"')) from None
            yield arrays
        if count is not None and found != count:
            kind = type(data).__name__
            raise ValueError(f"{checks.MARK} the {kind} has length {count} and yields {found}")

    shapes = {"mask": [None, None]}
    signature = {
        name: tf.TensorSpec(
            shapes.get(name, [None, None, density.event_size]),
            tf.bool if name == "mask" else tf.float32,
        )
        for name in names
    }
    batches = tf.data.Dataset.from_generator(generate, output_signature=signature)
    if count is None:
        return batches
    # With it Keras does not warn, at the end of an epoch, that data have run out.
    return batches.apply(tf.data.experimental.assert_cardinality(count))


def _length(data) -> int | None:
    """The number of batches, if it is known."""
    if isinstance(data, keras.utils.PyDataset):
        return data.num_batches
    try:
        return len(data)
    except TypeError:
        return None


def _batches_of(data) -> Iterator[Any]:
    if not isinstance(data, keras.utils.PyDataset):
        yield from data
        return
    data.on_epoch_begin()
    count = data.num_batches
    for i in range(count) if count is not None else itertools.count():
        yield data[i]
    data.on_epoch_end()


def _numpy(name, value):
    """An array of whatever holds one; tensors of PyTorch may be on a device or in its graph."""
    checks.dense(name, value)
    return value.detach().cpu() if hasattr(value, "detach") and hasattr(value, "cpu") else value


def _checked(density, batch):
    batch = dict(batch)
    index = batch.pop("index", None)
    if index is not None:  # `data.batches` fills a batch up with rows that are no data
        batch = {name: tf.boolean_mask(x, index >= 0) for name, x in batch.items()}
    return checks.check_batch(batch, density.event_size, density.binary, empty=index is not None)

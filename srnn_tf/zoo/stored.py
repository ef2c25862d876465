"""What is stored of a model: its config and weights, compared before anything is built.

A config of a kilobyte can ask for layers of terabytes. What it may ask for is what the weights
beside it have: sizes first, by name, since a constructor already makes lists of them; then the
shapes of all weights, from a graph in which nothing is allocated.
"""

from __future__ import annotations

import dataclasses
import math
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from srnn_tf.core import reading
from srnn_tf.model import SequenceModel

Shapes = Sequence[Sequence[int]]

# Arguments that a weight's axis, or the number of weights, grows with.
_SIZES = (
    *("units", "latent_size", "embedding_size", "evidence_size", "hidden_size"),
    *("event_size", "num_components", "split_size", "stride"),
)
_COUNTS = ("num_layers",)
_LARGEST = {"event_size": 1 << 20, "window": 2**31 - 1, "seed": 2**63 - 1}
_INDEX = 1 << 24  # bytes of the index of a checkpoint
_DATA = "data-00000-of-00001"  # what the file of its values ends in
_CONFIG, _WEIGHTS = "config.json", "model.weights.h5"  # of a .keras file


def check(config: Any, shapes: Shapes) -> None:
    """No size in a model's config is above what its weights have.

    Args:
        config: of a `SequenceModel`.
        shapes: of its weights.

    Raises:
        ValueError: one is; the error names it.
    """
    if not isinstance(config, Mapping):
        raise ValueError(f"its model must be an object; received {reading.shortened(config)}")
    numbers = sum(math.prod(shape) for shape in shapes)
    limits = {name: numbers for name in _SIZES} | {name: len(shapes) for name in _COUNTS}
    for name, most in _LARGEST.items():
        limits[name] = min(limits.get(name, most), most)
    below: list[Any] = [config]  # files are not nested deeply, `reading.parse_json` sees to it
    while below:
        value = below.pop()
        below += [v for v in value.values() if isinstance(v, Mapping)]
        for name, most in limits.items():
            size = value.get(name)
            if isinstance(size, int) and size > most:
                raise ValueError(
                    f"`{name}` is {reading.shortened(size)}; accepted are up to {most:,}, of a "
                    f"model whose {len(shapes)} weights have {numbers:,} values"
                )


def planned(config: Mapping[str, Any], weights: Callable[[SequenceModel], Any]) -> dict[str, Any]:
    """The shapes of the weights that the model of a config has, by name; none is allocated.

    Args:
        config: of a `SequenceModel`.
        weights: the variables of a model, by name.
    """
    with tf.Graph().as_default():
        model = SequenceModel.from_config(config)
        return {name: list(v.shape) for name, v in weights(model).items()}


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """The weights of a SavedModel, their shapes read and compared with the size of their file.

    Args:
        prefix: the path of its files, without what they end in.
        reader: TensorFlow's.
        shapes: of the weights, in order.
    """

    prefix: Path
    reader: Any
    shapes: Shapes

    @classmethod
    def open(cls, prefix: Path) -> Checkpoint:
        """The checkpoint of a prefix.

        Raises:
            ValueError: it is missing or damaged, or its file is too small for its shapes.
        """
        index, data = (prefix.with_name(f"{prefix.name}.{end}") for end in ("index", _DATA))
        try:
            # TensorFlow would wait for a pipe, whichever part of the checkpoint it is.
            for file in prefix.parent.iterdir():
                reading.check_regular(file, _INDEX if file == index else None)
            room = data.stat().st_size
            reader = tf.train.load_checkpoint(str(prefix))
            shapes, dtypes = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
            found = []
            while (key := _key(len(found))) in shapes:
                if not dtypes[key].is_floating:
                    raise ValueError(f"weight {len(found)} is of type {dtypes[key].name}")
                room -= math.prod(shapes[key]) * dtypes[key].size
                found.append(list(shapes[key]))
            if room < 0 or not found:
                raise ValueError(f"its {len(found)} weights do not fit into {data.name}")
        except Exception as error:  # of whatever kind TensorFlow's reader raises
            raise ValueError(f"{prefix}: its weights cannot be read: {error}") from error
        return cls(prefix, reader, found)

    def restore(self, variables: Mapping[str, Any]) -> None:
        """Read all weights, then assign them.

        Raises:
            ValueError: they cannot be read, or are not those of the variables.
        """
        if len(variables) != len(self.shapes):
            raise ValueError(
                f"{self.prefix} has {len(self.shapes)} weights; the model has {len(variables)}"
            )
        values = []
        for i, (name, variable) in enumerate(variables.items()):
            wanted = tuple(variable.shape)
            finite = tuple(self.shapes[i]) == wanted
            if finite:
                try:
                    values.append(self.reader.get_tensor(_key(i)).astype(np.float32))
                except Exception as error:
                    raise ValueError(
                        f"{self.prefix}: its weights cannot be read: {error}"
                    ) from error
                finite = bool(np.isfinite(values[-1]).all())
            if not finite:
                raise ValueError(
                    f"{self.prefix}: weight {name} must be finite and of shape {wanted}; "
                    f"received shape {tuple(self.shapes[i])}"
                )
        for variable, value in zip(variables.values(), values, strict=True):
            variable.assign(value)


def _key(i: int) -> str:
    return f"weights/{i}/.ATTRIBUTES/VARIABLE_VALUE"


def read_keras(path: Path) -> SequenceModel:
    """The model of a `.keras` file, not compiled.

    Raises:
        ValueError: another file, a damaged one, one that unpacks to far more than its size, or
            whose config does not fit its weights; a class that is not known here.
    """
    try:
        config, shapes = _contents(path)
        model = config.get("config")
        kind = config.get("class_name")
        known = keras.saving.get_registered_object(str(config.get("registered_name")))
        if not isinstance(known, type) or not issubclass(known, SequenceModel):
            raise ValueError(f"it holds a {reading.shortened(kind)}; a SequenceModel is needed")
        check(model, shapes)
        _check_room(planned(model, _all_weights), shapes)
        loaded = _load(path)
    except Exception as error:  # Keras raises many types on damaged files and unknown classes
        raise ValueError(f"{path}: Keras cannot load it: {error}") from error
    return loaded


def _load(path: Path) -> SequenceModel:
    if path.suffix == ".keras":
        return keras.saving.load_model(path, compile=False)
    with tempfile.TemporaryDirectory() as folder:  # Keras reads no other ending, as .KERAS
        (Path(folder) / "model.keras").symlink_to(path.absolute())
        return keras.saving.load_model(Path(folder) / "model.keras", compile=False)


def _contents(path: Path) -> tuple[Any, Shapes]:
    """The config of a `.keras` file, and the shapes of its arrays."""
    reading.check_regular(path)
    with zipfile.ZipFile(path) as archive, tempfile.TemporaryFile() as unpacked:
        reading.check_members(archive, reading.MOST_JSON, (_CONFIG, "metadata.json"))
        reading.check_members(archive, reading.most_unpacked(path.stat().st_size))
        config = reading.parse_json(archive.read(_CONFIG))
        if not isinstance(config, Mapping):
            raise ValueError(f"its {_CONFIG} is no object")
        with archive.open(_WEIGHTS) as member:
            shutil.copyfileobj(member, unpacked)
        return config, reading.check_hdf5(unpacked, unpacked.tell())


def _check_room(plan: Mapping[str, Any], shapes: Shapes) -> None:
    planned, stored = (sum(map(math.prod, s)) for s in (plan.values(), shapes))
    if planned > stored:
        raise ValueError(f"its model has {planned:,} weights, and it stores {stored:,} numbers")


def _all_weights(model: SequenceModel) -> dict[str, Any]:
    return {str(i): variable for i, variable in enumerate(model.weights)}

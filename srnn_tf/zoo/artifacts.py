"""A published model on disk: a SavedModel, its config and its card, checked before use.

    saved_models/NAME/VERSION/saved_model.pb, variables/, assets.extra/{config,card}.json

The graph is never executed. The config names registered classes, and the weights are read from the
SavedModel's variables as from any checkpoint.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from srnn_tf.model import SequenceModel

FORMAT = 1
CONFIG, CARD = "config.json", "card.json"
# What an artefact consists of besides its card, which holds their checksums.
FILES = (
    "saved_model.pb",
    "fingerprint.pb",
    "variables/variables.index",
    "variables/variables.data-00000-of-00001",
    "assets.extra/config.json",
    "assets.extra/tf_serving_warmup_requests",
)
NAME = re.compile(r"[a-z0-9]+(_[a-z0-9]+)*")


def to_json(values: Any) -> str:
    """The JSON text of values, as this package writes it."""
    return json.dumps(values, indent=1, sort_keys=True) + "\n"


def read_json(path: Path, kind: str) -> dict[str, Any]:
    """Read a JSON object of this package's format.

    Raises:
        ValueError: the file is missing, damaged or of another format.
    """
    try:
        values = json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise ValueError(f"{path} is missing: the folder holds no {kind}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not a {kind}: {error}") from error
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        received = values.get("format") if isinstance(values, dict) else None
        raise ValueError(f"{path} is of format {received!r}; this version reads {FORMAT}")
    return values


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def checksums(folder: Path) -> dict[str, str]:
    """The checksum of each of `FILES`."""
    return {name: sha256(folder / name) for name in FILES}


def weights(model: SequenceModel) -> dict[str, Any]:
    """The published variables of a model, by name, in a fixed order."""
    layers = model.density.layers.values()
    variables: dict[str, Any] = {}
    for variable in (v for layer in layers for v in layer.weights):
        name, number = variable.path.split("/", 1)[1], 1
        while name in variables:  # the heads of several likelihoods are called the same
            number += 1
            name = f"{variable.path.split('/', 1)[1]}_{number}"
        variables[name] = variable
    return variables


@dataclasses.dataclass(frozen=True)
class Artifact:
    """One version of a published model. Its card is checked; `verify` checks its other files."""

    folder: Path
    card: dict[str, Any]

    @classmethod
    def open(cls, folder: Path) -> Artifact:
        """Open the artefact in a folder.

        Raises:
            ValueError: its card is missing, damaged or of another format.
        """
        path = folder / "assets.extra" / CARD
        card = read_json(path, "model's card")
        files = card.get("files")
        if not isinstance(files, dict) or set(files) != set(FILES):
            raise ValueError(f"{path} must have a checksum for each of {', '.join(FILES)}")
        return cls(folder, card)

    def verify(self) -> None:
        """Compare every file with its checksum.

        Raises:
            ValueError: a file is missing or damaged.
        """
        for name, expected in self.card["files"].items():
            path = self.folder / name
            if not path.is_file():
                raise ValueError(f"{path} is missing: the model is incomplete; download it again")
            if sha256(path) != expected:
                raise ValueError(
                    f"{path} is damaged: its SHA-256 is not that of the card; download it again"
                )

    def config(self) -> dict[str, Any]:
        """The config in `assets.extra`.

        Raises:
            ValueError: it is missing, damaged or of another format.
        """
        return read_json(self.folder / "assets.extra" / CONFIG, "model's config")

    def load(self) -> SequenceModel:
        """The model with its weights, not compiled.

        Raises:
            ValueError: a file is missing or damaged, or does not fit the config.
        """
        self.verify()
        return read(self.folder)


def read(folder: str | os.PathLike) -> SequenceModel:
    """Read a model from a folder that `srnn_tf.serving.export` wrote; it is not compiled.

    This executes no graph and imports no module: first import the modules that define your own
    classes. It does not compare checksums; `load` does, for published models.

    Raises:
        ValueError: a file is missing or damaged, or does not fit the config; or a class is not
            registered, and the error names the module to import.

    Example:
        srnn_tf.zoo.read("exported/1")
    """
    folder = Path(folder)
    path = folder / "assets.extra" / CONFIG
    config = read_json(path, "model's config")
    try:
        model = SequenceModel.from_config(config["model"])
        wanted = {name: list(v.shape) for name, v in weights(model).items()}
        if config["weights"] != wanted:
            raise ValueError("its weights are not those of its model")
        step = int(config["step"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} describes no model of this version: {error}") from error
    _restore(model, folder / "variables" / "variables")
    model.step.assign(step)
    return model


def _restore(model: SequenceModel, prefix: Path) -> None:
    """Read all weights, then assign them."""
    try:
        reader = tf.train.load_checkpoint(str(prefix))
        values = [
            reader.get_tensor(f"weights/{i}/.ATTRIBUTES/VARIABLE_VALUE")
            for i in range(len(weights(model)))
        ]
    except Exception as error:  # of whatever kind TensorFlow's reader raises
        raise ValueError(f"{prefix}: its weights cannot be read: {error}") from error
    for (name, variable), value in zip(weights(model).items(), values, strict=True):
        if value.shape != tuple(variable.shape) or not np.isfinite(value).all():
            raise ValueError(
                f"{prefix}: weight {name} must be finite and of shape {tuple(variable.shape)}; "
                f"received shape {value.shape}"
            )
    for variable, value in zip(weights(model).values(), values, strict=True):
        variable.assign(value.astype(np.float32))

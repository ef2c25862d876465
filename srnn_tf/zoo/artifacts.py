"""A published model on disk: a SavedModel, its config and its card, checked before use.

    saved_models/NAME/VERSION/saved_model.pb, variables/, assets.extra/{config,card}.json

The graph is never executed. The config names registered classes, and the weights are read from the
SavedModel's variables as from any checkpoint. The card has the checksum of every
other file, and `card.sha256` beside it that of the card.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srnn_tf.core import files as atomic
from srnn_tf.core import reading

if TYPE_CHECKING:
    from srnn_tf.model import SequenceModel

FORMAT = 1
CONFIG, CARD, CARD_SHA256 = "config.json", "card.json", "card.sha256"
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


def read_json(path: Path, kind: str, finite: bool = True) -> dict[str, Any]:
    """Read a JSON object of this package's format.

    Args:
        path: the file.
        kind: what it should be, for errors.
        finite: refuse numbers that are not.

    Raises:
        ValueError: the file is missing, not a regular file, damaged, too large or of another
            format.
    """
    try:
        values = reading.read_json(path, finite=finite)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ValueError(f"{path} is missing: the folder holds no {kind}") from error
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is not a {kind}: {error}") from error
    received = values.get("format") if isinstance(values, dict) else None
    if type(received) is not int or received != FORMAT:
        shown = reading.shortened(received)
        raise ValueError(f"{path} is of format {shown}; this version reads {FORMAT}")
    return values


def write_card(path: Path, card: dict[str, Any]) -> None:
    """Write a card and, beside it, its checksum, which `read_card` compares.

    The checksum's file is that of `sha256sum`: `sha256sum -c card.sha256` says whether they fit.
    """
    text = to_json(card)
    digest = hashlib.sha256(text.encode()).hexdigest()
    sums = path.with_name(CARD_SHA256)
    # Between the two writes neither old nor new would fit: better none, which says nothing.
    sums.unlink(missing_ok=True)
    for target, content in ((path, text), (sums, f"{digest}  {CARD}\n")):
        with atomic.replacing(target) as temporary:
            temporary.write_text(content)


def read_card(path: Path, kind: str, expected: str | None = None) -> dict[str, Any]:
    """A card, compared with the checksum beside it, if there is one, and with the one expected.

    Args:
        path: the card.
        kind: what it should be, for errors.
        expected: its SHA-256, where it is known from elsewhere.

    Raises:
        ValueError: it is missing, damaged or of another format, or not what the checksum is of.
    """
    card = read_json(path, kind)
    sums, digest = path.with_name(CARD_SHA256), sha256(path)
    if os.path.lexists(sums):  # models published before it was written have none
        try:
            told = reading.read_bytes(sums, 1000).decode("ascii")
        except (OSError, ValueError) as error:
            raise ValueError(f"{sums} is not readable as a checksum: {error}") from error
        if told != f"{digest}  {CARD}\n":
            raise ValueError(f"{path} is damaged: its SHA-256 is not that of {CARD_SHA256}")
    if expected not in (None, digest):
        raise ValueError(f"{path} is damaged: its SHA-256 is not that of the published {kind}")
    return card


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
    def open(
        cls,
        folder: Path,
        name: str | None = None,
        version: int | None = None,
        card_sha256: str | None = None,
    ) -> Artifact:
        """Open the artefact in a folder.

        Args:
            folder: of one version.
            name: that the card must have; None for any.
            version: that the card must have; None for any.
            card_sha256: that the card must have; None for any.

        Raises:
            ValueError: its card is missing, damaged, of another format or another model.
        """
        path = folder / "assets.extra" / CARD
        card = read_card(path, "model's card", card_sha256)
        files = card.get("files")
        if not isinstance(files, dict) or set(files) != set(FILES):
            raise ValueError(f"{path} must have a checksum for each of {', '.join(FILES)}")
        wanted = {"name": name or card.get("name"), "version": version or card.get("version")}
        for key, value in wanted.items():
            if type(card.get(key)) is not type(value) or card.get(key) != value:
                raise ValueError(
                    f"{path} must be that of {key} {value!r}, as its folder is; its {key} is "
                    f"{reading.shortened(card.get(key))}"
                )
        if not isinstance(card.get("stand_in", False), bool) or card.get("stand_in"):
            raise ValueError(f"{path}: `stand_in` must be false for a model with weights")
        return cls(folder, card)

    def verify(self) -> None:
        """Compare every file with its checksum.

        Raises:
            ValueError: a file is missing or damaged.
        """
        for name in FILES:
            path = self.folder / name
            if not path.is_file():
                raise ValueError(f"{path} is missing: the model is incomplete; download it again")
            if sha256(path) != self.card["files"][name]:
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


def read(path: str | os.PathLike) -> SequenceModel:
    """Read the model of a folder that `srnn_tf.serving.export` wrote, or of a `.keras` file.

    It is not compiled. This executes no graph and imports no module: first import the modules that
    define your own classes. The sizes in a config are compared with the shapes of the weights
    before anything is built, so that a small file cannot claim much memory. Checksums are not
    compared; `load` does, for published models.

    Raises:
        ValueError: a file is missing or damaged, or does not fit the config; or a class is not
            registered, and the error names the module to import.

    Example:
        srnn_tf.zoo.read("exported/1")
    """
    from srnn_tf.zoo import stored

    path = Path(path)
    return stored.read_keras(path) if path.is_file() else _read_folder(path)


def _read_folder(folder: Path) -> SequenceModel:
    from srnn_tf.model import SequenceModel
    from srnn_tf.zoo import stored

    path = folder / "assets.extra" / CONFIG
    config = read_json(path, "model's config")
    weights_of = folder / "variables" / "variables"
    found = stored.Checkpoint.open(weights_of)
    try:
        shapes, step = config["weights"], config["step"]
        if type(step) is not int or not 0 <= step < 2**63:
            raise ValueError(f"`step` must be an integer from 0; received {step!r}")
        stored.check(config["model"], found.shapes)
        if shapes != stored.planned(config["model"], weights):
            raise ValueError("its weights are not those of its model")
        model = SequenceModel.from_config(config["model"])
    # Constructors of ours and of Keras raise any of these for values of other types.
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, LookupError) as error:
        raise ValueError(f"{path} describes no model of this version: {error}") from error
    found.restore(weights(model))
    model.step.assign(step)
    return model

"""One handle for a model: a published name, a `.keras` file, a run folder, an exported folder."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import math
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srnn_tf.core import checks
from srnn_tf.core.registry import unknown
from srnn_tf.data import Standardization, modality
from srnn_tf.zoo import artifacts, models

if TYPE_CHECKING:
    from srnn_tf.model import SequenceModel

ACCEPTED = (
    "accepted are a published name (`srnn-tf list`), a .keras file, the folder of a run of "
    "`srnn-tf train`, and an exported folder"
)
_VERSION = re.compile(r"[1-9][0-9]{0,8}")
# Who reads the folder of a run, which is made further down in the package.
_RUNS = "srnn_tf.experiments.trained_on"


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Published:
    """A model by any handle, as `open` returns it.

    Args:
        name: its name; of a file or a folder of one's own that of the file or folder.
        card: its card, or what is known under the same keys: `event_size`, `sample_rate`, `data`,
            `structure`, `emission`, `parameters`, `test`, ... A model without a card has the entry
            `bound`, "exact" or "ELBO", and an empty `test` where it was not evaluated.
        scale: a function that returns its standardization.
        loader: a function that loads it.
        place: a function that returns the folder or file.
        source: "name", "keras", "run" or "export".
        details: entries for the config of an export.
    """

    name: str
    card: Mapping[str, Any]
    scale: Callable[[], Standardization | None]
    loader: Callable[[], SequenceModel]
    place: Callable[[], Path]
    source: str = "name"
    details: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __repr__(self) -> str:
        return f"<Published {self.name}: {self.source}>"

    @functools.cached_property
    def folder(self) -> Path:
        """The folder of the model, or its file, after a check of every file that has a checksum."""
        return self.place()

    def load(self) -> SequenceModel:
        """Load the model, compiled to fine-tune on similar data.

        Raises:
            ValueError: a file is damaged.

        Example:
            srnn_tf.zoo.open("runs/mine").load().sample(1, 64, seed=0)
        """
        return self.loader()

    @functools.cached_property
    def standardization(self) -> Standardization | None:
        """The standardization of the training data; None if they are not standardized.

        Of a `.keras` file it is not known, and None.
        """
        return self.scale()

    def check_standardization(self, what: str) -> None:
        """Check that the standardization is known, which files other than arrays need.

        Args:
            what: what is read or written, for the error.

        Raises:
            ValueError: it is not known, and the model's modality is standardized.
        """
        if self.source in ("name", "run") or self.standardization is not None:
            return
        kind = self.card["data"].get("kind") or modality.of_width(self.card["event_size"]).name
        if kind in modality.MODALITIES and not modality.MODALITIES[kind].standardized:
            return
        raise ValueError(
            f"{what}: {self.folder} does not say how its data were standardized; give arrays of "
            "standardized frames (.npy, .npz), or the folder of the run, or an export with its "
            "`standardization`"
        )


def open_(
    handle: str | os.PathLike | Published,
    version: int | None = None,
    root: str | os.PathLike | None = None,
) -> Published:
    """Open a model: a published name, a `.keras` file, a run folder or an exported folder.

    A published name goes before a file of the same name; write `./NAME` for the file. Nothing is
    written. Only of a `.keras` file are weights read before `load`.

    Args:
        handle: the name or path. An exported folder is one of a version, or the folder of several,
            of which the newest is taken.
        version: of a name, or of a folder of versions; the newest by default.
        root: for a name, the only folder of published models to search.

    Raises:
        ValueError: nothing of this name is published and no such file exists, it is no model, or a
            file is damaged.
        OSError: the download failed.

    Example:
        srnn_tf.zoo.open("f_rnn_bach").card["test"]["full"]["exact"]["value"]
        srnn_tf.zoo.open("runs/mine").load()
    """
    if isinstance(handle, Published):
        return handle
    if not isinstance(handle, (str, os.PathLike)) or not os.fspath(handle):
        raise ValueError(f"a model must be a name or a path; received {handle!r}. {ACCEPTED}")
    if version is not None:
        checks.sizes(version=version)
    text, path = os.fspath(handle), Path(handle)
    if root is not None or (isinstance(handle, str) and text in models.names(published=True)):
        return _named(text, version, root)
    if path.is_dir():
        return _folder(path, version)
    if version is not None and os.path.lexists(path):
        raise ValueError(f"version={version} is of a published name or an exported folder: {text}")
    if path.is_file() and path.suffix.lower() == ".keras":
        return _keras(path)
    if os.path.lexists(path):
        raise ValueError(f"{text} is no model: {ACCEPTED}")
    if artifacts.NAME.fullmatch(text) and text in models.names():
        return _named(text, version, root)  # a recipe without weights: the error says what to do
    of_names = unknown("model", text, models.names(published=True))
    raise ValueError(f"{of_names}; no such file or folder exists either: {ACCEPTED}")


def _named(name: str, version: int | None, root: str | os.PathLike | None) -> Published:
    return Published(
        name,
        models.card(name, version, root),
        lambda: models.standardization(name, version, root),
        lambda: models.load(name, version, root),
        lambda: models.folder(name, version, root),
    )


def _folder(path: Path, version: int | None) -> Published:
    if (path / "run.json").is_file():
        if version is not None:
            raise ValueError(f"version={version}: {path} is the folder of a run, and has none")
        return importlib.import_module(_RUNS).published(path)
    config = Path("assets.extra") / artifacts.CONFIG
    versions = {int(p.name): p for p in path.iterdir() if _VERSION.fullmatch(p.name)}
    if (path / config).is_file():
        if version not in (None, int(path.name) if _VERSION.fullmatch(path.name) else None):
            raise ValueError(f"version={version}: {path} is the folder of one version")
        return _exported(path)
    exports = {number: p for number, p in versions.items() if (p / config).is_file()}
    if exports:
        if version is not None and version not in exports:
            known = ", ".join(map(str, sorted(exports)))
            raise ValueError(f"version={version} of {path} does not exist; there are {known}")
        return _exported(exports[max(exports) if version is None else version])
    raise ValueError(f"{path} holds no model{_what_it_is(path)}: {ACCEPTED}")


def _what_it_is(path: Path) -> str:
    """What a folder is instead, where that is easily told."""
    if (path / "dataset_info.json").is_file():
        return ", but prepared data"
    if (path / "saved_model.pb").is_file():
        return f", but a SavedModel of another program (no assets.extra/{artifacts.CONFIG})"
    return ""


def _exported(folder: Path) -> Published:
    """The model of a folder that `serving.export` wrote, with a card where it was published."""
    name = folder.resolve()
    name = (name.parent if _VERSION.fullmatch(name.name) else name).name
    config = artifacts.read_json(folder / "assets.extra" / artifacts.CONFIG, "model's config")
    path = folder / "assets.extra" / artifacts.CONFIG
    artifact = None
    if os.path.lexists(folder / "assets.extra" / artifacts.CARD):
        artifact = artifacts.Artifact.open(folder)
    try:
        model = config["model"]
        size, rate = model["event_size"], config.get("sample_rate")
        checks.sizes(event_size=size, **({} if rate is None else {"sample_rate": rate}))
        scale = Standardization.from_config(config.get("standardization"), size)
        card: Mapping[str, Any] = artifact.card if artifact else _card(name, model, config, rate)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{path} describes no model of this version: {error}") from error

    def load() -> SequenceModel:
        loaded = artifact.load() if artifact else artifacts.read(folder)
        try:
            models.compile_to_fine_tune(loaded, config.get("compile", {}))
        except Exception as error:  # of whatever kind values of other types raise
            raise ValueError(f"{path}: its `compile` is none: {error}") from error
        return loaded

    def place() -> Path:
        if artifact:
            artifact.verify()
        return folder

    details = {key: config[key] for key in ("recipe", "compile", "kind") if key in config}
    return Published(name, card, lambda: scale, load, place, "export", details)


def _card(
    name: str, model: Mapping[str, Any], config: Mapping[str, Any], rate: int | None
) -> dict[str, Any]:
    """What a config says of a model, under the keys of a card."""
    structure = dict(model["structure"])
    kind = config.get("kind")
    return {
        "name": name,
        "structure": structure,
        "emission": dict(model["emission"]),
        "event_size": model["event_size"],
        "window": model.get("window"),
        "parameters": sum(map(math.prod, config["weights"].values())),
        "bound": "ELBO" if "latent_size" in structure else "exact",
        "data": {"name": None, **({"kind": kind} if isinstance(kind, str) else {})},
        "test": {},
        "sample_rate": rate,
    }


def _keras(path: Path) -> Published:
    """The model of a `.keras` file; it is loaded, since only so its sizes are known."""
    try:
        model = artifacts.read(path)
    except ValueError as error:
        raise ValueError(f"{error}. {ACCEPTED[0].upper()}{ACCEPTED[1:]}") from error
    described = {
        "structure": model.get_config()["structure"],
        "emission": model.get_config()["emission"],
        "event_size": model.event_size,
        "window": model.window,
    }
    counted = {"weights": {v.path: list(v.shape) for v in model.trainable_variables}}
    card = _card(path.stem, described, counted, None)

    def load() -> SequenceModel:
        models.compile_to_fine_tune(model, {})
        return model

    return Published(path.stem, card, lambda: None, load, lambda: path, "keras")

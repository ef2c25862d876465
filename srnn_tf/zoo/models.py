"""Published models by name, and fresh ones as their recipes say; see `srnn_tf.zoo`."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import keras

from srnn_tf import objectives, recipes
from srnn_tf.core import checks, files
from srnn_tf.core.registry import unknown
from srnn_tf.data import Standardization
from srnn_tf.model import SequenceModel
from srnn_tf.zoo import artifacts, store

_warned: set[str] = set()
# For music of one's own, the best first; the last are in every checkout.
_RECOMMENDED = ("rnn_hier_mlp_music", "f_rnn_muse")


def names(published: bool = False, root: str | os.PathLike | None = None) -> list[str]:
    """All names, `{model}_{dataset}`; with `published` those that `load` has weights of.

    Args:
        published: leave out recipes without weights.
        root: a folder of published models to look into, and no other.

    Example:
        >>> "f_srnn_bach" in names()
        True
    """
    available = store.names(root)
    return sorted(available if published else available | set(recipes.RECIPES))


def recommended() -> str:
    """The published model of music for MIDI files and piano rolls that come as they come.

    It was trained in all keys, on the widest choice of music; docs/zoo.md compares it with others.

    Example:
        >>> recommended() in names(published=True)
        True
    """
    published = store.names()
    return next(name for name in _RECOMMENDED if name in published)


def register_root(path: str | os.PathLike) -> None:
    """Look into a folder of published models, those of `srnn-tf publish`, before all others.

    Raises:
        FileNotFoundError: it is not a folder.
    """
    store.register(path)


def card(
    name: str, version: int | None = None, root: str | os.PathLike | None = None
) -> dict[str, Any]:
    """What is known of a published model: data, training, scores with unit, protocol and bound.

    Args:
        name: one of `names(published=True)`.
        version: the newest on this machine by default, else the newest that was published.
        root: a folder of published models to look into, and no other.

    Raises:
        ValueError: an unknown name or version, a damaged card.
        OSError: it must be downloaded and cannot be.

    Example:
        srnn_tf.zoo.card("f_rnn_nottingham")["test"]["paper"]["value"]
    """
    return _find(name, version, root).card


def load(
    name: str, version: int | None = None, root: str | os.PathLike | None = None
) -> SequenceModel:
    """A published model: score, sample, or go on training it with `fit`.

    Every file is compared with its checksum; weights are read as a checkpoint, no graph is run. The
    model is compiled as its recipe says, with Adam at a tenth of the recipe's first learning rate,
    for data like its own; call `compile` for anything else.

    Args:
        name: one of `names(published=True)`.
        version: the newest by default.
        root: a folder of published models to look into, and no other.

    Raises:
        ValueError: an unknown name or version, no published weights, a damaged file.
        OSError: it must be downloaded and cannot be.

    Warns:
        UserWarning: once, where the weights are of other data than the name's.

    Example:
        model = srnn_tf.zoo.load("f_rnn_bach")
        model.log_prob(srnn_tf.data.load("bach").test[0][None])  # nats, exact
    """
    artifact = _find(name, version, root)
    model = artifact.load()
    options = artifact.config().get("compile", {})
    try:
        _compile(model, options)
    except Exception as error:  # of whatever kind values of other types raise
        path = artifact.folder / "assets.extra" / artifacts.CONFIG
        shown = files.shortened(options, 200)
        raise ValueError(f"{path}: its `compile`, {shown}, is none: {error}") from error
    if artifact.card.get("stand_in") and name not in _warned:
        _warned.add(name)
        warnings.warn(f"{name} is a substitute: {artifact.card['statement']}", stacklevel=2)
    return model


def _compile(model: SequenceModel, options: dict[str, Any]) -> None:
    checks.weight(learning_rate=options.get("learning_rate", 1e-4))
    optimizer = keras.optimizers.Adam(options.get("learning_rate", 1e-4))
    kept = {key: options[key] for key in ("clipnorm", "loss_per") if key in options}
    if "objective" in options:  # older artefacts have the KL schedule in the model's config
        kept["objective"] = objectives.get(options["objective"])
    model.compile(optimizer, **kept)


def standardization(
    name: str, version: int | None = None, root: str | os.PathLike | None = None
) -> Standardization | None:
    """What undoes, or does, the standardization of a published model's data; None if it has none.

    Raises:
        ValueError, OSError: as in `load`.

    Example:
        scale = srnn_tf.zoo.standardization("f_rnn_speech_commands")
        srnn_tf.data.write_wav(model.sample(1, 80, seed=0)[0], "sound.wav", scale)
    """
    artifact = _find(name, version, root)
    artifact.verify()
    config = artifact.config()
    try:
        return Standardization.from_config(
            config.get("standardization"), config["model"]["event_size"]
        )
    except (KeyError, TypeError, ValueError) as error:
        path = artifact.folder / "assets.extra" / artifacts.CONFIG
        raise ValueError(f"{path}: its `standardization` is none: {error}") from error


def folder(name: str, version: int | None = None, root: str | os.PathLike | None = None) -> Path:
    """The SavedModel of a published model, every file compared with its checksum.

    Raises:
        ValueError, OSError: as in `load`.

    Example:
        tf.saved_model.load(str(srnn_tf.zoo.folder("f_rnn_bach"))).signatures["score"]
    """
    artifact = _find(name, version, root)
    artifact.verify()
    return artifact.folder


def build(
    name: str,
    seed: int = 0,
    dtype: str | None = None,
    candidate: str | None = None,
) -> SequenceModel:
    """A model with fresh weights, as its recipe says.

    Args:
        name: one of `names()`.
        seed: of everything random in training.
        dtype: the dtype policy; Keras' own by default.
        candidate: of the recipe's `candidates`, such as "zforcing_0.0025_0"; the recipe's own
            structure by default.

    Raises:
        ValueError: an unknown name or candidate; the error suggests the nearest known one.

    Example:
        >>> build("f_rnn_bach").count_params() > 570_000
        True
    """
    recipe, policy = recipes.get(name), {} if dtype is None else {"dtype": dtype}
    return SequenceModel(
        {**recipe.candidate(candidate), **policy},
        {**recipe.emission, **policy},
        event_size=recipe.event_size,
        window=recipe.window,
        seed=seed,
    )


def _find(name: str, version: int | None, root: Any) -> artifacts.Artifact:
    """The artefact of a name, its card that of the name."""
    if version is not None:
        checks.sizes(version=version)
    if not isinstance(name, str) or name not in names(root=root):
        raise unknown("model", name, names(root=root))
    alias = store.alias(name, root)
    if alias is not None:
        target_name, root = alias.card["alias_of"], alias.root
        if store.alias(target_name, root) is not None:
            raise ValueError(f"{name} stands for {target_name!r}, a substitute itself")
        if target_name not in names(published=True, root=root):
            where = "" if root is None else f" in {root}"
            raise ValueError(f"{name} stands for {target_name!r}, which is not published{where}")
        target = _find(target_name, version, root)
        own = {k: alias.card[k] for k in ("alias_of", "stand_in", "statement")}
        return artifacts.Artifact(target.folder, {**target.card, **own, "name": name})
    here = store.versions(name, root)
    there = {} if root is not None else _downloadable(name)
    known = sorted({*here, *there})
    if not known:
        raise ValueError(_no_weights(name))
    chosen = max(here or there) if version is None else version
    if chosen not in known:
        raise ValueError(
            f"version={version} of {name} does not exist; published: {', '.join(map(str, known))}"
        )
    folder = here[chosen] if chosen in here else store.download(name, chosen, there[chosen])
    sha256 = store.card_sha256(name, chosen, folder)
    return artifacts.Artifact.open(folder, name, chosen, sha256)


def _downloadable(name: str) -> dict[int, str]:
    versions = store.published().get(name, {}).get("versions", {})
    return {int(version): checksum for version, checksum in versions.items()}


def _no_weights(name: str) -> str:
    dataset = recipes.get(name).dataset
    data = {"bach": "", "music": " --data FOLDER"}.get(dataset, f" --data prepared/{dataset}")
    return (
        f"{name} has a recipe and no published weights. Train it: `srnn-tf train {name}"
        f"{data} --out runs/{name}`, then `srnn-tf evaluate` and `srnn-tf publish`; "
        f"or take fresh weights: `srnn_tf.zoo.build({name!r})`"
    )

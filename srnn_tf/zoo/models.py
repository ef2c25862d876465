"""Published models by name, and models with fresh weights from recipes; see `srnn_tf.zoo`."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from srnn_tf import recipes
from srnn_tf.core import checks, reading
from srnn_tf.core.registry import unknown
from srnn_tf.zoo import artifacts, store

if TYPE_CHECKING:  # what needs TensorFlow is imported where it is used: names and cards do not
    from srnn_tf.data import Standardization
    from srnn_tf.model import SequenceModel

_warned: set[str] = set()
# For a user's own music, the best first; the last is always published.
_RECOMMENDED = ("rnn_hier_mlp_music", "f_rnn_muse")


def names(published: bool = False, root: str | os.PathLike | None = None) -> list[str]:
    """The names of all models, `{model}_{dataset}`.

    Args:
        published: only models with published weights, which `load` accepts.
        root: the only folder of published models to search; by default the search path of
            `srnn_tf.zoo`.

    Example:
        >>> "f_srnn_bach" in names()
        True
    """
    available = store.names(root)
    return sorted(available if published else available | set(recipes.RECIPES))


def installed() -> list[str]:
    """The names of the published models whose weights are on this machine.

    Example:
        >>> "f_rnn_bach" in installed()
        True
    """
    return [name for name in names(published=True) if _locate(name, None, None).folder is not None]


def recommended() -> str:
    """The name of the published model to use for a user's own MIDI files and piano rolls.

    Of the published models it generalizes best to music from other sources; docs/zoo.md compares
    them.

    Example:
        >>> recommended() in names(published=True)
        True
    """
    published = store.names()
    return next(name for name in _RECOMMENDED if name in published)


def register_root(path: str | os.PathLike) -> None:
    """Search a folder of published models, as `srnn-tf publish` writes it, before all others.

    Raises:
        FileNotFoundError: `path` is not a folder.
    """
    store.register(path)


def card(
    name: str, version: int | None = None, root: str | os.PathLike | None = None
) -> dict[str, Any]:
    """The card of a published model: data, training, scores with unit, protocol and bound.

    The package has the cards of all published models: nothing is downloaded.

    Args:
        name: one of `names(published=True)`.
        version: by default the newest on this machine, or else the newest to download.
        root: the only folder of published models to search; by default the search path of
            `srnn_tf.zoo`.

    Raises:
        ValueError: the name or version is unknown, or the card is damaged.
        OSError: a folder of published models cannot be read.

    Example:
        srnn_tf.zoo.card("f_rnn_nottingham")["test"]["paper"]["value"]
    """
    place = _locate(name, version, root)
    if place.folder is None:
        known = store.published_card(place.name, place.version)
        if known is not None:
            return {**known, **place.alias}
    return _open(place).card


def load(
    name: str, version: int | None = None, root: str | os.PathLike | None = None
) -> SequenceModel:
    """Load a published model, to score, to sample, or to continue training with `fit`.

    Every file is compared with its checksum. Weights are read as a checkpoint; no graph is
    executed. The model is compiled as in its recipe, with Adam at a tenth of the recipe's first
    learning rate, to fine-tune on similar data. Call `compile` for other settings.

    Args:
        name: one of `names(published=True)`.
        version: by default the newest on this machine, or else the newest to download.
        root: the only folder of published models to search; by default the search path of
            `srnn_tf.zoo`.

    Raises:
        ValueError: the name or version is unknown, there are no published weights, or a file is
            damaged.
        OSError: the download failed.

    Warns:
        UserWarning: once, if the model is a substitute: trained on other data than its name says.

    Example:
        model = srnn_tf.zoo.load("f_rnn_bach")
        model.log_prob(srnn_tf.data.load("bach").test[0][None])  # nats, exact
    """
    artifact = _find(name, version, root)
    model = artifact.load()
    options = artifact.config().get("compile", {})
    try:
        compile_to_fine_tune(model, options)
    except Exception as error:  # of whatever kind values of other types raise
        path = artifact.folder / "assets.extra" / artifacts.CONFIG
        shown = reading.shortened(options, 200)
        raise ValueError(f"{path}: its `compile`, {shown}, is none: {error}") from error
    if artifact.card.get("stand_in") and name not in _warned:
        _warned.add(name)
        warnings.warn(f"{name} is a substitute: {artifact.card['statement']}", stacklevel=2)
    return model


def compile_to_fine_tune(model: SequenceModel, options: dict[str, Any]) -> None:
    """Compile a model with Adam, at the learning rate of the options or 1e-4."""
    import keras

    from srnn_tf import objectives

    checks.weight(learning_rate=options.get("learning_rate", 1e-4))
    optimizer = keras.optimizers.Adam(options.get("learning_rate", 1e-4))
    kept = {key: options[key] for key in ("clipnorm", "loss_per") if key in options}
    if "objective" in options:  # older artefacts have the KL schedule in the model's config
        kept["objective"] = objectives.get(options["objective"])
    model.compile(optimizer, **kept)


def standardization(
    name: str, version: int | None = None, root: str | os.PathLike | None = None
) -> Standardization | None:
    """The standardization of a published model's data; None if they are not standardized.

    Args:
        name, version, root: as in `load`.

    Raises:
        ValueError, OSError: as in `load`.

    Example:
        scale = srnn_tf.zoo.standardization("f_rnn_speech_commands")
        srnn_tf.data.write_wav(model.sample(1, 80, seed=0)[0], "sound.wav", scale)
    """
    from srnn_tf.data import Standardization

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
    """The folder of a published model's SavedModel, after every checksum was compared.

    Args:
        name, version, root: as in `load`.

    Raises:
        ValueError, OSError: as in `load`.

    Example:
        tf.saved_model.load(str(srnn_tf.zoo.folder("f_rnn_bach"))).signatures["score"]
    """
    artifact = _find(name, version, root)
    artifact.verify()
    return artifact.folder


def build(
    name: str | recipes.Recipe,
    seed: int = 0,
    dtype: str | None = None,
    candidate: str | None = None,
) -> SequenceModel:
    """Build the model of a recipe, with fresh weights.

    Args:
        name: one of `names()`, or a recipe.
        seed: the seed of all random draws in training.
        dtype: the dtype policy; Keras' global policy by default.
        candidate: one of the recipe's `candidates`, such as "zforcing_0.0025_0"; the recipe's
            structure by default.

    Raises:
        ValueError: the name or candidate is unknown; the error suggests the nearest known one.

    Example:
        >>> build("f_rnn_bach").count_params() > 570_000
        True
    """
    from srnn_tf.model import SequenceModel

    recipe = name if isinstance(name, recipes.Recipe) else recipes.get(name)
    policy = {} if dtype is None else {"dtype": dtype}
    return SequenceModel(
        {**recipe.candidate(candidate), **policy},
        {**recipe.emission, **policy},
        event_size=recipe.event_size,
        window=recipe.window,
        seed=seed,
    )


class _Place(NamedTuple):
    """Where a version of a model is.

    Args:
        name: of the model that has the weights.
        version: of it.
        folder: on this machine; None where it must be downloaded.
        alias: what the card of a substitute says in place of that model's.
    """

    name: str
    version: int
    folder: Path | None
    alias: dict[str, Any]


def _find(name: str, version: int | None, root: str | os.PathLike | None) -> artifacts.Artifact:
    """The artefact of a name, its card that of the name."""
    return _open(_locate(name, version, root))


def _open(place: _Place) -> artifacts.Artifact:
    folder = place.folder
    if folder is None:
        checksum = _downloadable(place.name)[place.version]
        folder = store.download(place.name, place.version, checksum)
    found = store.opened(place.name, place.version, folder)
    return artifacts.Artifact(found.folder, {**found.card, **place.alias})


def _locate(name: str, version: int | None, root: str | os.PathLike | None) -> _Place:
    if version is not None:
        checks.sizes(version=version)
    # Reading the folders takes longer than asking the recipes, which `list` does for each name.
    if not isinstance(name, str) or (name not in recipes.RECIPES and name not in store.names(root)):
        raise unknown("model", name, names(root=root))
    alias = store.alias(name, root)
    if alias is not None:
        target_name, root = alias.card["alias_of"], alias.root
        if store.alias(target_name, root) is not None:
            raise ValueError(f"{name} is an alias of {target_name!r}, which is a substitute itself")
        if target_name not in names(published=True, root=root):
            where = "" if root is None else f" in {root}"
            raise ValueError(
                f"{name} is an alias of {target_name!r}, which is not published{where}"
            )
        target = _locate(target_name, version, root)
        own = {k: alias.card[k] for k in ("alias_of", "stand_in", "statement")}
        return target._replace(alias={**own, "name": name})
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
    return _Place(name, chosen, here.get(chosen), {})


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

"""The store of published models: folders on this machine, and an address to download from.

It imports no TensorFlow, so that names and cards are quick to get.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import importlib.util
import logging
import math
import os
import re
import sys
import time
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import platformdirs

from srnn_tf.core import files, reading
from srnn_tf.zoo import artifacts, fetching

# The models that the wheel embeds, of which the first is what to begin with: setup.py reads them.
EMBEDDED = ("rnn_hier_mlp_bach", "f_rnn_bach")
# Installed distributions of models have an entry point of this group: their top-level package,
# which is a folder of published models.
GROUP = "srnn_tf.models"

_registered: list[Path] = []
_skipped: set[Path] = set()  # folders of which a warning was given
# What is published, with the checksums of the cards: name -> version -> SHA-256.
_PUBLISHED = Path(__file__).with_name("published.json")
# Their cards, NAME/VERSION.json, byte by byte as in the models' folders.
_CARDS = Path(__file__).with_name("cards")
_FOLDER = Path(__file__).with_name("embedded")  # of EMBEDDED; a checkout has none
RETRIES = 2  # of a file whose connection broke, or that came damaged
MOST_OF_A_CARD, MOST = 1 << 20, 1 << 30  # bytes
_CARD = f"assets.extra/{artifacts.CARD}"
_VERSION = re.compile(r"[1-9][0-9]{0,8}")
# All that the card of a name that stands for another one says: it must not change what is checked.
_ALIAS = {"format": int, "name": str, "alias_of": str, "stand_in": bool, "statement": str}


def register(path: str | os.PathLike) -> None:
    """Search a folder of published models before all others.

    Raises:
        FileNotFoundError: `path` is not a folder.
    """
    _registered.insert(0, _folder(path, "path"))


def roots(root: str | os.PathLike | None = None) -> list[Path]:
    """The search path, first to last; with `root` that folder alone.

    Raises:
        FileNotFoundError: `root`, or a folder of `SRNN_TF_ZOO`, does not exist.
    """
    if root is not None:
        return [_folder(root, "root")]
    named = filter(None, os.environ.get("SRNN_TF_ZOO", "").split(os.pathsep))
    given = [*_registered, *(_folder(path, "SRNN_TF_ZOO") for path in named)]
    return list(dict.fromkeys([*given, *filter(Path.is_dir, _own()), *installed()]))


def _own() -> list[Path]:
    """The folders that this package fills: what they hold is what `published.json` says."""
    checkout = Path(__file__).parents[2] / "saved_models"
    share = Path(sys.prefix) / "share" / "srnn_tf" / "saved_models"
    return [checkout, _FOLDER, share, cache()]


def is_own(root: Path) -> bool:
    """Whether a folder of published models is one that this package fills."""
    return any(root.resolve() == own.resolve() for own in _own())


def cache() -> Path:
    """The folder of downloads: `SRNN_TF_CACHE`, or one in the user's cache."""
    given = os.environ.get("SRNN_TF_CACHE")
    if given:
        return Path(given)
    return platformdirs.user_cache_path("srnn_tf", appauthor=False) / "saved_models"


def installed() -> list[Path]:
    """The folders of installed distributions of models, such as `srnn-tf-models-music`."""
    return list(_installed(tuple(sys.path)))


@functools.lru_cache(maxsize=8)
def _installed(path: tuple[str, ...]) -> tuple[Path, ...]:
    found = []
    for entry in sorted(importlib.metadata.entry_points(group=GROUP)):
        # Of a package within another one, the outer one would be imported, and its code run.
        spec = None
        with contextlib.suppress(ImportError, ValueError):
            spec = None if "." in entry.module else importlib.util.find_spec(entry.module)
        if spec is None or not spec.submodule_search_locations:
            warnings.warn(
                f"the entry point {entry.name!r} of the group {GROUP} is skipped: {entry.value!r} "
                "is no top-level package",
                stacklevel=2,
            )
            continue
        found += [Path(location) for location in spec.submodule_search_locations]
    return tuple(folder for folder in found if folder.is_dir())


def distribution(card: Mapping[str, Any]) -> str:
    """The name of the distribution that has the weights of one of our cards.

    Example:
        >>> distribution({"name": "f_rnn_jsb", "data": {"name": "jsb"}, "event_size": 88})
        'srnn-tf-models-music'
    """
    known = {88: "pianoroll", 3: "handwriting", 200: "speech"}  # of cards that do not say it
    kind = card["data"].get("kind") or known[card["event_size"]]
    end = "music" if kind == "pianoroll" else kind
    if card["data"]["name"] == "nottingham":  # whose models are many; `music` requires it
        end = "nottingham"
    if kind == "speech":  # whose models are large: one for each
        model = card["name"].removesuffix(f"_{card['data']['name']}")
        end = f"speech-{model.replace('_', '-')}"
    return f"srnn-tf-models-{end}"


def _folder(path: str | os.PathLike, name: str) -> Path:
    if not Path(path).is_dir():
        raise FileNotFoundError(f"{name}={str(path)!r} is not a folder of published models")
    return Path(path)


def published() -> dict[str, Any]:
    """The models to download: name -> {"versions": {version: SHA-256 of its card}} or an alias.

    Raises:
        ValueError: the package's own list is damaged.
    """
    index = reading.read_json(_PUBLISHED)
    if not isinstance(index, dict) or not all(isinstance(entry, dict) for entry in index.values()):
        raise ValueError(f"{_PUBLISHED} is damaged: it must hold an object for each name")
    return index


def card_sha256(name: str, version: int, folder: Path) -> str | None:
    """The checksum that the card of a version in `folder` must have; None where it is not known.

    What users publish in a folder of their own may have the name of ours.
    """
    if not is_own(folder.parents[1]):
        return None
    return published().get(name, {}).get("versions", {}).get(str(version))


def published_card(name: str, version: int) -> dict[str, Any] | None:
    """The card of a published version, which the package has whether or not its weights are here.

    Raises:
        ValueError: it is damaged.
    """
    checksum = published().get(name, {}).get("versions", {}).get(str(version))
    path = _CARDS / name / f"{version}.json"
    if checksum is None or not path.is_file():
        return None
    return artifacts.read_card(path, "model's card", checksum)


def opened(name: str, version: int, folder: Path) -> artifacts.Artifact:
    """The artefact of a version in its folder, its card checked.

    Raises:
        ValueError: the card is damaged, or not of what the package knows under this name.
    """
    checksum = card_sha256(name, version, folder)
    artifact = artifacts.Artifact.open(folder, name, version, checksum)
    # A distribution may be older or newer than the package, and its card with it: a card may gain
    # scores. What it is of, the files, never changes.
    if folder.parents[1] in installed() and (known := published_card(name, version)):
        if artifact.card["files"] != known["files"]:
            raise ValueError(
                f"{folder} is not {name} version {version} as it was published: its files have "
                f"other checksums; `pip install --upgrade srnn-tf {distribution(known)}`"
            )
    return artifact


def numbers(folder: Path) -> dict[int, Path]:
    """The versions in the folder of a name."""
    found = (p for p in folder.glob("*") if _VERSION.fullmatch(p.name) and p.is_dir())
    return {int(path.name): path for path in found}


def versions(name: str, root: str | os.PathLike | None = None) -> dict[int, Path]:
    """The folder of each version of a model, in the first root that has it."""
    folders: dict[int, Path] = {}
    for folder in roots(root):
        folders = {**numbers(folder / name), **folders}
    return folders


class Alias(NamedTuple):
    """A name that is an alias of another one.

    Args:
        card: what it says.
        root: the folder that it is in, and its target too; None for any.
    """

    card: dict[str, Any]
    root: Path | None


def alias(name: str, root: str | os.PathLike | None = None) -> Alias | None:
    """The alias of a name, or None.

    Raises:
        ValueError: the card is damaged, or that of another name.
    """
    entry = published().get(name, {})
    for folder in roots(root):
        path = folder / name / artifacts.CARD
        if os.path.lexists(path):
            card = _alias_card(path, name)
            told = {k: v for k, v in card.items() if k not in ("format", "name")}
            ours = is_own(folder)
            if ours and "alias_of" in entry and told != entry:
                raise ValueError(f"{path} is damaged: it is not what was published of {name}")
            # What the package publishes may be in a checkout in part, and downloaded for the rest.
            return Alias(card, folder if root is not None or not ours else None)
    if root is None and "alias_of" in entry:
        return Alias(entry, None)
    return None


def _alias_card(path: Path, name: str) -> dict[str, Any]:
    card = artifacts.read_card(path, "substitute's card")
    target = card.get("alias_of")
    if not isinstance(target, str) or not artifacts.NAME.fullmatch(target):
        shown = reading.shortened(target)
        raise ValueError(f"{path} must name a model under `alias_of`; received {shown}")
    wrong = [k for k, v in card.items() if k not in _ALIAS or type(v) is not _ALIAS[k]]
    wrong += [k for k in _ALIAS if k not in card] + ["stand_in"] * (card.get("stand_in") is False)
    if wrong:
        raise ValueError(
            f"{path}: an alias has {', '.join(_ALIAS)}, `stand_in` true; received for "
            f"{reading.shortened(wrong[0])} {reading.shortened(card.get(wrong[0]))}"
        )
    if card["name"] != name:
        raise ValueError(
            f"{path} must be that of name {name!r}, as its folder is; its name is "
            f"{reading.shortened(card['name'])}"
        )
    return card


def names(root: str | os.PathLike | None = None) -> set[str]:
    """The names of all models in the roots, and of all models to download."""
    known = set() if root is not None else set(published())
    for folder in roots(root):
        for path in sorted(folder.iterdir()):
            if not artifacts.NAME.fullmatch(path.name):
                continue
            held = numbers(path).values()
            if os.path.lexists(path / artifacts.CARD) or any(
                os.path.lexists(version / _CARD) for version in held
            ):
                known.add(path.name)
            elif path not in _skipped and (held or (path / "saved_model.pb").exists()):
                _skipped.add(path)
                warnings.warn(
                    f"{path} is skipped: it has no card, and is no published model; read an "
                    "exported one with srnn_tf.zoo.read",
                    stacklevel=3,
                )
    return known


def download(name: str, version: int, card_sha256: str) -> Path:
    """Download a published version into the cache, check every file, and return its folder.

    An interrupted download is resumed. A second process waits for the first. Neither takes longer
    than `SRNN_TF_ZOO_TIMEOUT` seconds, 600 by default.

    Raises:
        OSError: no address is configured, it does not answer in time, the cache cannot be written,
            or another process downloads for too long.
        ValueError: a file is not the one that was published, or larger than it can be; the address
            is none; or there is a link in the place of a folder of the cache.
    """
    base = os.environ.get("SRNN_TF_ZOO_URL")
    if not base:
        install = ""
        with contextlib.suppress(ValueError):  # of a damaged card, which is no reason here
            if card := published_card(name, version):
                install = f"`pip install {distribution(card)}`, or "
        raise OSError(
            f"{name} version {version} is in none of {', '.join(map(str, roots()))}; {install}"
            "set SRNN_TF_ZOO_URL to an address to download it from, or SRNN_TF_ZOO to a folder"
        )
    if not artifacts.NAME.fullmatch(name):
        raise ValueError(f"name={name!r} is no name of a model")
    address, seconds = fetching.Address.of(base), _timeout()
    target, part = cache() / name / str(version), cache() / f".{name}.{version}.part"
    with _alone(cache() / f".{name}.{version}.lock", f"{name} version {version}", seconds):
        _check_no_links(target)
        if target.is_dir():
            return target  # of a process that was faster
        deadline = time.monotonic() + seconds
        source = address.below(f"{name}/{version}")
        file = _fetch(source, _CARD, card_sha256, MOST_OF_A_CARD, part, deadline)
        card = artifacts.Artifact.open(file.parents[1], name, version, card_sha256).card
        sizes = card.get("sizes")
        for path, checksum in card["files"].items():
            size = sizes.get(path) if isinstance(sizes, dict) else None
            _fetch(source, path, checksum, MOST, part, deadline, size)
        _remove_others(part, {_CARD, *card["files"]})
        with files.made(target.parent):
            os.replace(part, target)
    return target


def _timeout() -> float:
    given = os.environ.get("SRNN_TF_ZOO_TIMEOUT") or "600"
    try:
        if 0.0 < float(given) < math.inf:
            return float(given)
    except ValueError:
        pass
    raise ValueError(f"SRNN_TF_ZOO_TIMEOUT must be seconds above 0; received {given!r}")


def _fetch(
    source: fetching.Address,
    path: str,
    checksum: str,
    most: int,
    part: Path,
    deadline: float,
    size: int | None = None,
) -> Path:
    """One file, unless it is there already; pooch keeps, compares and retries it.

    Pooch's own downloads have no end where bytes come slowly, and no size: ours have.
    """
    import pooch  # these take longer to import than a model that is here takes to be found
    import requests

    target, address = part / path, source.below(path)
    _check_no_links(target)

    def get(url: str, output: str, _: Any) -> None:
        try:
            fetching.fetch(address, Path(output), most, deadline, size)
        except fetching.BrokenError as error:
            raise requests.ConnectionError(str(error)) from None  # what pooch tries again

    with _quiet(pooch.get_logger()):
        files_of = pooch.create(
            path=part,
            base_url="",
            registry={path: f"sha256:{checksum}"},
            urls={path: str(address)},
            retry_if_failed=RETRIES,
        )
        try:
            files_of.fetch(path, downloader=get)
        except requests.ConnectionError as error:
            raise OSError(str(error)) from None
        except ValueError as error:
            if str(error).startswith(str(address)):
                raise
            raise ValueError(f"{address} is not the file that was published") from None
    return target


@contextlib.contextmanager
def _quiet(logger: logging.Logger) -> Iterator[None]:
    """Without the lines that pooch prints for each file."""
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def _remove_others(part: Path, wanted: set[str]) -> None:
    """Remove what killed downloads left beside the files of a model."""
    for path in part.rglob("*"):
        if not path.is_dir() and path.relative_to(part).as_posix() not in wanted:
            path.unlink()


def _check_no_links(path: Path) -> None:
    """A link below the cache would lead a download to any other place."""
    for below in (path, *path.parents):
        if below == cache():
            return
        if below.is_symlink():
            raise ValueError(f"{below} is a link; downloads are written to folders: remove it")


@contextlib.contextmanager
def _alone(path: Path, what: str, wait: float) -> Iterator[None]:
    """One process at a time; the lock ends with the process."""
    with contextlib.ExitStack() as stack:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(files.locked(path, f"the download of {what}", wait))
        except BlockingIOError:
            raise
        except OSError as error:
            raise OSError(
                f"the cache {path.parent} cannot be written ({error.strerror}); set SRNN_TF_CACHE "
                "to a folder that can"
            ) from error
        yield

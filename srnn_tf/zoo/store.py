"""The store of published models: folders on this machine, and an address to download from."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras

from srnn_tf.zoo import artifacts

_registered: list[Path] = []
# What is published, with the checksums of the cards: name -> version -> SHA-256.
_PUBLISHED = Path(__file__).with_name("published.json")
_CARD = f"assets.extra/{artifacts.CARD}"


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
    checkout = Path(__file__).parents[2] / "saved_models"
    installed = Path(sys.prefix) / "share" / "srnn_tf" / "saved_models"
    usual = [path for path in (checkout, installed, cache()) if path.is_dir()]
    return list(dict.fromkeys([*given, *usual]))


def cache() -> Path:
    """The folder of downloads: `SRNN_TF_CACHE`, or one in the user's cache."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    given = os.environ.get("SRNN_TF_CACHE")
    return Path(given) if given else home / "srnn_tf" / "saved_models"


def _folder(path: str | os.PathLike, name: str) -> Path:
    if not Path(path).is_dir():
        raise FileNotFoundError(f"{name}={str(path)!r} is not a folder of published models")
    return Path(path)


def published() -> dict[str, Any]:
    """The models to download: name -> {"versions": {version: SHA-256 of its card}} or an alias."""
    return json.loads(_PUBLISHED.read_text())


def versions(name: str, root: str | os.PathLike | None = None) -> dict[int, Path]:
    """The folder of each version of a model, in the first root that has it."""
    folders: dict[int, Path] = {}
    for folder in roots(root):
        for path in (folder / name).glob("*"):
            if path.name.isdecimal() and path.is_dir():
                folders.setdefault(int(path.name), path)
    return folders


def alias(name: str, root: str | os.PathLike | None = None) -> dict[str, Any] | None:
    """The card of a name that is an alias of another one, or None.

    Raises:
        ValueError: the card is damaged.
    """
    for folder in roots(root):
        path = folder / name / artifacts.CARD
        if path.is_file():
            card = artifacts.read_json(path, "alias of a published model")
            target = card.get("alias_of")
            if not isinstance(target, str) or not artifacts.NAME.fullmatch(target):
                raise ValueError(f"{path} must name a model under `alias_of`; received {target!r}")
            return card
    entry = {} if root is not None else published().get(name, {})
    return entry if "alias_of" in entry else None


def names(root: str | os.PathLike | None = None) -> set[str]:
    """The names of all models in the roots, and of all models to download."""
    known = set() if root is not None else set(published())
    for folder in roots(root):
        for path in folder.iterdir():
            if artifacts.NAME.fullmatch(path.name) and (
                (path / artifacts.CARD).is_file() or any(p.name.isdecimal() for p in path.glob("*"))
            ):
                known.add(path.name)
    return known


def download(name: str, version: int, card_sha256: str) -> Path:
    """Download a published version into the cache, check every file, and return its folder.

    An interrupted download is resumed. A second process waits for the first.

    Raises:
        OSError: no address is configured, it does not answer, or the cache cannot be written.
        ValueError: a file is not the one that was published.
    """
    base = os.environ.get("SRNN_TF_ZOO_URL")
    if not base:
        raise OSError(
            f"{name} version {version} is in none of {', '.join(map(str, roots()))}; set "
            "SRNN_TF_ZOO_URL to an address to download it from, or SRNN_TF_ZOO to a folder"
        )
    target, part = cache() / name / str(version), cache() / f".{name}.{version}.part"
    with _alone(cache() / f".{name}.{version}.lock"):
        if target.is_dir():
            return target  # of a process that was faster
        address = f"{base.rstrip('/')}/{name}/{version}"
        file = _fetch(address, _CARD, card_sha256, part)
        card = artifacts.Artifact.open(file.parents[1]).card
        for path, checksum in card["files"].items():
            _fetch(address, path, checksum, part)
        target.parent.mkdir(exist_ok=True)
        os.replace(part, target)
    return target


def _fetch(address: str, path: str, checksum: str, part: Path) -> Path:
    """One file, unless it is there already."""
    target = part / path
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        keras.utils.get_file(
            target.name,
            f"{address}/{path}",
            file_hash=checksum,
            hash_algorithm="sha256",
            cache_dir=str(part),
            cache_subdir=str(target.parent.relative_to(part)),
        )
    except Exception as error:  # Keras raises bare ones
        if target.is_file() and artifacts.sha256(target) != checksum:
            target.unlink()
            raise ValueError(f"{address}/{path} is not the file that was published") from error
        raise OSError(f"cannot fetch {address}/{path}: {error}") from error
    return target


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """One process at a time; the lock ends with the process."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("w")
    except OSError as error:
        raise OSError(
            f"the cache {path.parent} cannot be written ({error.strerror}); set SRNN_TF_CACHE to "
            "a folder that can"
        ) from error
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield

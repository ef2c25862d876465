"""The store of published models: folders on this machine, and an address to download from."""

from __future__ import annotations

import contextlib
import math
import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from srnn_tf.core import files, reading
from srnn_tf.zoo import artifacts, fetching

_registered: list[Path] = []
# What is published, with the checksums of the cards: name -> version -> SHA-256.
_PUBLISHED = Path(__file__).with_name("published.json")
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
    return list(dict.fromkeys([*given, *filter(Path.is_dir, _own())]))


def _own() -> list[Path]:
    """The folders that this package fills: what they hold is what `published.json` says."""
    checkout = Path(__file__).parents[2] / "saved_models"
    return [checkout, Path(sys.prefix) / "share" / "srnn_tf" / "saved_models", cache()]


def is_own(root: Path) -> bool:
    """Whether a folder of published models is one that this package fills."""
    return any(root.resolve() == own.resolve() for own in _own())


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
        for path in folder.iterdir():
            if artifacts.NAME.fullmatch(path.name) and (
                os.path.lexists(path / artifacts.CARD)
                or any(_VERSION.fullmatch(p.name) for p in path.glob("*"))
            ):
                known.add(path.name)
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
        raise OSError(
            f"{name} version {version} is in none of {', '.join(map(str, roots()))}; set "
            "SRNN_TF_ZOO_URL to an address to download it from, or SRNN_TF_ZOO to a folder"
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
    """One file, unless it is there already."""
    target, address = part / path, source.below(path)
    temporary = part / ".fetching"  # of one process at a time
    for place in (target, temporary):
        _check_no_links(place)
    if target.is_file() and artifacts.sha256(target) == checksum:
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        fetching.fetch(address, temporary, most, deadline, size)
        if artifacts.sha256(temporary) != checksum:
            raise ValueError(f"{address} is not the file that was published")
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    return target


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

"""Corpora by name: how each is found on disk, split and read.

To add one, define a `Corpus` and call `register_corpus`. Those of this package are listed in
`CORPORA`.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from srnn_tf.core.registry import unknown
from srnn_tf.data import modality
from srnn_tf.data.corpora import blizzard, iam_ondb, speech_commands, timit, unipen, vctk
from srnn_tf.data.corpora.base import Corpus, Found, Item, Options, Record
from srnn_tf.data.corpora.folders import CORPORA as _FOLDERS
from srnn_tf.data.corpora.pianorolls import CORPORA as _PIANOROLLS

CORPORA: dict[str, Corpus] = {
    **_PIANOROLLS,
    "timit": timit.TIMIT,
    "perm_timit": timit.PERM_TIMIT,
    "vctk": vctk.CORPUS,
    "blizzard": blizzard.CORPUS,
    "speech_commands": speech_commands.CORPUS,
    "perm_speech_commands": speech_commands.PERMUTED,
    "iam_ondb": iam_ondb.CORPUS,
    "unipen": unipen.CORPUS,
    **_FOLDERS,
}
_RESERVED = ("music",)  # a name that `load` takes and nothing prepares
_MODULES: dict[str, str] = {}  # where the corpora of others are registered


def register_corpus(name: str, corpus: Corpus) -> Corpus:
    """Register a corpus for `prepare`, `load` and `names`.

    Call it at the top level of the module that defines the corpus's `find`: workers of `prepare`
    import that module.

    Args:
        name: the name of the corpus.
        corpus: how it is found and read.

    Returns:
        The corpus.

    Raises:
        ValueError: the name is taken or not an identifier, `corpus` is not a `Corpus`, or its
            modality is unknown.

    Example:
        register_corpus("my_counts", Corpus("counts", find, read, "step", "Mine."))
    """
    if not isinstance(name, str) or not name.isidentifier():
        raise ValueError(f"`name` must be letters, digits and _; received {name!r}")
    if name in CORPORA or name in _RESERVED:
        raise ValueError(f"the data set {name!r} is registered already; choose another name")
    missing = [f.name for f in dataclasses.fields(Corpus) if not hasattr(corpus, f.name)]
    if missing:
        raise ValueError(f"`corpus` must be a Corpus; received {corpus!r}, without {missing[0]}")
    modality.get(corpus.kind)
    _MODULES[name] = _defined_in(corpus.find)
    CORPORA[name] = corpus
    return corpus


def _defined_in(find: Any) -> str:
    """The module of a function, also of a partial one."""
    while hasattr(find, "func"):
        find = find.func
    return find.__module__


def module_of(name: str) -> str | None:
    """The module that a worker imports to register a corpus; None for those of this package."""
    module = _MODULES.get(name)
    return None if module == "__main__" else module  # which a new process imports by itself


def get(name: str) -> Corpus:
    """The corpus of a name.

    Raises:
        ValueError: the name is unknown; the error suggests the nearest known one.
    """
    if name not in CORPORA:
        raise unknown("data set", name, CORPORA)
    return CORPORA[name]


__all__ = [
    "CORPORA",
    "Corpus",
    "Found",
    "Item",
    "Options",
    "Record",
    "get",
    "module_of",
    "register_corpus",
]

"""Corpora by name: how each is found on disk, split and read.

To add one: a file with a `Corpus`, and its line here.
"""

from __future__ import annotations

from srnn_tf.data.corpora import blizzard, iam_ondb, speech_commands, timit, unipen, vctk
from srnn_tf.data.corpora.base import Corpus, Found, Item, Options, Record
from srnn_tf.data.corpora.folders import CORPORA as _FOLDERS
from srnn_tf.data.corpora.pianorolls import CORPORA as _PIANOROLLS
from srnn_tf.registry import unknown

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


def get(name: str) -> Corpus:
    """The corpus of a name.

    Raises:
        ValueError: an unknown name; the error suggests the nearest known one.
    """
    if name not in CORPORA:
        raise unknown("data set", name, CORPORA)
    return CORPORA[name]


__all__ = ["CORPORA", "Corpus", "Found", "Item", "Options", "Record", "get"]

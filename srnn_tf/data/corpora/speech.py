"""The reader that all speech corpora share."""

from __future__ import annotations

from collections.abc import Iterator

from srnn_tf.data.corpora.base import Item, Options, Record
from srnn_tf.data.formats import audio


def read(item: Item, options: Options, expected: int | None = None) -> Iterator[Record]:
    """Read the samples of one file; its sample rate must be `expected`, if given."""
    samples = audio.read_audio(item.path, options.sample_rate, expected)
    yield Record(item.key, samples, 1 / audio.FULL_SCALE)

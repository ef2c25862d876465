"""The corpora as TensorFlow Datasets builders: the same readers and splits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from srnn_tf.data import corpora, modality
from srnn_tf.data.corpora import Options
from srnn_tf.data.corpora.splits import PARTS
from srnn_tf.data.prepared import preparation


def builder(name: str, data_dir: str | None = None, **options: Any) -> Any:
    """A `tfds.core.GeneratorBasedBuilder` of a corpus, which it reads from `manual_dir`.

    Unpack the corpus to the folder `manual_dir/NAME`, by default
    `~/tensorflow_datasets/downloads/manual/NAME`. An example has `id`, `values` and `scale`.
    `values` are those of the files: int16 samples, int16 rows (pen_up, dx, dy), or uint8 keys.
    Multiply them by `scale`. They are not standardized; to train, use `prepare`.

    Args:
        name: the name of the corpus.
        data_dir: the folder in which TensorFlow Datasets stores prepared data sets.
        options: the options of `corpora.Options` that the corpus accepts.

    Raises:
        ImportError: tensorflow-datasets is not installed.
        ValueError: the name or an option is unknown; in `download_and_prepare`, the source is not
            the corpus.

    Example:
        built = builder("timit")
        built.download_and_prepare()
        train = built.as_dataset(split="train")
    """
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise ImportError(
            "builders need tensorflow-datasets: pip install 'srnn-tf[tfds]'"
        ) from error
    corpus, choice = corpora.get(name), preparation.options_of(name, options)
    title = name  # the class has a `name` of its own

    class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version("1.0.0")
        MANUAL_DOWNLOAD_INSTRUCTIONS = f"Unpack the corpus to the folder {title} in manual_dir."
        name = f"srnn_{title}"  # of its folder in `data_dir`

        def _info(self):
            return tfds.core.DatasetInfo(
                builder=self,
                description=f"{name}: {corpus.kind}. {corpus.licence}",
                features=tfds.features.FeaturesDict(_features(tfds, corpus.kind)),
            )

        def _split_generators(self, dl_manager):
            given = Path(dl_manager.manual_dir) / name if corpus.needs_source else None
            source = preparation.source_of(name, corpus, given)
            listing = corpus.find(source, choice)  # ty: ignore[invalid-argument-type]  # may be None
            preparation.check_found(listing, source, skip_bad=False)
            return {part: self._generate_examples(listing.parts[part]) for part in PARTS}

        def _generate_examples(self, items):
            yield from _examples(corpus, items, choice)

    return Builder(data_dir=data_dir)


def _features(tfds: Any, kind: str) -> dict[str, Any]:
    of = modality.get(kind)
    shape = (None,) if of.is_signal else (None, of.width)
    values = tfds.features.Tensor(shape=shape, dtype=np.dtype(of.dtype).type)
    return {"id": tfds.features.Text(), "values": values, "scale": np.float32}


def _examples(corpus: corpora.Corpus, items: list[corpora.Item], options: Options) -> Any:
    for item in sorted(items):
        for record in corpus.read(item, options):
            yield record.key, {"id": record.key, "values": record.values, "scale": record.scale}

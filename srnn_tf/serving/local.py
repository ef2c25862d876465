"""A published model in this process, with the interface of a server."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from srnn_tf import zoo
from srnn_tf.core import checks
from srnn_tf.serving.answers import Answers, ServingError, Tensors, check_waveform, short
from srnn_tf.serving.signatures import Signatures


class Local(Answers):
    """The serving signatures of a model, in this process.

    Args:
        model: what `zoo.open` takes or returns: a published name, a `.keras` file, the folder of a
            run or an exported folder.
        version: by default the newest on this machine, or else the newest to download.
        root: the only folder of published models to search; by default the search path of
            `srnn_tf.zoo`.
        kwargs: `batch_size` and `batch_values`, as in `Answers`.

    Raises:
        ValueError, OSError: as in `zoo.open`.

    Example:
        Local("f_rnn_bach").sample(num_steps=64, seed=1)
    """

    def __init__(
        self,
        model: str | os.PathLike | zoo.Published,
        version: int | None = None,
        root: str | os.PathLike | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        published = zoo.open(model, version, root)
        self.name, self.card = published.name, published.card
        scale = published.standardization
        standardization: Any = scale and {
            "mean": scale.mean,
            "std": scale.std,
            "permutation": scale.permutation,
        }
        loaded = published.load()
        self.binary, self._latents = loaded.binary, bool(loaded.latent_size)
        signatures = Signatures(loaded, standardization, self.card["sample_rate"])
        self._functions = {
            name: (tf.function(function, autograph=False, reduce_retracing=True), specs)
            for name, (function, specs) in signatures.all().items()
        }

    @property
    def event_size(self) -> int:
        return self.card["event_size"]

    @property
    def latents(self) -> bool:
        return self._latents

    def close(self) -> None:
        super().close()
        self._functions = {}

    def check(self, values: np.ndarray) -> None:
        """Check that a sequence (T, D), or samples (S,) of speech, can be scored.

        Raises:
            ValueError: it cannot.
        """
        values = np.asarray(values)
        if values.ndim == 1 and self.card["sample_rate"]:
            check_waveform(values, self.event_size)
        else:
            checks.frames(values[None], self.event_size, self.binary, "frames")

    def ask(self, signature: str, inputs: Mapping[str, np.ndarray]) -> Tensors:
        self._check_open()
        if signature not in self._functions:
            raise ServingError(
                f"{self.name} has no signature {signature}; it has "
                f"{', '.join(sorted(self._functions))}",
                "NOT_FOUND",
            )
        function, specs = self._functions[signature]
        if set(inputs) != set(specs):
            raise ServingError(
                f"{signature} of {self.name} takes {', '.join(sorted(specs))}; received "
                f"{', '.join(sorted(inputs)) or 'none'}",
                "INVALID_ARGUMENT",
            )
        for name, spec in specs.items():
            if not spec.shape.is_compatible_with(np.shape(inputs[name])):
                raise ServingError(
                    f"`{name}` of {self.name} must have shape {tuple(spec.shape)}; received "
                    f"{np.shape(inputs[name])}",
                    "INVALID_ARGUMENT",
                )
        try:
            outputs = function(**{n: tf.constant(inputs[n], s.dtype) for n, s in specs.items()})
        except tf.errors.OpError as error:
            raise ServingError(short(str(error)), "INVALID_ARGUMENT") from None
        return {name: value.numpy() for name, value in outputs.items()}

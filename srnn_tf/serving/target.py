"""The address of a model on a server, with the options of its requests."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from numbers import Real
from typing import Any

from srnn_tf.core import checks


@dataclasses.dataclass(frozen=True)
class Target:
    """The arguments of `Client`, after the checks that gRPC and REST share."""

    address: str
    model: str
    version: int | None
    timeout: float
    retries: int
    credentials: Any
    headers: Sequence[tuple[str, str]]

    def __post_init__(self):
        if not isinstance(self.model, str) or not self.model or "/" in self.model:
            raise ValueError(f"`model` must be the name of a model; received {self.model!r}")
        number = isinstance(self.timeout, Real) and not isinstance(self.timeout, bool)
        if not number or not 0.0 < self.timeout < float("inf"):
            raise ValueError(f"`timeout` must be above 0 seconds; received {self.timeout!r}")
        checks.sizes(minimum=0, retries=self.retries)
        if self.version is not None:
            checks.sizes(version=self.version)
        for pair in self.headers:
            strings = isinstance(pair, (tuple, list)) and all(isinstance(p, str) for p in pair)
            if not strings or len(pair) != 2:
                raise ValueError(f"`headers` must be a dict or pairs of text; received {pair!r}")

    def __str__(self):
        return f"{self.model} at {self.address}"

    @property
    def rest(self) -> bool:
        """Whether requests are sent over REST."""
        return isinstance(self.address, str) and self.address.startswith(("http://", "https://"))

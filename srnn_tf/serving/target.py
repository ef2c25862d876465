"""The address of a model on a server, with the options of its requests."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from numbers import Real
from typing import Any, NamedTuple

from srnn_tf.core import checks
from srnn_tf.serving.answers import MOST

# What both HTTP and gRPC accept: a line break in a value would be the next header.
HEADER, VALUE = re.compile(r"[A-Za-z0-9._-]+"), re.compile(r"[ -~]*")


class Facts(NamedTuple):
    """What a server says of a model."""

    event_size: int
    latents: bool | None  # None where it names no outputs

    @classmethod
    def checked(cls, sizes: Sequence[Any], outputs: Sequence[str]) -> Facts:
        """The facts, from the axes of `frames` and the names of the outputs of `score`.

        Raises:
            ValueError: they are those of no model of srnn_tf.
        """
        if len(sizes) != 3:
            raise ValueError(f"`frames` must have 3 axes; received {len(sizes)}")
        checks.between("event_size", sizes[-1], 1, MOST)
        if not outputs:
            return cls(sizes[-1], None)
        if set(outputs) - {"kl"} != {"log_likelihood", "log_likelihood_per_step"}:
            raise ValueError(f"received the outputs {', '.join(outputs)}")
        return cls(sizes[-1], "kl" in outputs)


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
        named = isinstance(self.model, str) and self.model.isprintable() and self.model
        if not named or "/" in self.model or self.model in (".", ".."):
            raise ValueError(
                "`model` must be the name of a model, without slashes and control characters, not "
                f"'.' or '..'; received {self.model!r}"
            )
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
            if not HEADER.fullmatch(pair[0]) or not VALUE.fullmatch(pair[1]):
                raise ValueError(
                    "`headers` must have names of letters, digits, '.', '_', '-', and values of "
                    f"printable ASCII; received {pair[0]!r}"  # a value may be a secret
                )

    def __str__(self):
        return f"{self.model} at {self.address}"

    @property
    def rest(self) -> bool:
        """Whether requests are sent over REST."""
        return isinstance(self.address, str) and self.address.startswith(("http://", "https://"))

"""A client of TensorFlow Serving, over gRPC or REST."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from srnn_tf.serving import grpc_calls, rest_calls
from srnn_tf.serving.answers import Answers, Tensors
from srnn_tf.serving.target import Facts, Target


class Client(Answers):
    """A published model behind TensorFlow Serving, with the interface of `Local`.

    A request is retried with exponential backoff if the server did not accept it, because it is
    starting, overloaded or unreachable. A request that the server refused is not retried. A client
    is thread-safe. Over REST it may also be shared with a process that is forked, which then has
    connections of its own; over gRPC such a process is refused. A server with batching does not
    support `sample`, whose inputs have no rows.

    Args:
        address: "host:8500" or "dns:///host:8500" for gRPC, "http://host:8501" or "https://..." for
            REST.
        model: the name of the model on the server.
        version: the version; the server's choice by default.
        timeout: the deadline of a request in seconds, from connecting to the last byte of the
            answer, with all retries. Over REST the lookup of a host's name has the system's own.
        retries: the most retries of a request; at most 4 over gRPC.
        credentials: the credentials for TLS. Over gRPC `grpc.ssl_channel_credentials(...)`; over
            REST the path of a file of trusted certificates, the default ones by default.
        headers: headers to send, such as an authorization: a dict or pairs.
        kwargs: `batch_size` and `batch_values`, as in `Answers`.

    Raises:
        ValueError: the address is invalid, or a number is out of range.
        ImportError: the extra `serving` is not installed.

    Example:
        with srnn_tf.serving.Client("localhost:8500", "f_rnn_bach") as client:
            client.score(sequences).log_likelihood
    """

    def __init__(
        self,
        address: str,
        model: str,
        version: int | None = None,
        timeout: float = 60.0,
        retries: int = 4,
        credentials: Any = None,
        headers: Mapping[str, str] | Sequence[tuple[str, str]] = (),
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        headers = tuple(headers.items() if isinstance(headers, Mapping) else headers)
        target = Target(address, model, version, timeout, retries, credentials, headers)
        self.name = str(target)
        self._calls = (rest_calls if target.rest else grpc_calls).Calls(target)

    @functools.cached_property
    def _facts(self) -> Facts:
        self._check_open()
        return self._calls.facts()

    @property
    def event_size(self) -> int:
        return self._facts.event_size

    @property
    def latents(self) -> bool | None:
        return self._facts.latents

    def ask(self, signature: str, inputs: Mapping[str, np.ndarray]) -> Tensors:
        self._check_open()
        return self._calls.predict(signature, inputs)

    def close(self) -> None:
        super().close()
        self._calls.close()

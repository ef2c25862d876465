"""A client of TensorFlow Serving, over gRPC or REST."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from srnn_tf.serving import grpc_calls, rest_calls
from srnn_tf.serving.answers import Answers, Tensors
from srnn_tf.serving.target import Target


class Client(Answers):
    """A published model behind TensorFlow Serving, asked as `Local` is.

    Requests that a server did not take, since it is starting, overloaded or gone, are sent again
    after a pause that doubles; those that it refused are not. It may be used from many threads at
    once, and is closed by `close()` or at the end of a `with`.

    Args:
        address: "host:8500" or "dns:///host:8500" for gRPC, "http://host:8501" or "https://..." for
            REST.
        model: its name at the server.
        version: the one that the server has chosen by default.
        timeout: seconds that a request may take; over gRPC with all that it is sent again, over
            REST each time.
        retries: how often a request is sent again; over gRPC 4 times at most.
        credentials: for TLS: over gRPC `grpc.ssl_channel_credentials(...)`; over REST the path of
            a file of trusted certificates, the usual ones by default.
        headers: to send along, a dict or pairs, such as an authorization.
        kwargs: `batch_size` and `batch_values`, as in `Answers`. `sample` is not answered by a
            server that batches requests by itself: its inputs are no rows.

    Raises:
        ValueError: no such address, numbers out of range.
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
        self._calls = (rest_calls if target.rest else grpc_calls).Calls(target)

    @functools.cached_property
    def event_size(self) -> int:
        return self._calls.event_size()

    def ask(self, signature: str, inputs: Mapping[str, np.ndarray]) -> Tensors:
        return self._calls.predict(signature, inputs)

    def close(self) -> None:
        """Close the connection."""
        self._calls.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

"""Requests to TensorFlow Serving over REST, as JSON in columnar format."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import urllib3

from srnn_tf.serving.answers import ServingError, Tensors, short
from srnn_tf.serving.target import Target

RETRIED = (429, 502, 503)  # 504 was taken, and took too long
CODES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    412: "FAILED_PRECONDITION",
    413: "RESOURCE_EXHAUSTED",
    429: "RESOURCE_EXHAUSTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


class Calls:
    """The REST calls of one model."""

    def __init__(self, target: Target):
        self.target = target
        self.base = f"{_checked_address(target.address)}/v1/models/{target.model}"
        self.base += "" if target.version is None else f"/versions/{target.version}"
        policy = urllib3.Retry(
            target.retries,
            read=False,  # what the server has begun to work on is not sent again
            other=False,
            redirect=False,
            status_forcelist=RETRIED,
            allowed_methods=None,  # scoring twice does no harm
            backoff_factor=0.1,
            backoff_max=5.0,
            backoff_jitter=0.1,
            raise_on_status=False,
            respect_retry_after_header=False,  # it may ask for any time
        )
        trusted: dict[str, Any] = {}
        if target.credentials is not None:
            trusted["ca_certs"] = _certificates(target.credentials)
        self._pool = urllib3.PoolManager(
            maxsize=64,
            retries=policy,
            timeout=urllib3.Timeout(total=target.timeout),
            headers={"Content-Type": "application/json", **dict(target.headers)},
            **trusted,
        )

    def predict(self, signature: str, inputs: Mapping[str, np.ndarray]) -> Tensors:
        columns = {name: np.asarray(value).tolist() for name, value in inputs.items()}
        body = json.dumps({"signature_name": signature, "inputs": columns})
        outputs = self._call("POST", f"{self.base}:predict", signature, body).get("outputs")
        if outputs is None:
            raise ServingError(f"{self.base}: the answer holds no outputs", "INTERNAL")
        # A single output comes without its name.
        outputs = outputs if isinstance(outputs, dict) else {"frames": outputs}
        return {name: np.asarray(value, np.float32) for name, value in outputs.items()}

    def event_size(self) -> int:
        answer = self._call("GET", f"{self.base}/metadata", "metadata")
        try:
            signatures = answer["metadata"]["signature_def"]["signature_def"]
            return int(signatures["score"]["inputs"]["frames"]["tensor_shape"]["dim"][-1]["size"])
        except (KeyError, IndexError, TypeError, ValueError):
            raise ServingError(f"{self.base} is not a model of srnn_tf", "NOT_FOUND") from None

    def close(self) -> None:
        self._pool.clear()

    def _call(self, verb, url, what, body=None):
        where = f"{what} of {self.target}"
        try:
            answer = self._pool.request(verb, url, body=body)
        except urllib3.exceptions.HTTPError as error:
            cause = getattr(error, "reason", error)
            late = isinstance(cause, urllib3.exceptions.TimeoutError)
            late &= not isinstance(cause, urllib3.exceptions.NewConnectionError)
            code = "DEADLINE_EXCEEDED" if late else "UNAVAILABLE"
            raise ServingError(f"{where}: {code}: {cause}", code) from None
        try:
            content = json.loads(answer.data)
        except ValueError:
            content = {"error": answer.data[:200].decode(errors="replace")}
        if answer.status != 200 or not isinstance(content, dict):
            code = CODES.get(answer.status, "INTERNAL")
            text = content.get("error", content) if isinstance(content, dict) else content
            raise ServingError(f"{where}: {code}: {short(str(text))}", code)
        return content


def _checked_address(address: str) -> str:
    try:
        parts = urllib3.util.parse_url(address)
    except urllib3.exceptions.LocationParseError:
        parts = None
    if parts is None or not parts.host or parts.query or parts.fragment:
        raise ValueError(f"`address` must be http://host:port or https://...; received {address!r}")
    return address.rstrip("/")


def _certificates(credentials: Any) -> str:
    if not isinstance(credentials, (str, os.PathLike)) or not os.path.isfile(credentials):
        raise ValueError(
            "`credentials` over REST must be a file of trusted certificates, or None for the usual "
            f"ones; received {credentials!r}"
        )
    return os.fspath(credentials)

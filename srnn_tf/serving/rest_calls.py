"""Requests to TensorFlow Serving over REST, as JSON in columnar format."""

from __future__ import annotations

import itertools
import json
import os
import random
import time
import urllib.parse
from collections.abc import Mapping
from typing import Any

import numpy as np
import urllib3

from srnn_tf.serving import rest_connections
from srnn_tf.serving.answers import ServingError, Tensors, short
from srnn_tf.serving.target import Facts, Target

RETRIED = (429, 502, 503)  # 504 was taken, and took too long
BACKOFF, MOST_BACKOFF = 0.1, 5.0  # seconds before the second and each later try, at most
MOST_RANK = 3
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
        model = urllib.parse.quote(target.model, safe="")
        self.base = f"{_checked_address(target.address)}/v1/models/{model}"
        self.base += "" if target.version is None else f"/versions/{target.version}"
        self._trusted: dict[str, Any] = {}
        if target.credentials is not None:
            self._trusted["ca_certs"] = _certificates(target.credentials)
        self._pools: list[tuple[int, urllib3.PoolManager]] = []
        self._pool()

    def predict(self, signature: str, inputs: Mapping[str, np.ndarray]) -> Tensors:
        columns = {name: np.asarray(value).tolist() for name, value in inputs.items()}
        body = json.dumps({"signature_name": signature, "inputs": columns})
        answer = self._call("POST", f"{self.base}:predict", signature, body)
        outputs = answer.get("outputs")
        if outputs is None or "error" in answer:
            raise self._unbelieved(signature, "it must hold outputs, and no error")
        # A single output comes without its name.
        outputs = outputs if isinstance(outputs, dict) else {"frames": outputs}
        try:
            return {name: _array(name, value) for name, value in outputs.items()}
        except ValueError as error:
            raise self._unbelieved(signature, error) from None

    def facts(self) -> Facts:
        answer = self._call("GET", f"{self.base}/metadata", "metadata")
        try:
            score = answer["metadata"]["signature_def"]["signature_def"]["score"]
            sizes = [axis["size"] for axis in score["inputs"]["frames"]["tensor_shape"]["dim"]]
            sizes = [int(s) if isinstance(s, str) and s.isdecimal() else s for s in sizes]
            return Facts.checked(sizes, list(score.get("outputs") or ()))
        except (KeyError, IndexError, TypeError, ValueError, AttributeError):
            raise ServingError(f"{self.base} is not a model of srnn_tf", "NOT_FOUND") from None

    def close(self) -> None:
        for process, pool in self._pools:
            if process == os.getpid():
                pool.clear()

    def _pool(self) -> urllib3.PoolManager:
        """This process' own connections: answers would be mixed on those of its parent.

        Those of a parent are kept, since to drop them would take locks that a thread may have held
        when the process was forked.
        """
        for process, pool in reversed(self._pools):
            if process == os.getpid():
                return pool
        headers = {"Content-Type": "application/json", **dict(self.target.headers)}
        pool = rest_connections.pool(maxsize=64, headers=headers, **self._trusted)
        self._pools.append((os.getpid(), pool))
        return pool

    def _call(self, verb, url, what, body=None):
        where = f"{what} of {self.target}"
        until = time.monotonic() + self.target.timeout
        try:
            answer = self._answer(verb, url, body, until)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            late = isinstance(error, (urllib3.exceptions.TimeoutError, TimeoutError))
            late &= not isinstance(error, urllib3.exceptions.NewConnectionError)
            code = "DEADLINE_EXCEEDED" if late or time.monotonic() >= until else "UNAVAILABLE"
            raise ServingError(f"{where}: {code}: {error}", code) from None
        try:
            content = json.loads(answer.data, object_pairs_hook=_object)
        except (ValueError, RecursionError):
            content = answer.data[:200].decode(errors="replace")
        if answer.status == 200 and isinstance(content, dict):
            return content
        if answer.status == 200:
            raise self._unbelieved(what, f"it must be a JSON object; received {content!r:.200}")
        code = CODES.get(answer.status, "INTERNAL")
        text = content.get("error", content) if isinstance(content, dict) else content
        raise ServingError(f"{where}: {code}: {short(str(text))[:2000]}", code)

    def _answer(self, verb, url, body, until):
        """The answer, asked again where the server did not take the request."""
        for tried in itertools.count():
            timeout = urllib3.Timeout(total=max(until - time.monotonic(), rest_connections.LEAST))
            held, refused = None, None
            try:
                held = self._pool().request(
                    verb, url, body=body, retries=False, redirect=False, timeout=timeout
                )
            except urllib3.exceptions.ConnectTimeoutError as error:
                refused = error  # nothing was sent: what a server has begun is not sent again
            wait = min(BACKOFF * 2 ** (tried - 1), MOST_BACKOFF) if tried else 0.0
            wait *= random.uniform(0.5, 1.0)
            again = held is None or held.status in RETRIED
            if not again or tried == self.target.retries or time.monotonic() + wait >= until:
                if refused is not None:
                    raise refused
                return held
            time.sleep(wait)

    def _unbelieved(self, what, why):
        message = f"{what} of {self.target}: INTERNAL: the answer is not believed: {why}"
        return ServingError(message, "INTERNAL")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; of two values by one name neither is believed."""
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("a name is there twice")
    return dict(pairs)


def _array(name: str, value: Any) -> np.ndarray:
    """An output in JSON as float32: numbers only, where numpy would take `true` and "1.5" too.

    Raises:
        ValueError: it is no number, or no nested list of them of one shape.
    """
    shape, level = [], [value]
    while level and isinstance(level[0], list):
        sizes = {len(row) if isinstance(row, list) else None for row in level}
        if len(sizes) != 1 or len(shape) == MOST_RANK:
            raise ValueError(f"`{name}` must be numbers in lists of one length")
        shape.append(len(level[0]))
        level = [item for row in level for item in row]
    for kind in {*map(type, level)} - {int, float}:
        (first, *_) = (item for item in level if type(item) is kind)
        raise ValueError(f"`{name}` must be numbers; received {json.dumps(first)[:40]}")
    with np.errstate(over="ignore"):  # an infinity is told with its place
        try:
            return np.array(level, np.float64).astype(np.float32).reshape(shape)
        except OverflowError:
            raise ValueError(f"`{name}` must be finite; received a larger integer") from None


def _checked_address(address: str) -> str:
    try:
        parts = urllib3.util.parse_url(address)
    except urllib3.exceptions.LocationParseError:
        parts = None
    if parts is None or not parts.host or parts.query or parts.fragment or parts.auth:
        raise ValueError(
            f"`address` must be http://host:port or https://..., without a password (which goes to "
            f"`headers`); received {address if parts is None or not parts.auth else 'one'!r}"
        )
    return address.rstrip("/")


def _certificates(credentials: Any) -> str:
    if not isinstance(credentials, (str, os.PathLike)) or not os.path.isfile(credentials):
        raise ValueError(
            "`credentials` over REST must be a file of trusted certificates, or None for the usual "
            f"ones; received {credentials!r}"
        )
    return os.fspath(credentials)

"""Requests to TensorFlow Serving over REST, JSON by columns."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from srnn_tf.serving.answers import ServingError, Tensors, short

RETRIED = (429, 502, 503, 504)
CODES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    412: "FAILED_PRECONDITION",
    413: "RESOURCE_EXHAUSTED",
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


class Calls:
    """The calls of one model; see `Client` for the arguments."""

    def __init__(
        self,
        address: str,
        model: str,
        version: int | None,
        timeout: float,
        retries: int,
        credentials: Any,
        headers: Sequence[tuple[str, str]],
    ):
        self.model, self.timeout, self.retries = model, timeout, retries
        self.verify, self.headers = True if credentials is None else credentials, dict(headers)
        if not isinstance(self.verify, (bool, str)):
            raise ValueError(
                "`credentials` over REST must be a file of certificates or True; received "
                f"{type(credentials).__name__}"
            )
        self.base = f"{address.rstrip('/')}/v1/models/{model}"
        self.base += "" if version is None else f"/versions/{version}"
        self._local = threading.local()  # a session is not for many threads at once

    def predict(self, signature: str, inputs: Mapping[str, np.ndarray]) -> Tensors:
        columns = {name: np.asarray(value).tolist() for name, value in inputs.items()}
        body = {"signature_name": signature, "inputs": columns}
        found = self._call("POST", f"{self.base}:predict", signature, json=body).get("outputs")
        if found is None:
            raise ServingError(f"{self.base}: the answer holds no outputs", "INTERNAL")
        # A single output comes without its name.
        found = found if isinstance(found, dict) else {"frames": found}
        return {name: np.asarray(value, np.float32) for name, value in found.items()}

    def event_size(self) -> int:
        answer = self._call("GET", f"{self.base}/metadata", "metadata")
        try:
            held = answer["metadata"]["signature_def"]["signature_def"]
            return int(held["score"]["inputs"]["frames"]["tensor_shape"]["dim"][-1]["size"])
        except (KeyError, IndexError, TypeError, ValueError):
            raise ServingError(f"{self.base} is no model of ours", "NOT_FOUND") from None

    def close(self) -> None:
        if hasattr(self._local, "session"):
            self._local.session.close()

    def _session(self):
        if not hasattr(self._local, "session"):
            self._local.session = session = requests.Session()
            policy = Retry(
                self.retries,
                status_forcelist=RETRIED,
                allowed_methods=None,  # scoring twice does no harm
                backoff_factor=0.1,
                backoff_max=5.0,
                backoff_jitter=0.1,
                raise_on_status=False,
            )
            session.mount("http://", HTTPAdapter(max_retries=policy))
            session.mount("https://", HTTPAdapter(max_retries=policy))
            session.headers.update(self.headers)
            session.verify = self.verify
        return self._local.session

    def _call(self, verb, url, what, **body):
        where = f"{what} of {self.model} at {url.split('/v1/')[0]}"
        try:
            answer = self._session().request(verb, url, timeout=self.timeout, **body)
        except requests.Timeout as error:
            raise ServingError(
                f"{where}: DEADLINE_EXCEEDED: {error}", "DEADLINE_EXCEEDED"
            ) from None
        except requests.RequestException as error:
            raise ServingError(f"{where}: UNAVAILABLE: {error}", "UNAVAILABLE") from None
        try:
            found = answer.json()
        except ValueError:
            found = {"error": answer.text[:200]}
        if answer.status_code != 200 or not isinstance(found, dict):
            code = CODES.get(answer.status_code, "INTERNAL")
            text = found.get("error", found) if isinstance(found, dict) else found
            raise ServingError(f"{where}: {code}: {short(str(text))}", code)
        return found

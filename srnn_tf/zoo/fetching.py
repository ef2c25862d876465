"""Files over HTTP, of the Hub or of a folder: bounded in size and time, no secrets in messages."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import http.client
import re
import shutil
import socket
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from srnn_tf.core import reading

ACCEPTED = "https://host/models, hf://ORG/REPO or file:///folder"
_TEMPORARY = (408, 425, 429, 500, 502, 503, 504)  # codes of HTTP after which it may work again
_REPOSITORY = re.compile(r"([\w.-]+/[\w.-]+)(?:@([\w./-]+))?")
STALLED = 30.0  # seconds without a byte
_CHUNK = 1 << 16


class BrokenError(OSError):
    """A download that broke off, or that a server refused for now: it may work another time."""


@dataclasses.dataclass(frozen=True, repr=False)
class Address:
    """An address, whose user, password, query and token are secret: its text is without them."""

    url: str
    user: str | None = None
    password: str = ""
    query: str = ""
    token: str | None = None

    @classmethod
    def of(cls, base: str) -> Address:
        """The address that a user gives.

        Args:
            base: `https://...`, `hf://ORG/REPO` or `hf://ORG/REPO@REVISION`, `file:///...`.

        Raises:
            ValueError: it is another one.
            ImportError: it is one of the Hub, and `huggingface_hub` is not installed.

        Example:
            >>> str(Address.of("https://me:secret@host/models?token=secret").below("card.json"))
            'https://host/models/card.json'
        """
        try:
            parts = urllib.parse.urlsplit(base)
            port, host = parts.port, parts.hostname
        except ValueError:
            port, host, parts = None, None, urllib.parse.urlsplit("")
        if parts.scheme == "file" and host in (None, "localhost") and parts.path.startswith("/"):
            return cls(f"file://{parts.path.rstrip('/')}")
        repository = (parts.netloc + parts.path).rstrip("/")
        if parts.scheme == "hf" and (match := _REPOSITORY.fullmatch(repository)):
            return cls._of_hub(match[1], match[2])
        if parts.scheme not in ("http", "https") or not host:
            raise ValueError(
                f"SRNN_TF_ZOO_URL must be an address such as {ACCEPTED}; to use a folder of this "
                "machine in place, set SRNN_TF_ZOO"
            )
        host = f"[{host}]" if ":" in host else host
        place = host if port is None else f"{host}:{port}"
        url = f"{parts.scheme}://{place}{parts.path.rstrip('/')}"
        user = None if parts.username is None else urllib.parse.unquote(parts.username)
        return cls(url, user, urllib.parse.unquote(parts.password or ""), parts.query)

    @classmethod
    def _of_hub(cls, repository: str, revision: str | None) -> Address:
        """Of a repository of models on the Hugging Face Hub, or on the server of `HF_ENDPOINT`."""
        try:
            import huggingface_hub
            from huggingface_hub import constants
        except ImportError as error:
            raise ImportError(
                "SRNN_TF_ZOO_URL is an address of the Hugging Face Hub, for which huggingface_hub "
                "is needed: pip install 'srnn-tf[hub]'"
            ) from error
        if constants.HF_HUB_OFFLINE:
            raise OSError(f"cannot fetch hf://{repository}: HF_HUB_OFFLINE is set")
        # Where the files are and who may read them is the library's; it has no bounds of its own.
        file = huggingface_hub.hf_hub_url(repository, "-", revision=revision)
        address = cls.of(file.removesuffix("/-"))
        return dataclasses.replace(address, token=huggingface_hub.get_token())

    def below(self, path: str) -> Address:
        return dataclasses.replace(self, url=f"{self.url}/{path}")

    def request(self) -> urllib.request.Request:
        query = f"?{self.query}" if self.query else ""
        request = urllib.request.Request(self.url + query)
        given = None if self.token is None else f"Bearer {self.token}"
        if self.user is not None:
            pair = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
            given = f"Basic {pair}"
        if given is not None:  # to this host, not to one that it redirects to
            request.add_unredirected_header("Authorization", given)
        return request

    def hide(self, text: str) -> str:
        """A message of a library without the secrets, should it tell them."""
        query = [value for _, value in urllib.parse.parse_qsl(self.query)]
        for secret in (self.query, self.password, self.token or "", *query):
            for form in {secret, urllib.parse.quote(secret, safe="")} if secret else ():
                text = text.replace(form, "***")
        return text

    def __str__(self):
        return self.url

    __repr__ = __str__


def fetch(
    address: Address, path: Path, most: int, deadline: float, size: int | None = None
) -> None:
    """Write the file at an address.

    Args:
        address: the address.
        path: the file to write.
        most: the most bytes that are read.
        deadline: the time of `time.monotonic` at which it must be there.
        size: the number of its bytes, where it is known.

    Raises:
        OSError: there is no answer in time, or it is cut off; a `BrokenError` where it may work
            another time.
        ValueError: the file is larger than it may be, or of another size.
    """
    if address.url.startswith("file:"):
        _copy(address, path, most, size)
        return
    try:
        with _ending(address, deadline) as response, open(path, "wb") as file:
            length = response.length  # None where the server does not tell it
            _check_size(address, length, most, size)
            received = 0
            while chunk := response.read1(_CHUNK):
                received += len(chunk)
                if received > (most if size is None else size):
                    _check_size(address, received, most, size)
                file.write(chunk)
    except (OSError, http.client.HTTPException) as error:
        if time.monotonic() >= deadline:
            raise TimeoutError(f"cannot fetch {address}: it took too long") from None
        reason = address.hide(str(getattr(error, "reason", None) or error or type(error).__name__))
        kind: type[OSError] = BrokenError
        if isinstance(error, urllib.error.HTTPError):
            reason = f"HTTP {error.code} {reason}"
            kind = BrokenError if error.code in _TEMPORARY else OSError
        raise kind(f"cannot fetch {address}: {reason}") from None
    if time.monotonic() >= deadline:
        raise TimeoutError(f"cannot fetch {address}: it took too long")
    if length and received != length:
        raise BrokenError(f"cannot fetch {address}: cut off, {received} of {length} bytes")
    _check_size(address, received, most, size)


def _copy(address: Address, path: Path, most: int, size: int | None) -> None:
    source = Path(urllib.request.url2pathname(urllib.parse.urlsplit(address.url).path))
    try:
        reading.check_regular(source)  # a pipe would be waited for
        length = source.stat().st_size
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OSError(f"cannot fetch {address}: {reason}") from error
    _check_size(address, length, most, size)
    shutil.copyfile(source, path)


def _check_size(address: Address, length: int | None, most: int, size: int | None) -> None:
    if length is None:
        return
    if size is not None and length != size:
        raise ValueError(f"{address} is not the file that was published: it has not {size} bytes")
    if length > most:
        raise ValueError(f"{address} is larger than {most} bytes, the most that are read")


@contextlib.contextmanager
def _ending(address: Address, deadline: float) -> Iterator[Any]:
    """The response; at the deadline its connection is shut down, however slowly bytes come."""
    sockets: list[socket.socket] = []

    def end():
        for connected in sockets:
            with contextlib.suppress(OSError):
                connected.shutdown(socket.SHUT_RDWR)

    left = max(0.001, deadline - time.monotonic())
    timer = threading.Timer(left, end)
    timer.daemon = True
    timer.start()
    opener = urllib.request.build_opener(_Redirects, _Http(sockets), _Https(sockets))
    try:
        with opener.open(address.request(), timeout=min(STALLED, left)) as response:
            yield response
    finally:
        timer.cancel()


class _Redirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, req, fp, code, msg, headers, newurl):
        scheme = urllib.parse.urlsplit(newurl).scheme
        if scheme not in ("http", "https") or (req.type == "https" and scheme != "https"):
            raise urllib.error.URLError(f"it redirects to an address of {scheme!r}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class _Http(urllib.request.HTTPHandler):
    def __init__(self, sockets: list[socket.socket]):
        super().__init__()
        self.sockets = sockets

    def http_open(self, req):
        return self.do_open(_watched(http.client.HTTPConnection, self.sockets), req)


class _Https(urllib.request.HTTPSHandler):
    def __init__(self, sockets: list[socket.socket]):
        super().__init__()
        self.sockets = sockets

    def https_open(self, req):
        return self.do_open(_watched(http.client.HTTPSConnection, self.sockets), req)


def _watched(kind: Any, sockets: list[socket.socket]) -> Any:
    """A class of connections that tells its sockets."""

    class Watched(kind):
        def connect(self):
            super().connect()
            sockets.append(self.sock)

    return Watched

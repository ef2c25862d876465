"""Connections of HTTP whose timeout is a deadline of the whole request.

urllib3 and `http.client` give every read of a socket the whole timeout again, so that a server
which sends a byte a second is never late. Here each operation has what is left of it.
"""

from __future__ import annotations

import functools
import http.client
import io
import socket
import time
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

LEAST = 1e-3  # seconds: 0 would make a socket non-blocking
NONE = 1e6  # seconds: before urllib3 has said how many there are
PIECE = 1 << 16  # bytes that are sent before the clock is read again


class _Paced(io.RawIOBase):
    """A reader that gives each read of a socket what is left of the time."""

    def __init__(self, raw: Any, sock: socket.socket, left: Any):
        self._raw, self._sock, self._left = raw, sock, left

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(self._left())
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    """A response that is read until the deadline of its connection."""

    def __init__(self, sock: socket.socket, *args: Any, left: Any, **kwargs: Any):
        super().__init__(sock, *args, **kwargs)
        self.fp: Any = io.BufferedReader(_Paced(self.fp.detach(), sock, left))


class _Deadline(HTTPConnection):
    """A connection whose `timeout`, which urllib3 sets for each request, is a deadline."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.response_class: Any = functools.partial(_Response, left=self._left)

    @property
    def timeout(self) -> float | None:
        return max(self._until - time.monotonic(), LEAST)

    @timeout.setter
    def timeout(self, seconds: float | None) -> None:
        self._until = time.monotonic() + (NONE if seconds is None else seconds)

    def _left(self) -> float:
        left = self._until - time.monotonic()
        if left <= 0.0:
            raise TimeoutError("timed out")
        return max(left, LEAST)

    def _new_conn(self) -> socket.socket:
        """A socket to one of the addresses of the host, which share the time that is left."""
        try:
            found = socket.getaddrinfo(self._dns_host, self.port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise NameResolutionError(self.host, self, error) from error  # ty: ignore[invalid-argument-type]
        except UnicodeError as error:
            raise NewConnectionError(self, f"{self.host!r} is no name of a host") from error
        cause: OSError = OSError("no address")
        for tried, (family, kind, protocol, _, address) in enumerate(found):
            sock = socket.socket(family, kind, protocol)
            try:
                for option in self.socket_options or ():
                    sock.setsockopt(*option)
                sock.settimeout(self._left() / (len(found) - tried))
                sock.connect(address)
                sock.settimeout(self._left())  # of a handshake
                return sock
            except OSError as error:
                sock.close()
                cause = error
        if isinstance(cause, TimeoutError):
            raise ConnectTimeoutError(self, f"{self.host} was not connected in time") from cause
        raise NewConnectionError(self, str(cause)) from cause

    def send(self, data: Any) -> None:
        if self.sock is None and self.auto_open:
            self.connect()
        if not isinstance(data, bytes):
            super().send(data)
            return
        for begin in range(0, len(data), PIECE):
            sock: Any = self.sock
            sock.settimeout(self._left())
            super().send(data[begin : begin + PIECE])


class _SecureDeadline(_Deadline, HTTPSConnection):
    """The same over TLS."""


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls: Any = _Deadline


class _SecurePool(urllib3.HTTPSConnectionPool):
    ConnectionCls: Any = _SecureDeadline


def pool(**options: Any) -> urllib3.PoolManager:
    """A pool of such connections; `urlopen(timeout=Timeout(total=...))` sets a deadline."""
    manager: Any = urllib3.PoolManager(**options)
    manager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}
    return manager

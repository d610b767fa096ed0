"""What HTTP by `requests` needs around it: a token, an end to long answers, and words for what went wrong."""

from __future__ import annotations

import os
import socket
import ssl
import time
from collections.abc import Iterator
from typing import Any

import requests
from requests.auth import AuthBase

from controlplane.collect.token_file import read_token
from controlplane.domain.errors import UNRESOLVED, QueryRefusedError, no_tls

_PART_BYTES = 2**16


class Bearer(AuthBase):
    """Sets the token of a file."""

    def __init__(self, name: str, file: str) -> None:
        self._name = name
        self._file = file

    def __call__(self, request: Any) -> Any:
        """The request with the token. Raises QueryRefusedError."""
        if self._file:
            try:
                request.headers["Authorization"] = f"Bearer {read_token(self._file)}"
            except ValueError as error:
                raise QueryRefusedError(f"{self._name}: {error}") from None
        return request


class TooLargeError(Exception):
    """The body is larger than wanted."""


class TooSlowError(Exception):
    """The body did not come in time."""


class Bounded:
    """A response's raw body, of limited size when unpacked, that has to be there in time."""

    def __init__(self, raw: Any, limit_bytes: int, until: float) -> None:
        self._raw = raw
        self._left = limit_bytes
        self._until = until

    def stream(self, amount: int, *, decode_content: bool) -> Iterator[bytes]:
        """The body in parts. Raises TooLargeError, TooSlowError."""
        # read1 gives what is there: a slow drip would keep urllib3's own stream() within one call for good
        while part := self._raw.read1(max(amount, _PART_BYTES), decode_content=decode_content):
            self._left -= len(part)
            if self._left < 0:
                raise TooLargeError
            if time.monotonic() > self._until:
                raise TooSlowError
            yield part

    def close(self) -> None:
        """Close the connection."""
        self._raw.close()

    def release_conn(self) -> None:
        """Let go of it."""
        self._raw.release_conn()


def why_not(error: BaseException) -> str:
    """What happened to a connection, from the innermost error that tells."""
    seen: BaseException | None = error
    while seen is not None:
        inner = getattr(seen, "reason", None) or (seen.args[0] if seen.args else None)
        if isinstance(seen, socket.gaierror):
            return UNRESOLVED
        if isinstance(seen, ssl.SSLError):
            return no_tls(seen)
        if isinstance(seen, ConnectionRefusedError):
            return "connection refused"
        if isinstance(seen, OSError) and not isinstance(seen, requests.RequestException) and seen.errno:
            return os.strerror(seen.errno).lower()
        seen = inner if isinstance(inner, BaseException) else (seen.__cause__ or seen.__context__)
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the answer ended before its end"
    return "connection closed without an answer"

"""A small client of the HTTP API, on the standard library alone."""

from __future__ import annotations

import getpass
import http.client
import json
import socket
import ssl
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from controlplane.domain.errors import (
    UNRESOLVED,
    ConfigurationError,
    ConflictError,
    Fault,
    PermanentError,
    TargetUnreachableError,
)

_PREFIX = "/api/v1"
_OPTIONS = {"ttl": "--for", "reason": "--reason", "direction": "--direction", "window": "--window"}
"""Options by the field of a request that they become."""


class RefusedError(PermanentError):
    """The API answered with a problem; `status` is its HTTP status."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


class _Answer(dict[str, Any]):
    """A JSON object whose lack of a key is a fault of the two being of different versions, and no bug."""

    def __missing__(self, key: str) -> Any:
        raise ConflictError(f"the control plane's answer has no {key!r}: it runs another version; restart it")


def path_of(*parts: str) -> str:
    """A path of the API below /api/v1 from its parts, each quoted. What no part can be would lead elsewhere."""
    for part in parts:
        if not part or "/" in part:
            raise ConfigurationError("command line", (Fault("name or ID", repr(part), "one without '/' is allowed"),))
    return "/".join((_PREFIX, *(quote(part, safe="") for part in parts)))


class Api:
    """Calls the API at `url`, with a bearer token if there is one. Follows no redirect: a token goes nowhere else.

    Raises TargetUnreachableError when there is no usable answer, RefusedError when the answer is a problem.
    """

    def __init__(self, url: str, token: str = "", timeout_s: float = 10.0) -> None:
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError:
            port = -1
        if parts.scheme not in {"http", "https"} or not parts.hostname or port == -1:
            raise ConfigurationError("command line", (Fault("--url", url, "http(s)://HOST[:PORT] is allowed"),))
        self._url = url.rstrip("/")
        self._secure = parts.scheme == "https"
        self._host = parts.hostname
        self._port = port
        self._base = parts.path.rstrip("/")
        self._token = token
        self._timeout_s = timeout_s

    def get(self, path: str, **query: object) -> Any:
        """The JSON at `path`."""
        return self.call("GET", path, query=query)

    def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, object] | None = None,
        body: Mapping[str, object] | None = None,
        patience_s: float = 0.0,
    ) -> Any:
        """The JSON of the answer; `patience_s` seconds are waited on top of the usual timeout."""
        target = f"{self._base}{path}" + (f"?{urlencode(query)}" if query else "")
        connection = self._connection(self._timeout_s + patience_s)
        try:
            connection.request(method, target, None if body is None else json.dumps(body), self._headers())
            answer = connection.getresponse()
            status, content = answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise TargetUnreachableError(self._url, _why(error)) from None
        finally:
            connection.close()
        return self._read(status, content)

    def _connection(self, timeout_s: float) -> http.client.HTTPConnection:
        if self._secure:
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(self._host, self._port, timeout=timeout_s, context=context)
        return http.client.HTTPConnection(self._host, self._port, timeout=timeout_s)

    def _headers(self) -> dict[str, str]:
        headers = {"Accept": "application/json", "Content-Type": "application/json", "X-Actor": _user()}
        return headers | ({"Authorization": f"Bearer {self._token}"} if self._token else {})

    def _read(self, status: int, content: bytes) -> Any:
        try:
            document = json.loads(content, object_hook=_Answer)
        except ValueError:
            raise TargetUnreachableError(
                self._url, f"status {status} without JSON: is this the control plane's address?"
            ) from None
        if status >= 300:
            if not isinstance(document, dict) or "detail" not in document:
                raise TargetUnreachableError(
                    self._url, f"status {status} without a reason: is this the control plane's address?"
                )
            hint = "; set CONTROLPLANE_TOKEN or --token-file" if status == HTTPStatus.UNAUTHORIZED else ""
            raise RefusedError(status, f"{_by_options(document)}{hint}")
        return document


def _by_options(document: Mapping[str, Any]) -> str:
    """Why it was refused, with fields of the request called as on the command line."""
    detail = str(document["detail"])
    for field in document.get("errors") or ():
        where = str(field["where"])
        key = where.partition(".")[2] or where
        detail = detail.replace(f"{where}: ", f"{_OPTIONS.get(key, key)}: ", 1)
    return detail


def _why(error: Exception) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "connection refused; is `controlplane run` running there?"
    if isinstance(error, socket.gaierror):
        return f"{UNRESOLVED}; set --url or CONTROLPLANE_URL"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _user() -> str:
    """Who is at the keyboard; counts only where no tokens are in use."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        return "local"
    return name if name.isascii() and name.isprintable() and name.strip() else "local"

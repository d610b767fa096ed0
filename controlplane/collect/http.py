"""Pages of other processes over HTTP: a deadline for the whole answer, a size cap, no redirects, two kinds of error."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Mapping
from typing import NamedTuple

import aiohttp

from controlplane.domain.errors import MalformedPageError, TargetUnreachableError

LIMIT_BYTES = 8 * 2**20
REFUSED = "connection refused"
"""`why` of a TargetUnreachableError when nobody listens: the process is not there."""


class Answer(NamedTuple):
    """Status and body of an answer; a body larger than the cap is None."""

    status: int
    body: bytes | None


class Pages:
    """One HTTP session, a connection per request.

    No connection is kept: Triton does not stop while one is open, until its exit timeout is over (seen on 2.51), and a
    kept one that the server has given up in the meantime looks like a failure of the server.
    """

    def __init__(self, *, limit_bytes: int = LIMIT_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._session: aiohttp.ClientSession | None = None

    async def get(self, target: str, url: str, timeout_s: float) -> bytes:
        """Body of a page. `target` names it in errors. Raises TargetUnreachableError, MalformedPageError."""
        return await self._body(target, "GET", url, timeout_s, None)

    async def get_text(self, target: str, url: str, timeout_s: float) -> str:
        """The same as text."""
        body = await self.get(target, url, timeout_s)
        try:
            return body.decode("utf-8")
        except UnicodeDecodeError:
            raise MalformedPageError(f"{target}: not text in UTF-8") from None

    async def post(self, target: str, url: str, timeout_s: float, body: bytes) -> bytes:
        """Body of the answer to a JSON request that only reads. Raises as `get`."""
        return await self._body(target, "POST", url, timeout_s, body)

    async def ask(
        self,
        target: str,
        method: str,
        url: str,
        *,
        timeout_s: float,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """The answer whatever its status. Raises TargetUnreachableError, MalformedPageError (not HTTP, cut short)."""
        try:
            async with asyncio.timeout(timeout_s):
                return await self._ask(method, url, body, headers)
        except TimeoutError:
            raise TargetUnreachableError(target, f"no answer within {timeout_s:g} s") from None
        except aiohttp.ClientPayloadError:
            raise MalformedPageError(f"{target}: the answer ended before its end") from None
        except (aiohttp.ClientResponseError, aiohttp.http.HttpProcessingError):
            raise MalformedPageError(f"{target}: the answer is not HTTP") from None
        except aiohttp.InvalidURL:
            raise TargetUnreachableError(target, "its URL is not valid") from None
        except (aiohttp.ClientError, OSError) as error:
            raise TargetUnreachableError(target, _why(error)) from None

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _body(self, target: str, method: str, url: str, timeout_s: float, body: bytes | None) -> bytes:
        answer = await self.ask(target, method, url, timeout_s=timeout_s, body=body)
        if answer.status != 200:
            raise TargetUnreachableError(target, f"answered HTTP {answer.status}{_hint(answer.status)}")
        if answer.body is None:
            raise MalformedPageError(f"{target}: larger than {self._limit_bytes / 2**20:g} MiB")
        return answer.body

    async def _ask(self, method: str, url: str, body: bytes | None, headers: Mapping[str, str] | None) -> Answer:
        request = self._open().request(method, url, data=body, headers=headers, allow_redirects=False)
        async with request as response:
            return Answer(response.status, await self._read(response))

    async def _read(self, response: aiohttp.ClientResponse) -> bytes | None:
        parts: list[bytes] = []
        size = 0
        async for part in response.content.iter_any():
            parts.append(part)
            size += len(part)
            if size > self._limit_bytes:
                response.close()
                return None
        return b"".join(parts)

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, force_close=True),
                timeout=aiohttp.ClientTimeout(total=None),
                headers={"Accept": "text/plain;version=0.0.4, application/json", "Accept-Encoding": "identity"},
                auto_decompress=False,  # a small compressed answer can be a huge page
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session


def _hint(status: int) -> str:
    return " (redirects are not followed)" if 300 <= status < 400 else ""


def _why(error: Exception) -> str:
    number = error.os_error.errno if isinstance(error, aiohttp.ClientConnectorError) else getattr(error, "errno", None)
    if number == errno.ECONNREFUSED:
        return REFUSED
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "its host name cannot be resolved"
    if number in {errno.ECONNRESET, errno.EPIPE} or isinstance(error, aiohttp.ServerDisconnectedError):
        return "connection closed without an answer"
    return os.strerror(number).lower() if number else type(error).__name__

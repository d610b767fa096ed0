"""Pages of other processes over HTTP: a deadline for the whole answer, a size cap, no redirects, two kinds of error."""

from __future__ import annotations

import asyncio
import errno
import os
import ssl
import zlib
from collections.abc import Callable, Mapping
from typing import NamedTuple

import aiohttp

from controlplane.collect.exposition import OPENMETRICS_END
from controlplane.collect.names import Names
from controlplane.domain.errors import UNRESOLVED, MalformedPageError, TargetUnreachableError, no_tls

LIMIT_BYTES = 8 * 2**20
REFUSED = "connection refused"
"""`why` of a TargetUnreachableError when nobody listens: the process is not there."""

_OPENMETRICS = "application/openmetrics-text"
_GZIP = 31  # zlib's window bits for a gzip header and trailer


def was_refused(answer: object) -> bool:
    """Whether it is the error that nobody listened: the process has ended, or not begun."""
    return isinstance(answer, TargetUnreachableError) and answer.why == REFUSED


class Answer(NamedTuple):
    """Status, body and media type of an answer; a body larger than the cap (when unpacked) is None."""

    status: int
    body: bytes | None
    media_type: str = ""


class Pages:
    """One HTTP session, a connection per request.

    No connection is kept: Triton does not stop while one is open, until its exit timeout is over (seen on 2.51), and a
    kept one that the server has given up in the meantime looks like a failure of the server. `keep` keeps them all the
    same, for whoever sends so many requests that there are not connections enough.
    """

    def __init__(self, *, limit_bytes: int = LIMIT_BYTES, keep: bool = False) -> None:
        self._limit_bytes = limit_bytes
        self._keep = keep
        self._session: aiohttp.ClientSession | None = None
        self._names: Names | None = None

    async def get(self, target: str, url: str, timeout_s: float) -> bytes:
        """Body of a page. `target` names it in errors. Raises TargetUnreachableError, MalformedPageError."""
        return (await self._body(target, "GET", url, timeout_s, None))[0]

    async def get_text(self, target: str, url: str, timeout_s: float) -> str:
        """The same as text; OpenMetrics must be whole."""
        body, media_type = await self._body(target, "GET", url, timeout_s, None)
        try:
            text = body.decode("utf-8")
        except UnicodeDecodeError:
            raise MalformedPageError(f"{target}: not text in UTF-8") from None
        if media_type == _OPENMETRICS and not text.endswith((OPENMETRICS_END, f"{OPENMETRICS_END}\n")):
            raise MalformedPageError(f"{target}: cut short: it does not end with {OPENMETRICS_END!r}")
        return text

    async def post(self, target: str, url: str, timeout_s: float, body: bytes) -> bytes:
        """Body of the answer to a JSON request that only reads. Raises as `get`."""
        return (await self._body(target, "POST", url, timeout_s, body))[0]

    async def ask(
        self,
        target: str,
        method: str,
        url: str,
        *,
        timeout_s: float,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        on_part: Callable[[bytes], None] | None = None,
    ) -> Answer:
        """The answer whatever its status. Raises TargetUnreachableError, MalformedPageError (not HTTP, cut short).

        `on_part` is given the parts of the body as they come.
        """
        try:
            async with asyncio.timeout(timeout_s):
                return await self._ask(method, url, body, headers, on_part)
        except TimeoutError:
            raise TargetUnreachableError(target, f"no answer within {timeout_s:g} s") from None
        except _PackedError as error:
            raise MalformedPageError(f"{target}: {error}") from None
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
        if self._names is not None:
            await self._names.close()
            self._names = None

    async def _body(
        self, target: str, method: str, url: str, timeout_s: float, body: bytes | None
    ) -> tuple[bytes, str]:
        answer = await self.ask(target, method, url, timeout_s=timeout_s, body=body)
        if answer.status != 200:
            raise TargetUnreachableError(target, f"answered HTTP {answer.status}{_hint(answer.status)}")
        if answer.body is None:
            raise MalformedPageError(f"{target}: larger than {self._limit_bytes / 2**20:g} MiB")
        return answer.body, answer.media_type

    async def _ask(
        self,
        method: str,
        url: str,
        body: bytes | None,
        headers: Mapping[str, str] | None,
        on_part: Callable[[bytes], None] | None,
    ) -> Answer:
        request = self._open().request(method, url, data=body, headers=headers, allow_redirects=False)
        async with request as response:
            return Answer(response.status, await self._read(response, on_part), response.content_type)

    async def _read(self, response: aiohttp.ClientResponse, on_part: Callable[[bytes], None] | None) -> bytes | None:
        unpacked = _Unpacked(response.headers.get("Content-Encoding", "identity").strip().lower())
        parts: list[bytes] = []
        left = self._limit_bytes
        async for packed in response.content.iter_any():
            part = unpacked.next(packed, left + 1)
            left -= len(part)
            if left < 0:
                response.close()
                return None
            parts.append(part)
            if on_part is not None:
                on_part(part)
        unpacked.end()
        return b"".join(parts)

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._names = Names()
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, force_close=not self._keep, resolver=self._names),
                timeout=aiohttp.ClientTimeout(total=None),
                # Compressing a page costs the thread that serves it milliseconds, so that it is not asked for;
                # proxies that do it all the same are understood.
                headers={"Accept": "text/plain;version=0.0.4, application/json", "Accept-Encoding": "identity"},
                auto_decompress=False,  # a small compressed answer can be a huge page
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session


class _PackedError(Exception):
    """Compressed data that cannot be unpacked; says why."""


class _Unpacked:
    """A body that comes in parts, unpacked as it comes and never further than asked for."""

    def __init__(self, encoding: str) -> None:
        if encoding not in {"identity", "", "gzip", "x-gzip"}:
            raise _PackedError(f"compressed by {encoding!r}; understood is gzip")
        self._gzip = zlib.decompressobj(wbits=_GZIP) if "gzip" in encoding else None

    def next(self, part: bytes, most: int) -> bytes:
        """The next part, cut after `most` bytes. Raises _PackedError."""
        if self._gzip is None:
            return part
        try:
            return self._gzip.decompress(part, most)
        except zlib.error:
            raise _PackedError("not text: its gzip data are damaged") from None

    def end(self) -> None:
        """All parts were given. Raises _PackedError when some are missing."""
        if self._gzip is not None and not self._gzip.eof:
            raise _PackedError("cut short: its gzip data do not end")
        if self._gzip is not None and self._gzip.unused_data:
            raise _PackedError("gzip data in several parts; understood is one")


def _hint(status: int) -> str:
    return " (redirects are not followed)" if 300 <= status < 400 else ""


def _why(error: Exception) -> str:
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(cause, ssl.SSLError):
        return no_tls(cause)
    number = getattr(cause, "errno", None)
    if number == errno.ECONNREFUSED:
        return REFUSED
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return UNRESOLVED
    if number in {errno.ECONNRESET, errno.EPIPE} or isinstance(error, aiohttp.ServerDisconnectedError):
        return "connection closed without an answer"
    return os.strerror(number).lower() if number and number > 0 else type(error).__name__

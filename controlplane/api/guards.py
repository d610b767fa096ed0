"""What is refused before any route is reached: foreign hosts and origins, large bodies. And what nobody caught."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from controlplane.api.problems import problem, unexpected
from controlplane.domain.sizes import memory_text

BODY_MAX_BYTES = 64 * 1024
_LARGER_BYTES = {"/hooks/alertmanager": 1024 * 1024}
"""A group of alerts comes as one body, and what is refused is not sent again."""
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Guards:
    """Outermost ASGI layer.

    `loopback_only` (no tokens are in use): the Host must be a loopback name, so that no web page can reach the API by
    rebinding its own name, and a change must not come from a page of another origin.
    """

    def __init__(self, app: ASGIApp, *, loopback_only: bool) -> None:
        self._app = app
        self._loopback_only = loopback_only

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: D102 - ASGI
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path, headers = scope["path"], Headers(scope=scope)
        if self._loopback_only and (why := _foreign(scope["method"], headers)):
            await problem(path, 403, "foreign", why)(scope, receive, send)
            return
        length, most = headers.get("content-length", ""), _LARGER_BYTES.get(path, BODY_MAX_BYTES)
        if length.isdigit() and int(length) > most:
            await problem(path, 413, "too-large", _too_large(most))(scope, receive, send)
            return
        await self._guarded(scope, _limited(receive, most), send)

    async def _guarded(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except asyncio.CancelledError:
            # only the end of the process cancels a request; whoever waits is told to come again
            if not started:
                await problem(scope["path"], 503, "stopping", "the control plane is stopping")(scope, receive, send)
        except Exception as error:  # noqa: BLE001 - the last line: no traceback reaches a caller
            answer = unexpected(scope["path"], error)
            if not started:
                await answer(scope, receive, send)


def _too_large(most: int) -> str:
    return f"a request body may have {memory_text(most)}"


def _foreign(method: str, headers: Headers) -> str:
    """Why a request did not come from this machine by its own name; empty when it did."""
    host = headers.get("host", "")
    if _hostname(host) not in _LOOPBACK:
        return f"without tokens only loopback names are allowed in Host ({', '.join(_LOOPBACK)})"
    origin = headers.get("origin")
    if origin is not None and method not in ("GET", "HEAD") and urlsplit(origin).netloc != host:
        return "without tokens a change may not come from a page of another origin"
    return ""


def _hostname(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _limited(receive: Receive, most: int) -> Receive:
    """The same body, up to the limit: a chunked one tells its size only while it comes."""
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > most:
            raise HTTPException(413, _too_large(most))
        return message

    return counted

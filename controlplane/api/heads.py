"""HEAD as RFC 9110 has it: what GET would answer, without the body. Load balancers look that way."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HEAD = "controlplane.head"


def is_head(scope: Scope) -> bool:
    """Whether nobody wants the body."""
    return scope.get(_HEAD) is True


class Heads:
    """ASGI layer: to the routes below a HEAD is a GET, and of the answer only status and headers go out."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: D102 - ASGI
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def bodiless(message: Message) -> None:
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        await self._app({**scope, "method": "GET", _HEAD: True}, receive, bodiless)

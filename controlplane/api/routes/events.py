"""What happens, told as it happens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Header, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event

from controlplane.api.context import ThePlane, Viewer, still_taken
from controlplane.api.feed import MOST_READERS, EventStream, Feed
from controlplane.api.heads import is_head
from controlplane.api.views.events import told
from controlplane.domain.events import Event, Position

router = APIRouter(prefix="/api/v1/events", tags=["events"])

_AGAIN_MS = 2000
_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
"""The latter has nginx send on what comes as it comes."""


async def _feed(request: Request) -> Feed:
    found: Feed = request.app.state.feed
    return found


TheFeed = Annotated[Feed, Depends(_feed)]


async def _start(
    plane: ThePlane,
    _: Viewer,
    last_event_id: Annotated[
        str, Header(description="The id that came last; empty: only what happens from now on")
    ] = "",
) -> Position:
    if not last_event_id:
        return await plane.desk.newest_event()
    try:
        return Position.parse(last_event_id)
    except ValueError as error:
        fault = {"type": "value_error", "loc": ("header", "Last-Event-ID"), "input": last_event_id, "msg": str(error)}
        raise RequestValidationError([fault]) from None


async def _place(feed: TheFeed, _: Viewer) -> AsyncIterator[None]:
    with feed.place() as room:
        if not room:
            raise HTTPException(503, f"{MOST_READERS} follow already; more are not allowed")
        yield


@router.get(
    "",
    summary="What happens, as it happens",
    response_class=EventStream,
    responses={200: {"description": "Server-sent events, until one of both ends it"}},
)
async def events(
    request: Request,
    plane: ThePlane,
    feed: TheFeed,
    start: Annotated[Position, Depends(_start)],
    _: Annotated[None, Depends(_place)],
) -> EventStream:
    """Events `decision`, `outcome`, `alert` and `instruction`, each with JSON as data and an id to go on from."""
    found = feed.follow(plane.desk, start, partial(still_taken, request))
    return EventStream(_written(start, found, is_head(request.scope)), headers=_HEADERS)


async def _written(start: Position, found: AsyncIterator[Event | None], only_headers: bool) -> AsyncIterator[bytes]:
    yield format_sse_event(id=str(start), retry=_AGAIN_MS)
    if only_headers:
        return
    async for event in found:
        if event is None:
            yield KEEPALIVE_COMMENT
        else:
            name, data = told(event.value)
            yield format_sse_event(event=name, id=str(event.position), data_str=data.model_dump_json())

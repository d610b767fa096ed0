"""Whether it lives, whether it does its work, and its metrics page. Open without a token, for probes and scrapers."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client.exposition import choose_encoder
from pydantic import BaseModel, Field

from controlplane.api.context import ThePlane
from controlplane.api.plane import late_after_s
from controlplane.api.problems import problem, responses
from controlplane.domain.picture import Picture

router = APIRouter(tags=["health"])


class Alive(BaseModel):
    """The process answers."""

    alive: bool = True


class Ready(BaseModel):
    """The loop does its work, or stands by to do it."""

    ready: bool = True
    role: Literal["leader", "standby"]
    leader: str = Field(description="Which control plane holds the lease")
    last_tick_age_s: float | None = Field(description="null of one that stands by")


@router.get("/healthz", summary="Whether the process answers")
async def healthz() -> Alive:
    """Always 200 while the process answers; says nothing about the loop."""
    return Alive()


@router.get("/readyz", summary="Whether the loop does its work", response_model=Ready, responses=responses(503))
async def readyz(request: Request, plane: ThePlane) -> Ready | JSONResponse:
    """503 until a first tick is done, while the last one is older than three intervals, and while the store fails.

    One that stands by is ready while another leads and the store can be read: it takes what people say.
    """
    picture = plane.picture()
    if why := not_ready(picture, late_after_s(plane)):
        return problem(request.url.path, 503, "not-ready", why)
    health = picture.health
    if health.stands_by:
        return Ready(role="standby", leader=health.leader, last_tick_age_s=None)
    return Ready(role="leader", leader=health.leader, last_tick_age_s=round(picture.at - health.last_tick_at, 3))


def not_ready(picture: Picture, late_s: float) -> str:
    """Why the loop does not do its work; empty when it does."""
    health = picture.health
    if health.stands_by:
        return health.problem
    if not health.last_tick_at:
        return "no tick was done yet"
    age_s = picture.at - health.last_tick_at
    if age_s > late_s:
        return f"the last tick was {age_s:.0f} s ago, more than {late_s:g} s"
    if health.problem:
        return f"{health.problem} ({health.unwritten} ticks wait to be written)"
    return ""


@router.get(
    "/metrics",
    summary="Own metrics in the Prometheus format",
    response_class=Response,
    responses={200: {"description": "Text format, or OpenMetrics if asked for", "content": {"text/plain": {}}}},
)
async def metrics(request: Request, plane: ThePlane) -> Response:
    """What is missing or stale has no sample."""
    encode, content_type = choose_encoder(request.headers.get("accept", ""))
    return Response(encode(plane.registry), headers={"Content-Type": content_type})

"""The fleet at a glance, and its servers."""

from __future__ import annotations

from fastapi import APIRouter

from controlplane.api.context import ThePlane, Viewer
from controlplane.api.plane import late_after_s
from controlplane.api.views.fleet import FleetView, ServerView, fleet_view, server_view
from controlplane.api.views.leaving import leaving_view

router = APIRouter(prefix="/api/v1", tags=["fleet"])


@router.get("/fleet", summary="Everything at a glance")
async def fleet(plane: ThePlane, _: Viewer) -> FleetView:
    """Servers, workloads, models with their last decisions, GPUs, overrides, freezes and the loop."""
    return fleet_view(plane.picture(), late_after_s(plane), plane.notifier.refusals)


@router.get("/servers", summary="All servers")
async def servers(plane: ThePlane, _: Viewer) -> list[ServerView]:
    """Each as it was read last."""
    picture = plane.picture()
    return [server_view(picture, spec) for spec in picture.fleet.servers]


@router.get("/leaving", summary="Which servers a gateway should no longer route a model to")
async def leaving(plane: ThePlane, _: Viewer) -> dict[str, list[str]]:
    """Names of servers by the model's name on them. Not known (503) before placement was worked out: keep the last."""
    return leaving_view(plane.picture())

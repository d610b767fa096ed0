"""Announced events: demand that somebody said would come."""

from __future__ import annotations

from fastapi import APIRouter

from controlplane.api.context import Operator, ThePlane, Viewer
from controlplane.api.problems import responses
from controlplane.api.views.people import AnnouncementBody, AnnouncementView

router = APIRouter(prefix="/api/v1/announcements", tags=["announcements"])


@router.get("", summary="Announced events that are not over")
async def announcements(plane: ThePlane, _: Viewer) -> list[AnnouncementView]:
    """Those of people and those of the configuration, by start."""
    return [AnnouncementView.model_validate(announced) for announced in await plane.desk.announced()]


@router.post("", summary="Announce demand", status_code=201, responses=responses(404, 409))
async def announce(body: AnnouncementBody, plane: ThePlane, who: Operator) -> AnnouncementView:
    """Capacity is raised so early that it is there at the start, inside the bounds; nothing is lowered by it."""
    made = await plane.desk.announce(
        body.name,
        body.subject,
        body.start,
        body.end,
        factor=body.factor,
        per_s=body.rate,
        actor=who.actor(body.actor),
        reason=body.reason,
    )
    return AnnouncementView.model_validate(made)


@router.delete("/{announcement_id}", summary="Take an announced event back", responses=responses(404, 409))
async def end(announcement_id: str, plane: ThePlane, who: Operator) -> AnnouncementView:
    """Of people; one of the configuration is taken back there."""
    return AnnouncementView.model_validate(await plane.desk.end_announced(announcement_id, actor=who.actor(None)))

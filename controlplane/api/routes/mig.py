"""MIG layouts: now, planned, planned for other demand, and drawn."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from controlplane.api.context import ThePlane, Viewer
from controlplane.api.problems import responses
from controlplane.api.views.mig import MigPlanBody, MigView
from controlplane.page.mig import mig_page

router = APIRouter(tags=["mig"])


@router.get("/api/v1/mig", summary="How GPUs are cut, and how they should be")
async def mig(plane: ThePlane, _: Viewer) -> MigView:
    """Layouts now and of the last plan, their difference, what is short, and whether the plan pays."""
    picture = plane.picture()
    return MigView.of(picture.mig, picture.at)


@router.post("/api/v1/mig/plan", summary="Plan layouts, and change nothing", responses=responses(404, 409))
async def try_out(body: MigPlanBody, plane: ThePlane, _: Viewer) -> MigView:
    """A dry run for the demand that is seen or given. 409 where nothing can be planned, with the reason."""
    picture = plane.picture()
    tried = await plane.mig.try_out(picture.fleet, picture.reading, body.demand, picture.at)
    return MigView.of(tried, picture.at)


@router.get("/mig", summary="The same as a page, drawn", response_class=HTMLResponse)
async def page(plane: ThePlane, _: Viewer) -> HTMLResponse:
    """Slices of each GPU, now and planned. It loads nothing from elsewhere."""
    picture = plane.picture()
    return HTMLResponse(mig_page(picture.mig, picture.at))

"""Objectives: how they stand, how they came to it, and what people corrected."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from controlplane.api.context import Operator, ThePlane, Viewer
from controlplane.api.problems import responses
from controlplane.api.views.slo import AdjustmentBody, Target, Threshold, Window
from controlplane.domain.history import Adjustment, AdjustmentKind
from controlplane.loop.slo_report import POINTS, Asked, ObjectiveHistory
from controlplane.slo.again import Again
from controlplane.slo.report import ModelReport, Standing

router = APIRouter(prefix="/api/v1/slo", tags=["slo"])

_Window = Annotated[Window | None, Query(description="Such as 28d; left out: each objective's own")]
_Objective = Annotated[str, Query(description="One objective; empty: every one of the model")]
_Points = Annotated[int, Query(ge=10, le=1000, description="Steps of a series, at most")]


@router.get("", summary="How every objective stands")
async def standings(plane: ThePlane, _: Viewer, window: _Window = None) -> list[Standing]:
    """As people's corrections have it."""
    return list(await plane.slo.standings(window))


@router.get(
    "/{model}", summary="Objectives of a model over time, with what was done meanwhile", responses=responses(404, 409)
)
async def report(
    model: str,
    plane: ThePlane,
    _: Viewer,
    *,
    objective: _Objective = "",
    window: _Window = None,
    points: _Points = POINTS,
    threshold: Annotated[Threshold | None, Query(description="Judge by another one, where histograms are kept")] = None,
    target: Annotated[Target | None, Query(description="Judge by another one, such as 99.5%")] = None,
) -> ModelReport:
    """With a threshold, objectives that have no histograms are `refused`, with why; 409 where none has any."""
    return await plane.slo.report(Asked(model, objective, window, points, Again(threshold, target)))


@router.get("/{model}/history", summary="One objective over time", responses=responses(404, 409))
async def history(
    model: str,
    plane: ThePlane,
    _: Viewer,
    *,
    objective: Annotated[str, Query(description="May be left out where the model has only one")] = "",
    window: _Window = None,
    points: _Points = POINTS,
) -> ObjectiveHistory:
    """Added up on the server: the steps count exactly what the window does."""
    return await plane.slo.history(Asked(model, objective, window, points))


@router.get("/{model}/adjustments", summary="What people corrected", responses=responses(404))
async def adjustments(model: str, plane: ThePlane, _: Viewer) -> list[Adjustment]:
    """Oldest first, with those that hold for all models; model `*`: every one."""
    return list(await plane.slo.adjustments(model))


@router.post("/{model}/adjustments", summary="Correct what counts", status_code=201, responses=responses(404, 409))
async def adjust(model: str, body: AdjustmentBody, plane: ThePlane, who: Operator) -> Adjustment:
    """Appended with actor and reason; nothing is overwritten. Model `*` with kind exclude: of all models."""
    actor, reason = who.actor(body.actor), body.reason
    if body.kind is AdjustmentKind.WITHDRAW:
        return await plane.slo.withdraw(model, body.withdraws or "", actor=actor, reason=reason)
    start, end = body.start or 0.0, body.end or 0.0
    if body.kind is AdjustmentKind.EXCLUDE:
        return await plane.slo.exclude(model, body.objective, start, end, actor=actor, reason=reason)
    return await plane.slo.correct(model, body.objective, start, end, body.bad or 0, actor=actor, reason=reason)

"""Freezes: no scaling for a while."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from controlplane.api.context import Operator, ThePlane, Viewer
from controlplane.api.problems import responses
from controlplane.api.views.people import EndedView, FreezeBody, FreezeView
from controlplane.domain.errors import ConflictError

router = APIRouter(prefix="/api/v1/freezes", tags=["freezes"])


@router.get("", summary="Freezes in force")
async def freezes(plane: ThePlane, _: Viewer) -> list[FreezeView]:
    """Of single models and workloads, and of all."""
    return [FreezeView.model_validate(freeze) for freeze in await plane.desk.freezes()]


@router.post("", summary="Freeze scaling", status_code=201, responses=responses(404))
async def freeze(body: FreezeBody, plane: ThePlane, who: Operator) -> FreezeView:
    """Decisions go on and are shown, but none is carried out; overrides still are."""
    made = await plane.desk.freeze(
        body.model,
        body.direction,
        actor=who.actor(body.actor),
        reason=body.reason,
        ttl_s=body.ttl,
        workload=body.workload,
    )
    return FreezeView.model_validate(made)


@router.delete("", summary="End the freezes of one model or workload, or those of all", responses=responses(404, 409))
async def unfreeze(
    plane: ThePlane,
    who: Operator,
    model: Annotated[str, Query(description="One model")] = "",
    workload: Annotated[str, Query(description="One workload; both empty: the freezes that hold for all")] = "",
) -> EndedView:
    """A freeze of a single model or workload is not ended with those that hold for all, nor the other way round."""
    if model and workload:
        raise ConflictError("a freeze is of a model or of a workload; name one of them")
    return EndedView(ended=await plane.desk.unfreeze(model or workload, actor=who.actor(None)))


@router.delete("/{freeze_id}", summary="End a freeze", responses=responses(404))
async def end(freeze_id: str, plane: ThePlane, who: Operator) -> FreezeView:
    """One of them."""
    return FreezeView.model_validate(await plane.desk.end_freeze(freeze_id, actor=who.actor(None)))

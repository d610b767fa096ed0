"""Overrides: what people have fixed, until when and why."""

from __future__ import annotations

from fastapi import APIRouter

from controlplane.api.context import Operator, ThePlane, Viewer
from controlplane.api.instruct import INSTRUCTED, Instruct
from controlplane.api.problems import responses
from controlplane.api.views.people import OperationView, OverrideBody, OverrideView

router = APIRouter(prefix="/api/v1/overrides", tags=["overrides"])


@router.get("", summary="Overrides in force")
async def overrides(plane: ThePlane, _: Viewer) -> list[OverrideView]:
    """Of all models and workloads."""
    return [OverrideView.model_validate(override) for override in await plane.desk.overrides()]


@router.post("", summary="Put an override", status_code=202, responses=INSTRUCTED)
async def put(body: OverrideBody, instruct: Instruct) -> OperationView:
    """It replaces those of the same model or workload that it contradicts."""
    if body.workload:
        return await instruct.replicas(body.workload, body.kind, body, body.replicas, body.bounds)
    return await instruct(body.model, body.kind, body, body.instances, body.bounds)


@router.delete("/{override_id}", summary="Withdraw an override", responses=responses(404))
async def withdraw(override_id: str, plane: ThePlane, who: Operator) -> OverrideView:
    """The policy decides again from the next tick on."""
    return OverrideView.model_validate(await plane.desk.end_override(override_id, actor=who.actor(None)))

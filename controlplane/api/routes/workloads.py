"""Workloads, and what people may ask for their replicas."""

from __future__ import annotations

from fastapi import APIRouter

from controlplane.api.context import Operator, ThePlane, Viewer
from controlplane.api.instruct import INSTRUCTED, Instruct
from controlplane.api.problems import responses
from controlplane.api.views.people import BoundsBody, EndedView, OperationView, ReplicasBody, Said
from controlplane.api.views.workloads import WorkloadView, workload_view
from controlplane.domain.instructions import OverrideKind

router = APIRouter(prefix="/api/v1/workloads", tags=["workloads"])


@router.get("", summary="All workloads")
async def workloads(plane: ThePlane, _: Viewer) -> list[WorkloadView]:
    """How many servers were found of each, by phase, and why that is not known."""
    picture = plane.picture()
    return [workload_view(picture, spec) for spec in picture.fleet.workloads]


@router.put("/{workload}/replicas", summary="Fix the number of replicas", status_code=202, responses=INSTRUCTED)
async def replicas(workload: str, body: ReplicasBody, instruct: Instruct) -> OperationView:
    """An override: inside the workload's configured bounds."""
    return await instruct.replicas(workload, OverrideKind.REPLICAS, body, replicas=body.replicas)


@router.put("/{workload}/bounds", summary="Set other bounds", status_code=202, responses=INSTRUCTED)
async def bounds(workload: str, body: BoundsBody, instruct: Instruct) -> OperationView:
    """An override: they hold in place of the configured ones, wider or narrower."""
    return await instruct.replicas(workload, OverrideKind.BOUNDS, body, bounds=(body.min, body.max))


@router.post("/{workload}/pin", summary="Keep the replicas there are", status_code=202, responses=INSTRUCTED)
async def pin(workload: str, body: Said, instruct: Instruct) -> OperationView:
    """An override: as many as are ready or starting now."""
    return await instruct.replicas(workload, OverrideKind.PIN, body)


@router.delete("/{workload}/overrides", summary="Withdraw all overrides of a workload", responses=responses(404))
async def withdraw(workload: str, plane: ThePlane, who: Operator) -> EndedView:
    """The policy decides again from the next tick on."""
    return EndedView(ended=await plane.desk.end_overrides(workload, actor=who.actor(None)))

"""Operations: where an instruction is on its way to the servers."""

from __future__ import annotations

from fastapi import APIRouter

from controlplane.api.context import ThePlane, Viewer
from controlplane.api.problems import responses
from controlplane.api.views.people import OperationView

router = APIRouter(prefix="/api/v1/operations", tags=["operations"])


@router.get("/{operation_id}", summary="One operation", responses=responses(404))
async def operation(operation_id: str, plane: ThePlane, _: Viewer) -> OperationView:
    """Its id is that of the override."""
    return OperationView.model_validate(await plane.desk.operation(operation_id))

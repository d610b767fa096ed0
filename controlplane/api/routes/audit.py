"""The audit log."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from controlplane.api.context import Admin, ThePlane
from controlplane.api.views.people import AuditView

router = APIRouter(prefix="/api/v1/audit", tags=["audit"])


@router.get("", summary="Who asked for what, newest first")
async def audit(plane: ThePlane, _: Admin, limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> list[AuditView]:
    """Only for admins."""
    return [AuditView.model_validate(entry) for entry in await plane.desk.audit_log(limit)]

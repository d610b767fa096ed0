"""Where Alertmanagers send alerts back."""

from __future__ import annotations

from fastapi import APIRouter

from controlplane.api.context import Operator, ThePlane
from controlplane.api.views.received import HookBody, TakenView

router = APIRouter(prefix="/hooks", tags=["alerts"])


@router.post("/alertmanager", summary="Take alerts from an Alertmanager's webhook")
async def alertmanager(body: HookBody, plane: ThePlane, _: Operator) -> TakenView:
    """They are shown beside decisions, and rules of the configuration may freeze scaling while they fire."""
    now = plane.inbox.clock()
    await plane.inbox.receive([alert.alert(now) for alert in body.alerts], now)
    return TakenView(alerts=len(body.alerts))

"""Burn alerts: how they stand, when they began and ended; and what Alertmanagers sent back."""

from __future__ import annotations

from collections import Counter
from typing import Annotated

from fastapi import APIRouter, Query

from controlplane.api.context import ThePlane, Viewer
from controlplane.api.problems import responses
from controlplane.api.views.alerts import AlertEventView, AlertsView, alerts_of
from controlplane.api.views.received import ReceivedAlertView

router = APIRouter(prefix="/api/v1/alerts", tags=["alerts"])


@router.get("", summary="Burn alerts, those that fire first", responses=responses(404))
async def alerts(
    plane: ThePlane,
    _: Viewer,
    *,
    model: Annotated[str, Query(description="Of one model; empty: of all")] = "",
    firing: Annotated[bool, Query(description="Only those that fire now")] = False,
    limit: Annotated[
        int, Query(ge=0, le=1000, description="So many events and received alerts are listed, at most")
    ] = 50,
) -> AlertsView:
    """As the last tick judged them, when some began or ended to fire, and what Alertmanagers sent back."""
    events = await plane.desk.alert_events(model, limit)
    told, ended = await plane.inbox.newest(model, limit)
    burning = [ReceivedAlertView.of(alert, firing=True) for alert in told[:limit]]
    others = [ReceivedAlertView.of(alert, firing=False) for alert in ended]
    picture = plane.picture()
    found = [
        alert
        for spec in picture.fleet.models
        if model in {"", spec.name}
        for alert in alerts_of(picture, spec)
        if alert.firing or not firing
    ]
    found.sort(key=lambda alert: (not alert.firing, alert.severity.value, alert.model, alert.objective))
    return AlertsView(
        at=picture.at,
        alerts=found,
        events=[AlertEventView.model_validate(event) for event in events],
        received=[*burning, *([] if firing else others)][:limit],
        received_firing=Counter(alert.severity for alert in told),
    )

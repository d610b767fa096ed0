"""Where an alert leads: its runbook, the dashboard that shows what it is about, and the control plane itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from controlplane.domain import names
from controlplane.domain.conditions import AlertName
from controlplane.domain.routing import AlertSettings
from controlplane.publish.alerting.catalogue import AlertText

DASHBOARDS: Mapping[AlertName, str] = {
    AlertName.ERROR_BUDGET_BURN: "cp-slo",
    AlertName.ERROR_BUDGET_EXHAUSTED: "cp-slo",
    AlertName.OBJECTIVE_UNMEASURED: "cp-slo",
    AlertName.MODEL_LOAD_FAILED: "cp-autoscaler",
    AlertName.MODEL_FAILING: "cp-fleet",
    AlertName.CAPACITY_REFUSED: "cp-autoscaler",
    AlertName.STARTUP_SLOW: "cp-autoscaler",
    AlertName.SCALING_FLAPPING: "cp-autoscaler",
    AlertName.MIG_CHANGE_FAILED: "cp-gpu",
    AlertName.MIG_RESET_PENDING: "cp-gpu",
    AlertName.GPU_XID: "cp-gpu",
    AlertName.GPU_ECC: "cp-gpu",
    AlertName.GPU_THROTTLED: "cp-gpu",
    AlertName.SERVER_DOWN: "cp-fleet",
    AlertName.SCRAPE_STALE: "cp-control-plane",
    AlertName.OVERRIDE_ENDING: "cp-autoscaler",
    AlertName.STORE_FAILING: "cp-control-plane",
    AlertName.CONTROL_PLANE_LATE: "cp-control-plane",
    AlertName.CONTROL_PLANE_NOT_LEADING: "cp-control-plane",
    AlertName.CONTROL_PLANE_DOWN: "cp-control-plane",
    AlertName.WATCHDOG: "cp-control-plane",
}
"""The uid of the dashboard for each alert."""

_VARIABLES = (names.MODEL, names.NODE, names.GPU)


def links(text: AlertText, settings: AlertSettings, in_url: Callable[[str], str]) -> dict[str, str]:
    """Annotations that lead on, those that are configured. `in_url` gives a label's value as it stands in a URL."""
    found = {}
    if settings.runbooks_url:
        found["runbook_url"] = f"{settings.runbooks_url}/{text.runbook}"
    if settings.dashboards_url:
        chosen = "&".join(f"var-{name}={in_url(name)}" for name in _VARIABLES if name in text.labels)
        board = f"{settings.dashboards_url}/d/{DASHBOARDS[text.alert]}"
        found["dashboard_url"] = f"{board}?{chosen}" if chosen else board
    if settings.console_url:
        found["console_url"] = settings.console_url
    return found

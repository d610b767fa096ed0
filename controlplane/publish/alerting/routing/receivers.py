"""What Alertmanager sends to, and how. Keys of single kinds are those of its configuration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from controlplane.domain.alerts import Severity
from controlplane.domain.routing import AlertSettings, Receiver, ReceiverKind, Team
from controlplane.publish.alerting.routing.texts import CONSOLE, DASHBOARD, FIRING, OVER, RUNBOOK, TEXT, TITLE

NOBODY, WATCHDOG, BACK = "nobody", "watchdog", "controlplane"
"""Receivers of no team; those of teams have a slash in their names, which names of teams have not."""
HOOK = "/hooks/alertmanager"
"""Where the control plane takes alerts back."""
_PAGERDUTY_SEVERITY = {Severity.PAGE: "critical", Severity.TICKET: "warning", Severity.INFO: "info"}
_OPSGENIE_PRIORITY = {Severity.PAGE: "P1", Severity.TICKET: "P3", Severity.INFO: "P5"}


def receiver_name(team: Team, severity: Severity) -> str:
    """The receiver of a team for alerts of a severity."""
    return f"{team.name}/{severity.value}"


def receivers(alerts: AlertSettings, teams: Iterable[Team]) -> list[dict[str, Any]]:
    """All that routes name."""
    found: list[dict[str, Any]] = [{"name": NOBODY}]
    if alerts.watchdog is not None:
        found.append(_receiver(WATCHDOG, [alerts.watchdog], Severity.INFO, send_resolved=False))
    if alerts.console_url:
        back = Receiver(ReceiverKind.WEBHOOK, alerts.hook_token_file, f"{alerts.console_url}{HOOK}")
        found.append(_receiver(BACK, [back], Severity.INFO))
    for team in teams:
        found += (_receiver(receiver_name(team, severity), team.told(severity), severity) for severity in Severity)
    return found


def _receiver(
    name: str, places: Iterable[Receiver], severity: Severity, *, send_resolved: bool = True
) -> dict[str, Any]:
    found: dict[str, Any] = {"name": name}
    for place in places:
        config = {**_CONFIG[place.kind](place, severity), "send_resolved": send_resolved}
        found.setdefault(f"{place.kind.value}_configs", []).append(config)
    return found


def _pagerduty(place: Receiver, severity: Severity) -> Mapping[str, Any]:
    """Empty links are left out by Alertmanager."""
    return {
        "routing_key_file": place.secret_file,
        "severity": _PAGERDUTY_SEVERITY[severity],
        "description": TITLE,
        "client": "controlplane",
        "client_url": CONSOLE,
        "details": {"firing": FIRING, "resolved": OVER},
        "links": [{"href": RUNBOOK, "text": "Runbook"}, {"href": DASHBOARD, "text": "Dashboard"}],
    }


def _opsgenie(place: Receiver, severity: Severity) -> Mapping[str, Any]:
    usual = {"api_url": f"{place.to}/"} if place.to else {}
    return {
        "api_key_file": place.secret_file,
        **usual,
        "message": TITLE,
        "description": TEXT,
        "priority": _OPSGENIE_PRIORITY[severity],
    }


def _slack(place: Receiver, _: Severity) -> Mapping[str, Any]:
    """The title leads to the dashboard."""
    return {
        "api_url_file": place.secret_file,
        "channel": place.to,
        "title": TITLE,
        "title_link": DASHBOARD,
        "text": TEXT,
        "fallback": TITLE,
    }


def _webhook(place: Receiver, _: Severity) -> Mapping[str, Any]:
    if not place.secret_file:
        return {"url": place.to}
    return {
        "url": place.to,
        "http_config": {"authorization": {"type": "Bearer", "credentials_file": place.secret_file}},
    }


def _email(place: Receiver, _: Severity) -> Mapping[str, Any]:
    """Plain text: Alertmanager writes a page of its own where `html` is not empty."""
    return {"to": place.to, "headers": {"Subject": TITLE}, "html": "", "text": TEXT}


_CONFIG = {
    ReceiverKind.PAGERDUTY: _pagerduty,
    ReceiverKind.OPSGENIE: _opsgenie,
    ReceiverKind.SLACK: _slack,
    ReceiverKind.WEBHOOK: _webhook,
    ReceiverKind.EMAIL: _email,
}

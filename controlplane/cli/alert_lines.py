"""What fires, in few lines: burn alerts, and what Alertmanagers sent back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from controlplane.cli.output import clock_time, counted, duration
from controlplane.cli.tables import escape

_SHOWN = 5
_NAMED = 3


def firing_lines(fleet: Mapping[str, Any]) -> str:
    """Pages first, then tickets, the longest firing first; empty where none fires and all are judged."""
    alerts = [alert for model in fleet["models"] for alert in model["alerts"]]
    firing = sorted((a for a in alerts if a["firing"]), key=lambda a: (a["severity"], a["since"]))
    lines = [
        f"[{'red' if alert['severity'] == 'page' else 'yellow'}]{alert['severity']}[/] {escape(alert['summary'])};"
        f" since {duration(fleet['at'] - alert['since'])}"
        + (f" [dim](frozen{_why(alert, fleet['at'])})[/]" if alert["frozen"] else "")
        for alert in firing[:_SHOWN]
    ]
    if len(firing) > _SHOWN:
        lines.append(f"and {len(firing) - _SHOWN} more alerts: controlplane status --json, or GET /api/v1/alerts")
    frozen = [alert for alert in alerts if alert["frozen"]]
    if frozen:
        first = min(frozen, key=lambda alert: alert["frozen_since"])
        lines.append(
            f"[dim]{len(frozen)} of {len(alerts)} alerts cannot be judged, the first{_why(first, fleet['at'])}[/]"
        )
    return "\n".join(lines)


def _why(alert: Mapping[str, Any], now: float) -> str:
    return f" since {duration(now - alert['frozen_since'])}: {escape(alert['frozen'])}"


def refusal_lines(fleet: Mapping[str, Any]) -> str:
    """Alertmanagers that take no alerts, a line each; empty where all take them or none is told."""
    return "\n".join(
        f"[red]alerts reach nobody by[/] {escape(refusal['url'])} since {clock_time(refusal['since'])} UTC"
        f" ({duration(max(0.0, fleet['at'] - refusal['since']))}): {escape(refusal['why'])}"
        for refusal in fleet["refusals"]
    )


def received_line(received: Sequence[Mapping[str, Any]]) -> str:
    """What fires by the account of Alertmanagers; empty where nothing does that anybody need look at."""
    firing = [alert for alert in received if alert["firing"] and alert["severity"] != "info"]
    named = [escape(alert["name"] + (f" of {alert['model']}" if alert["model"] else "")) for alert in firing[:_NAMED]]
    more = f" and {len(firing) - _NAMED} more" if len(firing) > _NAMED else ""
    return f"Alertmanager: {counted(len(firing), 'alert')} firing: {', '.join(named)}{more}" if firing else ""

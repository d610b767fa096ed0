"""Burn alerts that fire, in few lines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from controlplane.cli.output import duration
from controlplane.cli.tables import escape

_SHOWN = 5


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

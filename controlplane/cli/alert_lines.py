"""What fires, in few lines: burn alerts, and what Alertmanagers sent back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType

from controlplane.cli.output import clock_time, counted, duration
from controlplane.cli.tables import UNKNOWN, escape, new_table

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
        lines.append(f"and {len(firing) - _SHOWN} more alerts: controlplane alerts")
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


def received_line(found: Mapping[str, Any]) -> str:
    """What fires by the account of Alertmanagers, pages first; empty where nothing does."""
    counts: Mapping[str, int] = found["received_firing"]
    total = sum(counts.values())
    if not total:
        return ""
    each = ", ".join(f"{number} {escape(_severity(severity))}" for severity, number in counts.items())
    named = [_named(alert) for alert in found["received"] if alert["firing"]][:_NAMED]
    more = f" and {total - len(named)} more: controlplane alerts" if total > len(named) else ""
    return f"Alertmanager: {counted(total, 'alert')} firing ({each}): {', '.join(named)}{more}"


def _named(alert: Mapping[str, Any]) -> str:
    of = f" of {alert['model']}" if alert["model"] else ""
    return escape(f"{_severity(alert['severity'])} {alert['name']}{of}")


def _severity(told: str) -> str:
    return told or "without severity"


def burn_table(found: Mapping[str, Any]) -> RenderableType:
    """Burn alerts that fire or cannot be judged."""
    shown = [alert for alert in found["alerts"] if alert["firing"] or alert["frozen"]]
    if not shown:
        return "[bold]Burn alerts[/]: none fires, all are judged"
    table = new_table("Burn alerts", "severity", "fires since (UTC)", "what", "cannot be judged")
    for alert in shown:
        table.add_row(
            alert["severity"],
            clock_time(alert["since"]) if alert["firing"] else UNKNOWN,
            escape(alert["summary"]),
            escape(alert["frozen"]) or UNKNOWN,
        )
    return table


def received_table(found: Mapping[str, Any]) -> RenderableType:
    """Alerts that came back from Alertmanagers, with what became of them."""
    if not found["received"]:
        return "[bold]From Alertmanagers[/]: none"
    table = new_table("From Alertmanagers", "severity", "alert", "model", "since (UTC)", "state", "what")
    for alert in found["received"]:
        table.add_row(
            escape(_severity(alert["severity"])),
            escape(alert["name"]),
            escape(alert["model"]) or UNKNOWN,
            clock_time(alert["starts_at"]),
            _state(alert),
            escape(alert["summary"]),
        )
    total = sum(found["received_firing"].values())
    more = total - sum(alert["firing"] for alert in found["received"])
    return Group(table, *([f"and {more} more that fire: --limit"] if more else []))


def _state(alert: Mapping[str, Any]) -> str:
    if alert["firing"]:
        return "[red]firing[/]"
    if alert["unheard"]:
        return f"ended: not heard of since {clock_time(alert['heard_at'])}"
    return f"ended {clock_time(alert['ends_at'])}"

"""What happened, drawn over every panel: what the product pushed, and what its series tell where nothing is pushed."""

from __future__ import annotations

from typing import Any

from controlplane.domain import names
from controlplane.publish.dashboards.builder import TAG
from controlplane.publish.dashboards.panels import DATASOURCE
from controlplane.publish.dashboards.queries import JOB, Match, Own, like, selector, total

# a point every minute, each of its own minute: nothing is told twice, and nothing falls between two points
_STEP = "1m"

_MODEL = like(names.MODEL, f"${names.MODEL}")
OR_ALL = like(names.MODEL, rf"${names.MODEL}|\\*|")
"""Freezes of the models chosen, those of all, and those of workloads, which have no model."""


def marks(*, by_model: bool) -> list[dict[str, Any]]:
    """Actions, people's instructions and alerts; `by_model`: those of the models chosen."""
    own = Own(names.MODEL) if by_model else Own()
    freezes = own.now(names.FREEZES_ACTIVE, *([OR_ALL] if by_model else []))
    overrides, conditions = own.now(names.OVERRIDES_ACTIVE), own.now(names.CONDITION)
    return [
        _pushed(),
        _told("Desired instances changed", _changes(by_model), "blue", "{{model}} on {{server}}", "model,server"),
        _told("Actions carried out", _actions(), "light-blue", "{{step}}: {{status}}", "step,status"),
        _told(
            "Overrides", f"{overrides} > 0", "purple", "{{model}}{{workload}}: a person's override", "model,workload"
        ),
        _told("Freezes", f"{freezes} > 0", "dark-blue", "{{model}}{{workload}}: no scaling", "model,workload"),
        _told(
            "Burn alerts",
            f"{own.now(names.ALERT_FIRING)} == 1",
            "red",
            "{{model}} burns the budget of {{objective}}: {{severity}}",
            "model,objective,severity",
        ),
        _told("Conditions", f"{conditions} == 1", "orange", "{{alert}} {{model}} {{server}} {{gpu}}", "alert,model"),
    ]


def _pushed() -> dict[str, Any]:
    """Those that the control plane pushes to Grafana as they happen."""
    return {
        "name": "Pushed as they happen",
        "datasource": {"type": "grafana", "uid": "-- Grafana --"},
        "enable": True,
        "hide": False,
        "iconColor": "blue",
        "target": {"type": "tags", "tags": [TAG], "matchAny": False, "limit": 200},
    }


def _told(name: str, expr: str, color: str, title: str, tags: str) -> dict[str, Any]:
    return {
        "name": name,
        "datasource": DATASOURCE,
        "enable": True,
        "hide": False,
        "iconColor": color,
        "expr": expr,
        "step": _STEP,
        "titleFormat": title,
        "tagKeys": tags,
        "useValueForTime": False,
    }


def _changes(by_model: bool) -> str:
    of: list[Match] = [like(JOB, f"${JOB}"), *([_MODEL] if by_model else [])]
    return f"max by (model, server) (changes({selector(names.MODEL_DESIRED_INSTANCES, *of)}[{_STEP}])) > 0"


def _actions() -> str:
    counted = f"increase({selector(f'{names.ACTIONS}_total', like(JOB, f'${JOB}'))}[{_STEP}])"
    return f"{total(f'max by ({names.STEP}, {names.STATUS}, instance) ({counted})', names.STEP, names.STATUS)} > 0"

"""Recording rules: events, errors and coverage of objectives over the windows of their alerts.

Each adds up increases of counters, over instances and restarts alike, before it divides: a quiet hour weighs as much as
it has events. Where nothing happened there is no share, and no NaN that would spread.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from controlplane.config.settings import Settings
from controlplane.config.units import format_duration
from controlplane.domain import names
from controlplane.publish.alerting.rules.promql import OF_OBJECTIVE, increase, number, series
from controlplane.publish.alerting.rules.windows import COVERAGE_S, Watched, every_s
from controlplane.slo.burn import Z


def recording_groups(settings: Settings, objectives: Iterable[Watched]) -> list[dict[str, Any]]:
    """One group of rules for each window."""
    pairs = [pair.window for each in objectives for pair in each.pairs]
    longs = {window.long_s for window in pairs}
    covers = {window.short_s for window in pairs} | {COVERAGE_S} if pairs else set()
    return [
        {
            "name": f"controlplane-slo-{format_duration(window_s)}",
            "interval": format_duration(every_s(settings, window_s)),
            "rules": [
                *(_errors(window_s) if window_s != COVERAGE_S or COVERAGE_S in longs else []),
                *([_least_errors(window_s)] if window_s in longs else []),
                *([_coverage(window_s)] if window_s in covers else []),
            ],
        }
        for window_s in sorted(longs | covers)
    ]


def _errors(window_s: float) -> list[dict[str, Any]]:
    events, bad = series(names.RECORDED_EVENTS, window_s), series(names.RECORDED_BAD, window_s)
    return [
        _rule(names.RECORDED_EVENTS, window_s, increase(names.OBJECTIVE_EVENTS, window_s, OF_OBJECTIVE)),
        _rule(names.RECORDED_BAD, window_s, increase(names.OBJECTIVE_EVENTS, window_s, OF_OBJECTIVE, result="bad")),
        _rule(names.RECORDED_ERRORS, window_s, f"{bad} / ({events} > 0)"),
    ]


def _least_errors(window_s: float) -> dict[str, Any]:
    """The Wilson lower bound, as in slo/burn."""
    share, events = series(names.RECORDED_ERRORS, window_s), series(names.RECORDED_EVENTS, window_s)
    z, z2 = number(Z), number(Z * Z)
    middle = f"{share} + {z2} / (2 * {events})"
    spread = f"{z} * sqrt({share} * (1 - {share}) / {events} + {z2} / (4 * {events} ^ 2))"
    bound = f"clamp_min(\n  (\n    {middle}\n    - {spread}\n  ) / (1 + {z2} / {events}),\n  0\n)"
    return _rule(names.RECORDED_LEAST_ERRORS, window_s, bound)


def _coverage(window_s: float) -> dict[str, Any]:
    measured = increase(names.OBJECTIVE_MEASURED_S, window_s, OF_OBJECTIVE)
    expected = increase(names.OBJECTIVE_EXPECTED_S, window_s, OF_OBJECTIVE)
    return _rule(names.RECORDED_COVERAGE, window_s, f"{measured}\n/\n({expected} > 0)")


def _rule(name: str, window_s: float, expression: str) -> dict[str, Any]:
    return {"record": series(name, window_s), "expr": expression}

"""All other alerts as rules: what the control plane says is wrong, and what is wrong with the control plane."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from controlplane.config.settings import Settings
from controlplane.domain import names
from controlplane.domain.conditions import AlertName
from controlplane.publish.alerting.catalogue import BY_NAME, CATALOGUE
from controlplane.publish.alerting.rules.promql import OF_OBJECTIVE, UP, aggregate, held, number, series
from controlplane.publish.alerting.rules.rule import rule
from controlplane.publish.alerting.rules.windows import COVERAGE_S, Watched
from controlplane.slo.alerts import AlertPolicy

_LATE_INTERVALS = 3
_SKIPPED_SHARE = 0.1
_SKIPPED_OVER = "10m"

_LATE = f"""\
time() - max({names.TICK_LAST}) > {_LATE_INTERVALS} * max({names.TICK_INTERVAL})
or
sum(increase({names.TICKS_SKIPPED}_total[{_SKIPPED_OVER}]))
  > {number(_SKIPPED_SHARE)} * sum(increase({names.TICKS}_total[{_SKIPPED_OVER}]))
or
max({names.LEADING}) == 1 unless on () {names.TICK_LAST}"""
"""The last: one that leads and never came to the end of a tick."""

_OWN = {
    AlertName.STORE_FAILING: f"max({names.STORE_FAILING}) == 1",
    AlertName.CONTROL_PLANE_LATE: _LATE,
    AlertName.CONTROL_PLANE_NOT_LEADING: f"max({names.LEADING}) < 1",
}
_ALONE = {AlertName.CONTROL_PLANE_DOWN: f"absent({UP})", AlertName.WATCHDOG: "vector(1)"}
_OF_OBJECTIVES = {AlertName.ERROR_BUDGET_BURN, AlertName.ERROR_BUDGET_EXHAUSTED, AlertName.OBJECTIVE_UNMEASURED}
CONDITIONS = tuple(text for text in CATALOGUE if text.alert not in {*_OF_OBJECTIVES, *_OWN, *_ALONE})
"""Alerts whose ground the control plane finds itself."""


def exhausted_rule(settings: Settings) -> dict[str, Any]:
    """Objectives that have spent their budget."""
    alert = AlertName.ERROR_BUDGET_EXHAUSTED
    spent = f"{aggregate('max', OF_OBJECTIVE, names.OBJECTIVE_BUDGET_LEFT)} <= 0"
    return rule(BY_NAME[alert], held(spent, alert, OF_OBJECTIVE), settings.alerts)


def unmeasured_rule(settings: Settings, watched: Watched, policy: AlertPolicy) -> dict[str, Any]:
    """An objective that is configured and not measured; nothing is said of it while no control plane is there."""
    alert = AlertName.OBJECTIVE_UNMEASURED
    labels = {names.MODEL: watched.model, names.OBJECTIVE: watched.objective.key}
    coverage = series(names.RECORDED_COVERAGE, COVERAGE_S, **labels)
    low = f"{coverage} < {number(policy.least_coverage)}\nor\nabsent({coverage}) and on () {UP}"
    return rule(BY_NAME[alert], held(low, alert, OF_OBJECTIVE, **labels), settings.alerts, fixed=labels)


def condition_rules(settings: Settings) -> Iterator[dict[str, Any]]:
    """What the control plane says is wrong."""
    for text in CONDITIONS:
        wrong = aggregate("max", text.labels, series(names.CONDITION, alert=text.alert.value))
        yield rule(text, held(f"{wrong} == 1", text.alert, text.labels), settings.alerts)


def own_rules(settings: Settings) -> Iterator[dict[str, Any]]:
    """What is wrong with the control plane; and that alerting works."""
    for alert, expression in _OWN.items():
        yield rule(BY_NAME[alert], held(expression, alert, ()), settings.alerts)
    for alert, expression in _ALONE.items():
        yield rule(BY_NAME[alert], expression, settings.alerts, keeps=alert is not AlertName.WATCHDOG)

"""What is no fault of alerts as configured, but can hardly be meant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from controlplane.config.settings import Settings
from controlplane.config.units import format_duration
from controlplane.domain import names
from controlplane.domain.alerts import Severity
from controlplane.domain.conditions import AlertName
from controlplane.domain.instructions import FreezeDirection
from controlplane.domain.routing import FreezeRule, ReceiverKind

_SHORTEST_S, _LONGEST_S = 60.0, 30 * 86400.0
_SLACK = "hooks.slack.com"


def alert_notes(settings: Settings) -> Iterator[str]:
    """Lines on teams that are told of nothing, on freezes, and on secrets in clear."""
    alerts = settings.alerts
    owners = {model.team for model in settings.fleet.models} | {alerts.escalation}
    for team in alerts.teams:
        if team.name not in owners:
            yield f"team {team.name} is told of nothing: no model names it, and it is not `alerts.escalation`"
    if alerts.freezes and not alerts.console_url:
        yield "alerts.freezes without `alerts.console_url`: Alertmanager posts no alerts back, so none freezes anything"
    for i, rule in enumerate(alerts.freezes):
        for why in _freeze(settings, rule):
            yield f"alerts.freezes[{i}]: {why}"
        if rule in alerts.freezes[:i]:
            yield f"alerts.freezes[{i}]: the same as alerts.freezes[{alerts.freezes.index(rule)}]"
    yield from _in_clear(settings)


def _freeze(settings: Settings, rule: FreezeRule) -> Iterator[str]:
    if rule.direction is not FreezeDirection.NO_DOWN and any(map(rule.matches, _burns(settings))):
        yield (
            f"it freezes scaling for {AlertName.ERROR_BUDGET_BURN}, so that what burns for want of capacity gets none;"
            " direction no_down lets it have more"
        )
    if rule.matches(_labels(AlertName.WATCHDOG, Severity.INFO)):
        yield f"it freezes scaling for good: {AlertName.WATCHDOG} always fires"
    if not _SHORTEST_S <= rule.for_s <= _LONGEST_S:
        bound = "under a minute" if rule.for_s < _SHORTEST_S else "over 30 days"
        yield f"it freezes for {format_duration(rule.for_s)}, {bound}: is that meant?"


def _burns(settings: Settings) -> Iterator[Mapping[str, str]]:
    """The labels of all burn alerts that there can be."""
    for model in settings.fleet.models:
        for objective in model.objectives:
            for severity in (Severity.PAGE, Severity.TICKET):
                of = {names.MODEL: model.name, names.OBJECTIVE: objective.key}
                yield {**_labels(AlertName.ERROR_BUDGET_BURN, severity), **of}


def _labels(alert: AlertName, severity: Severity) -> dict[str, str]:
    return {"alertname": alert.value, "severity": severity.value}


def _in_clear(settings: Settings) -> Iterator[str]:
    alerts = settings.alerts
    named = [(f"team {team.name}", each) for team in alerts.teams for told in team.receivers.values() for each in told]
    if alerts.watchdog is not None:
        named.append(("alerts.watchdog", alerts.watchdog))
    for who, receiver in dict.fromkeys(named):
        if receiver.kind is ReceiverKind.WEBHOOK and urlsplit(receiver.to).hostname == _SLACK:
            yield (
                f"{who}: a webhook of {_SLACK} in clear is a secret, and does not take what is posted to it; use"
                " `slack` with `api_url_file`"
            )

"""Which alert goes to whom, how soon and how often, and which keeps which back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from controlplane.config.settings import Settings
from controlplane.domain import names
from controlplane.domain.alerts import Severity
from controlplane.domain.conditions import AlertName
from controlplane.domain.fleet import Fleet
from controlplane.domain.routing import Team
from controlplane.publish.alerting.routing.matchers import equal, one_of, present, unequal
from controlplane.publish.alerting.routing.mutes import muted
from controlplane.publish.alerting.routing.receivers import BACK, NOBODY, WATCHDOG, receiver_name

_PACE: Mapping[Severity, Mapping[str, str]] = {
    Severity.PAGE: {"group_wait": "30s", "group_interval": "1m", "repeat_interval": "4h"},
    Severity.TICKET: {"group_wait": "1m", "group_interval": "10m", "repeat_interval": "1d"},
    Severity.INFO: {"group_wait": "1m", "group_interval": "10m", "repeat_interval": "3d"},
}
"""The wait of a page leaves ServerDown the time to come and keep back what follows from it. No repetition is rarer than
Alertmanager remembers what it sent (120 h)."""
_EVERY_MINUTE = {"group_wait": "0s", "group_interval": "1m", "repeat_interval": "50s"}
"""A repetition is due only if its time is over at the end of a group's interval, so it is the shorter one."""
_AT_ONCE = {"group_by": ["..."], "group_wait": "1s", "group_interval": "15s"}


def route(settings: Settings, teams: Iterable[Team]) -> dict[str, Any]:
    """The tree of routes. The last one takes all: an alert that only a route with `continue` took would stop there."""
    alerts, owned = settings.alerts, _owned(settings)
    rest: dict[str, Any] = {"receiver": NOBODY}
    routes: list[dict[str, Any]] = [
        {
            "matchers": [equal(names.ALERT_NAME, AlertName.WATCHDOG)],
            "receiver": NOBODY if alerts.watchdog is None else WATCHDOG,
            **_EVERY_MINUTE,
        }
    ]
    if alerts.console_url:
        routes.append(
            {"receiver": BACK, **_AT_ONCE, "repeat_interval": f"{alerts.hook_repeat_s:.0f}s", "continue": True}
        )
    for team in teams:
        if team.name == alerts.escalation:
            rest = _of_team(team, without_model=True)
        else:
            routes.append({"matchers": [one_of(names.MODEL, owned[team.name])], **_of_team(team)})
    return {
        "receiver": rest["receiver"],
        "group_by": [names.MODEL],
        **_PACE[Severity.PAGE],
        "routes": [*routes, rest],
    }


def _owned(settings: Settings) -> dict[str, list[str]]:
    owned: dict[str, list[str]] = {}
    for model in settings.fleet.models:
        owned.setdefault(model.team, []).append(model.name)
    return owned


def _of_team(team: Team, *, without_model: bool = False) -> dict[str, Any]:
    """What is of no severity of ours is taken for a page."""
    return {
        "receiver": receiver_name(team, Severity.PAGE),
        "routes": [_of_severity(team, severity, without_model=without_model) for severity in Severity],
    }


def _of_severity(team: Team, severity: Severity, *, without_model: bool) -> dict[str, Any]:
    """One notice for a model; for a server that is down, whatever its models; and for a node, of what has no model."""
    quiet = muted(team, severity)
    apart = []
    if severity is Severity.PAGE:
        apart.append((equal(names.ALERT_NAME, AlertName.SERVER_DOWN), [names.ALERT_NAME, names.SERVER]))
    if without_model:
        apart.append((equal(names.MODEL, ""), [names.ALERT_NAME, names.NODE]))
    found = {
        "matchers": [equal(names.SEVERITY, severity)],
        "receiver": receiver_name(team, severity),
        **_PACE[severity],
        **quiet,
        "routes": [{"matchers": [matcher], "group_by": labels, **quiet} for matcher, labels in apart],
    }
    return {key: value for key, value in found.items() if value}


def inhibit_rules(fleet: Fleet) -> list[dict[str, Any]]:
    """A server that is down keeps back the pages that follow from it; a page keeps back the ticket about the same.

    A page of a model as a whole follows where the model runs nowhere else; otherwise users ought to be served by its
    other servers, and are not. To Alertmanager labels that are missing are equal, so that the labels have to be there.
    """
    page = equal(names.SEVERITY, Severity.PAGE)
    down = equal(names.ALERT_NAME, AlertName.SERVER_DOWN)
    follows = [page, unequal(names.ALERT_NAME, AlertName.SERVER_DOWN)]
    nowhere_else = [model.name for model in fleet.models if len(model.runs_on) == 1 and not model.workloads]
    whole = {
        "source_matchers": [down, one_of(names.MODEL, nowhere_else)],
        "target_matchers": [*follows, equal(names.SERVER, "")],
        "equal": [names.MODEL],
    }
    return [
        *([whole] if nowhere_else else []),
        {
            "source_matchers": [down, present(names.MODEL)],
            "target_matchers": [*follows, present(names.SERVER)],
            "equal": [names.MODEL, names.SERVER],
        },
        {
            "source_matchers": [page, present(names.MODEL)],
            "target_matchers": [equal(names.SEVERITY, Severity.TICKET)],
            "equal": [names.ALERT_NAME, names.MODEL, names.OBJECTIVE],
        },
    ]

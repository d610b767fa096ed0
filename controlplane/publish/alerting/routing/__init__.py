"""Alertmanager's configuration out of ours: who is told of what, how it reads, and when it is not sent.

Held to what Alertmanager 0.25 takes, that of Debian 12.
"""

from __future__ import annotations

from controlplane.config.settings import Settings
from controlplane.domain.routing import AlertSettings, Team
from controlplane.publish.alerting.routing.mutes import time_intervals
from controlplane.publish.alerting.routing.receivers import receivers
from controlplane.publish.alerting.routing.routes import inhibit_rules, route
from controlplane.publish.alerting.routing.texts import ANCHORS
from controlplane.publish.alerting.written import written

FILE = "alertmanager.yml"
_RESOLVE_TIMEOUT = "5m"


def files(settings: Settings) -> dict[str, str]:
    """The text of Alertmanager's configuration by the name of its file."""
    teams, alerts = _told(settings), settings.alerts
    tree = {
        "global": {"resolve_timeout": _RESOLVE_TIMEOUT, **_mail(alerts)},
        "route": route(settings, teams),
        "inhibit_rules": inhibit_rules(settings.fleet),
        "time_intervals": time_intervals(teams),
        "receivers": receivers(alerts, teams),
    }
    return {FILE: written({key: value for key, value in tree.items() if value}, ANCHORS)}


def _told(settings: Settings) -> tuple[Team, ...]:
    """The teams that are told of anything: they own a model, or what nobody owns escalates to them."""
    owners = {model.team for model in settings.fleet.models} | {settings.alerts.escalation}
    return tuple(team for team in settings.alerts.teams if team.name in owners)


def _mail(alerts: AlertSettings) -> dict[str, str]:
    """How mail is sent, where some is: Alertmanager wants a sender and a server for it."""
    mail = alerts.mail
    if mail is None:
        return {}
    found = {"smtp_smarthost": mail.smarthost, "smtp_from": mail.sender}
    if mail.username:
        found |= {"smtp_auth_username": mail.username, "smtp_auth_password_file": mail.password_file}
    return found

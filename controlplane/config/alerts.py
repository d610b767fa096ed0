"""Alerts as written: their checks, and the domain's settings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from controlplane.config.alert_items import AlertsBlock, MuteItem, ReceiverItem, TeamItem
from controlplane.config.faults import join, one_of, shown
from controlplane.config.reading import Document, Part
from controlplane.domain.alerts import Severity
from controlplane.domain.errors import Fault
from controlplane.domain.routing import (
    AlertSettings,
    FreezeRule,
    MailServer,
    MuteTime,
    Receiver,
    ReceiverKind,
    Team,
    Via,
)


def check_alerts(document: Document) -> Iterator[Fault]:
    """Faults of meaning of alerts, and of the teams that models name."""
    alerts = document.root.alerts
    yield from _check_sending(alerts, has_tokens=document.root.api.tokens_file is not None)
    yield from _check_names(document)
    for path, receiver in _receivers(document):
        yield from _check_receiver(path, receiver)
    mailed = next((path for path, receiver in _receivers(document) if receiver.email is not None), None)
    if mailed is not None and alerts.mail is None:
        yield Fault("alerts.mail", "nothing", f"it is required for {join(mailed, 'email')}")
    for part in document.teams:
        for i, mute in enumerate(part.item.mutes):
            yield from _check_mute(join(part.path, "mutes", i), mute)


def _check_sending(alerts: AlertsBlock, *, has_tokens: bool) -> Iterator[Fault]:
    direct = alerts.via is Via.DIRECT
    if direct and not alerts.alertmanagers:
        yield Fault("alerts.alertmanagers", "nothing", "at least one with via: direct, such as http://127.0.0.1:9093")
    if not direct and alerts.alertmanagers:
        yield Fault("alerts.alertmanagers", "a list", "only with via: direct; a Prometheus has its own list of them")
    if alerts.hook_token_file is not None and alerts.console_url is None:
        yield Fault("alerts.hook_token_file", repr(alerts.hook_token_file), "only with alerts.console_url")
    if alerts.hook_token_file is None and alerts.console_url is not None and has_tokens:
        allowed = "it is required with alerts.console_url and api.tokens_file: Alertmanager would be turned away"
        yield Fault("alerts.hook_token_file", "nothing", allowed)
    mail = alerts.mail
    if mail is not None and (mail.username is None) != (mail.password_file is None):
        given, lacking = ("password_file", "username") if mail.username is None else ("username", "password_file")
        yield Fault(f"alerts.mail.{lacking}", "nothing", f"it is required with {given}")


def _check_names(document: Document) -> Iterator[Fault]:
    escalation, names = document.root.alerts.escalation, document.team_names
    first: dict[str, str] = {}
    for part in document.teams:
        if part.item.name in first:
            allowed = f"a name that is unique among teams; {first[part.item.name]} has it already"
            yield Fault(join(part.path, "name"), repr(part.item.name), allowed)
        first.setdefault(part.item.name, part.path)
    if escalation is None and names:
        allowed = f"it is required with teams, for what none of them owns: one of: {', '.join(dict.fromkeys(names))}"
        yield Fault("alerts.escalation", "nothing", allowed)
    named = [("alerts.escalation", escalation), *((join(m.path, "team"), m.item.team) for m in document.models)]
    for path, team in named:
        if team is not None and team not in names:
            allowed = f"the name of an entry in alerts.teams: {one_of(team, tuple(dict.fromkeys(names)))}"
            yield Fault(path, repr(team), allowed)


def _receivers(document: Document) -> Iterator[tuple[str, ReceiverItem]]:
    for part in document.teams:
        for severity in Severity:
            for i, receiver in enumerate(_given(part.item, severity)):
                yield join(part.path, severity.value, i), receiver
    if document.root.alerts.watchdog is not None:
        yield "alerts.watchdog", document.root.alerts.watchdog


def _given(team: TeamItem, severity: Severity) -> Sequence[ReceiverItem]:
    found: Sequence[ReceiverItem] = getattr(team, severity.value)
    return found


def _check_receiver(path: str, receiver: ReceiverItem) -> Iterator[Fault]:
    given = [kind.value for kind in ReceiverKind if getattr(receiver, kind.value) is not None]
    if len(given) != 1:
        allowed = f"exactly one of: {', '.join(kind.value for kind in ReceiverKind)}"
        yield Fault(path, " and ".join(given) or "nothing", allowed)
    elif receiver.token_file is not None and receiver.webhook is None:
        yield Fault(join(path, "token_file"), repr(receiver.token_file), "only with webhook; leave it out")


def _check_mute(path: str, mute: MuteItem) -> Iterator[Fault]:
    if mute.since == "24:00":
        yield Fault(join(path, "since"), shown(mute.since), "'00:00' to '23:59'")
    elif mute.since == mute.until:
        yield Fault(join(path, "until"), shown(mute.until), "another time than since")


def to_alerts(document: Document) -> AlertSettings:
    """The domain's settings."""
    alerts = document.root.alerts
    return AlertSettings(
        via=alerts.via,
        alertmanagers=tuple(alerts.alertmanagers),
        runbooks_url=alerts.runbooks_url or "",
        dashboards_url=alerts.dashboards_url or "",
        console_url=alerts.console_url or "",
        hook_token_file=alerts.hook_token_file or "",
        teams=tuple(_team(part) for part in document.teams),
        escalation=alerts.escalation or "",
        watchdog=None if alerts.watchdog is None else _receiver(alerts.watchdog),
        mail=_mail(alerts),
        freezes=tuple(FreezeRule(item.alert, item.direction, item.duration) for item in alerts.freezes),
    )


def _team(part: Part[TeamItem]) -> Team:
    team = part.item
    told = {severity: tuple(_receiver(item) for item in _given(team, severity)) for severity in Severity}
    mutes = (
        MuteTime(
            severities=tuple(mute.severities),
            days=tuple(day.value for day in mute.days),
            since=mute.since,
            until=mute.until,
            location="UTC" if mute.location is None else mute.location.key,
        )
        for mute in team.mutes
    )
    return Team(team.name, {severity: items for severity, items in told.items() if items}, tuple(mutes))


def _receiver(item: ReceiverItem) -> Receiver:
    if item.pagerduty is not None:
        return Receiver(ReceiverKind.PAGERDUTY, item.pagerduty.routing_key_file)
    if item.opsgenie is not None:
        return Receiver(ReceiverKind.OPSGENIE, item.opsgenie.api_key_file, item.opsgenie.api_url or "")
    if item.slack is not None:
        return Receiver(ReceiverKind.SLACK, item.slack.api_url_file, item.slack.channel)
    if item.email is not None:
        return Receiver(ReceiverKind.EMAIL, to=item.email)
    return Receiver(ReceiverKind.WEBHOOK, item.token_file or "", item.webhook or "")


def _mail(alerts: AlertsBlock) -> MailServer | None:
    mail = alerts.mail
    if mail is None:
        return None
    return MailServer(mail.smarthost, mail.sender, mail.username or "", mail.password_file or "")

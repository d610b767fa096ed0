"""What the control plane itself has to tell: alerts as they are posted to an Alertmanager. Pure.

They say the same as the rules for a Prometheus, by the same catalogue.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote

from controlplane.decide.explain import headline
from controlplane.domain import names
from controlplane.domain.alerts import BurnAlert, Severity
from controlplane.domain.conditions import AlertName, Condition
from controlplane.domain.decision import Decision
from controlplane.domain.picture import Picture
from controlplane.domain.routing import AlertSettings
from controlplane.publish.alerting.catalogue import BY_NAME, AlertText, told
from controlplane.publish.alerting.links import links
from controlplane.slo.alerts import told as burn_told

TICKS_LATE = 3.0
"""After so many intervals without a tick the control plane counts as late."""
_LEAST_MEASURED = 0.5
_SHOWN = 3

Recent = Mapping[str, Sequence[Decision]]
"""The last decisions that changed something, newest first, by model."""


@dataclass(frozen=True, slots=True)
class Notice:
    """One alert that has a ground now. It fires once the ground held for `for_s`; where `since` is known, since then.

    `labels` tell it from others, none of them is empty; annotations may change while it fires.
    """

    labels: tuple[tuple[str, str], ...]
    annotations: Mapping[str, str]
    for_s: float
    since: float | None = None

    @property
    def name(self) -> str:
        """That of the alert."""
        return dict(self.labels)[names.ALERT_NAME]


def notices(picture: Picture, recent: Recent, settings: AlertSettings) -> tuple[Notice, ...]:
    """All that there is to tell, each with labels of its own."""
    found = (
        *_burning(picture, recent, settings),
        *_budgets(picture, settings),
        *(_of_condition(condition, settings) for condition in picture.conditions),
        *_control_plane(picture, settings),
    )
    each: dict[tuple[tuple[str, str], ...], Notice] = {}
    for notice in found:
        each.setdefault(notice.labels, notice)
    return tuple(each.values())


def _burning(picture: Picture, recent: Recent, settings: AlertSettings) -> Iterator[Notice]:
    """Burn alerts that fire; one that cannot be judged now stays what it was."""
    text = BY_NAME[AlertName.ERROR_BUDGET_BURN]
    for alert in _watched(picture):
        if alert.firing and alert.since is not None:
            labels = {names.MODEL: alert.model, names.OBJECTIVE: alert.objective}
            more = [f"{burn_told(alert)}; since {_at(alert.since)}."]
            if alert.frozen:
                more.append(f"It cannot be judged now and stays: {alert.frozen}.")
            more += _decided(alert.model, picture, recent)
            yield _notice(text, labels, settings, _burn(alert), more, severity=alert.severity, since=alert.since)


def _budgets(picture: Picture, settings: AlertSettings) -> Iterator[Notice]:
    """Budgets that are spent, and objectives of which less than half of the last minutes was measured.

    That is the shortest window of the burn alerts, 5 minutes; held for `for_s` it makes up 15.
    """
    for model in picture.fleet.models:
        for judgement in picture.judgements.get(model.name, ()):
            left = judgement.budget_left
            if left is not None and left <= 0.0:
                labels = {names.MODEL: model.name, names.OBJECTIVE: judgement.objective.key}
                yield _notice(BY_NAME[AlertName.ERROR_BUDGET_EXHAUSTED], labels, settings, left)
    for alert in _watched(picture):
        if alert.severity is not Severity.PAGE:
            continue
        newest = min(alert.readings, key=lambda reading: reading.window.short_s).short
        if newest.expected_s > 0.0 and newest.coverage < _LEAST_MEASURED:
            labels = {names.MODEL: alert.model, names.OBJECTIVE: alert.objective}
            yield _notice(BY_NAME[AlertName.OBJECTIVE_UNMEASURED], labels, settings, newest.coverage)


def _of_condition(condition: Condition, settings: AlertSettings) -> Notice:
    text = BY_NAME[condition.alert]
    labels = {name: getattr(condition, name) for name in text.labels}
    return _notice(text, labels, settings, None, [condition.detail] if condition.detail else [])


def _control_plane(picture: Picture, settings: AlertSettings) -> Iterator[Notice]:
    health = picture.health
    if health.store_failing:
        yield _notice(BY_NAME[AlertName.STORE_FAILING], {}, settings, None, [health.problem])
    last = max(health.last_tick_at, health.started_at)
    late_s, why = picture.at - last, ""
    if last and health.interval_s and late_s > TICKS_LATE * health.interval_s:
        why = f"The last tick was {late_s:.0f} s ago."
    elif health.interval_s and health.last_tick_s > health.interval_s:
        why = f"A tick takes {health.last_tick_s:.1f} s, so that others are left out; {health.skipped} were so far."
    if why:
        yield _notice(BY_NAME[AlertName.CONTROL_PLANE_LATE], {}, settings, None, [why])
    yield _notice(BY_NAME[AlertName.WATCHDOG], {}, settings, None)


def _notice(
    text: AlertText,
    labels: Mapping[str, str],
    settings: AlertSettings,
    value: float | None,
    more: Sequence[str] = (),
    *,
    severity: Severity | None = None,
    since: float | None = None,
) -> Notice:
    given = {name: labels[name] for name in text.labels if labels[name]}
    own = {names.ALERT_NAME: text.alert.value, names.SEVERITY: (severity or text.severity).value, **given}
    annotations = {
        "summary": told(text.summary, given),
        "description": "\n".join((told(text.description, given, value), *more)),
        **links(text, settings, lambda name: quote(given.get(name, ""), safe="")),
    }
    return Notice(tuple(sorted(own.items())), annotations, text.for_s, since)


def _watched(picture: Picture) -> Iterator[BurnAlert]:
    for model in picture.fleet.models:
        yield from (alert for alert in picture.alerts.get(model.name, ()) if alert.readings)


def _burn(alert: BurnAlert) -> float | None:
    """The burn rate that both windows of a pair hold, of the worst pair."""
    return max((min(r.burn_long or 0.0, r.burn_short or 0.0) for r in alert.readings), default=None)


def _decided(model: str, picture: Picture, recent: Recent) -> list[str]:
    """The last decisions of a model in words: those that changed something, else what holds now."""
    made = list(recent.get(model, ())) or [d for d in picture.decisions if d.model == model]
    return [f"Decided {_at(d.at)} for {d.server}: {headline(d)}" for d in made[:_SHOWN]]


def _at(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"

"""What happened, as marks on dashboards: actions, people's instructions and alerts. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from controlplane.domain import names
from controlplane.domain.alerts import Severity
from controlplane.domain.decision import Action, ActionStatus, Outcome, Step
from controlplane.domain.instructions import Freeze, Override, OverrideKind
from controlplane.domain.picture import Picture
from controlplane.domain.routing import AlertSettings
from controlplane.publish.alerting.notices import Notice, notices

TAG = "controlplane"
_LONGEST = 500

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Annotation:
    """A mark at a moment, or over a time; unix seconds. `text` is plain; the first tag is that of the product."""

    at: float
    text: str
    tags: tuple[str, ...]
    until: float | None = None


@dataclass(frozen=True, slots=True)
class _Begun:
    at: float
    told: bool


class Marks:
    """Finds what is new in each picture. What began before `since` was marked by the process that ran then.

    What is found to be wrong in the first picture counts as begun before, since nothing tells when; its end is marked.
    An alert is marked once its ground has held for as long as its rule asks.
    """

    def __init__(self, since: float, settings: AlertSettings) -> None:
        self._since = since
        self._settings = settings
        self._outcomes: dict[tuple[str, str], float] = {}
        self._people: dict[str, Override | Freeze] = {}
        self._alerts: dict[Labels, _Begun] = {}
        self._first = True

    def look(self, picture: Picture, outcomes: Iterable[Outcome]) -> list[Annotation]:
        """Marks of what came about since the last look; `outcomes` are the newest of each unit."""
        if not picture.health.ticks:
            return []  # nothing is judged yet
        found = [
            *self._ended(outcomes),
            *self._instructed((*picture.overrides, *picture.freezes), picture.at),
            *self._alerted(notices(picture, {}, self._settings), picture.at),
        ]
        self._first = False
        return found

    def _ended(self, outcomes: Iterable[Outcome]) -> Iterator[Annotation]:
        for outcome in outcomes:
            unit = (outcome.action.model, outcome.action.server)
            if outcome.finished_at >= self._since and self._outcomes.get(unit) != outcome.finished_at:
                self._outcomes[unit] = outcome.finished_at
                yield _of_outcome(outcome)

    def _instructed(self, now_valid: Iterable[Override | Freeze], now: float) -> Iterator[Annotation]:
        valid = {entry.id: entry for entry in now_valid}
        for key, entry in valid.items():
            if key not in self._people and entry.created_at >= self._since:
                said = f"{_what(entry)} by {entry.actor}: {entry.reason}"
                yield _annotation(entry.created_at, said, _kind(entry), entry.model)
        for key, entry in self._people.items():
            if key not in valid:
                how = "ran out" if entry.expires_at <= now else "ended early"
                yield _annotation(min(now, entry.expires_at), f"{_what(entry)} {how}", _kind(entry), entry.model)
        self._people = valid

    def _alerted(self, grounds: Iterable[Notice], now: float) -> Iterator[Annotation]:
        standing = {
            notice.labels: notice for notice in grounds if (names.SEVERITY, Severity.INFO.value) not in notice.labels
        }
        for labels in [labels for labels in self._alerts if labels not in standing]:
            begun = self._alerts.pop(labels)
            if begun.told:
                yield _of_alert(labels, now, "ended")
        for labels, notice in standing.items():
            at = notice.since if notice.since is not None else now
            begun = self._alerts.setdefault(labels, _Begun(at, told=self._first or at < self._since))
            if not begun.told and now - begun.at >= notice.for_s:
                self._alerts[labels] = _Begun(begun.at, told=True)
                yield _of_alert(labels, begun.at, notice.annotations["summary"])


def _of_outcome(outcome: Outcome) -> Annotation:
    action = outcome.action
    text = f"{action.model} on {action.server}: {_step(action)}: {outcome.status.value}"
    if outcome.status is not ActionStatus.SUCCEEDED and outcome.detail:
        text = f"{text}: {outcome.detail}"
    tags = ("action", f"server:{action.server}", f"step:{action.step.value}", f"status:{outcome.status.value}")
    return _annotation(action.issued_at, text, tags, action.model, outcome.finished_at)


def _step(action: Action) -> str:
    match action.step:
        case Step.SET_INSTANCES:
            return f"{action.target.instances} instances"
        case Step.SET_VERSIONS:
            return f"versions {', '.join(action.target.versions)}"
        case Step.SCALE:
            return f"{action.target.instances} replicas"
        case Step.TRAFFIC:
            return f"{action.target.instances} replicas in traffic"
        case _:
            return action.step.value


def _of_alert(labels: Labels, at: float, what: str) -> Annotation:
    of = dict(labels)
    name, model = of[names.ALERT_NAME], of.get(names.MODEL, "")
    rest = ", ".join(value for label, value in labels if label not in {names.ALERT_NAME, names.SEVERITY})
    text = f"{name} ({rest}): {what}" if rest else f"{name}: {what}"
    return _annotation(at, text, ("alert", f"alert:{name}", f"severity:{of[names.SEVERITY]}"), model)


def _kind(entry: Override | Freeze) -> tuple[str, ...]:
    return ("override" if isinstance(entry, Override) else "freeze",)


def _what(entry: Override | Freeze) -> str:
    if isinstance(entry, Freeze):
        return f"Freeze ({entry.direction.value}) of {entry.subject or 'all models'}"
    counted = entry.kind in (OverrideKind.INSTANCES, OverrideKind.REPLICAS)
    number = f" {entry.instances}" if counted else ""
    if entry.kind is OverrideKind.BOUNDS:
        number = f" {entry.least} to {entry.most}"
    where = f" on {entry.server}" if entry.server else ""
    return f"Override of {entry.subject}{where}: {entry.kind.value}{number}"


def _annotation(at: float, text: str, kind: tuple[str, ...], model: str, until: float | None = None) -> Annotation:
    of_model = (f"model:{model}",) if model else ()
    return Annotation(at, text[:_LONGEST], (TAG, *kind, *of_model), until)

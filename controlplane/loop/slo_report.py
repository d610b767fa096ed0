"""Reads reports off the store: the standing of every objective, one model in full, one objective over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from controlplane.decide.explain import headline
from controlplane.domain.decision import Decision, DecisionRecord, Outcome, Step
from controlplane.domain.errors import ConflictError, NotFoundError
from controlplane.domain.fleet import Fleet, ModelSpec
from controlplane.domain.history import BUCKETS_S, Adjustment, AdjustmentKind
from controlplane.domain.objectives import Objective
from controlplane.domain.ports import Store
from controlplane.domain.records import AuditEntry
from controlplane.loop.slo_history import FleetCounts, History, JudgedAgain, Kept, gateways_of, step_length_s
from controlplane.slo.account import alert_spans, over, series, standing, version_spans
from controlplane.slo.adjust import in_force
from controlplane.slo.again import Again, another, told, why_not
from controlplane.slo.report import Mark, MarkKind, ModelReport, ObjectiveReport, SeriesStep, Standing
from controlplane.slo.window import window_of
from controlplane.store.levels import ceil_to

POINTS = 400
"""Steps of a series, at most."""
_NEWEST = 1000
"""Decisions, audit entries, and alerts of each objective, looked at for one report."""
_NEARLY_ALL = 0.995
"""Histograms hold whole minutes, slices 10 s: the edges of a window may differ by so much."""
_PEOPLE = {
    "loaded": "keep loaded",
    "unloaded": "keep unloaded",
    "instances": "fix instances",
    "pin": "pin",
    "rollout": "rollout",
    "end_override": "end override",
    "end_overrides": "end overrides",
    "freeze": "freeze",
    "end_freeze": "end freeze",
    "unfreeze": "unfreeze",
}
"""Verbs of the audit log that bear on how a model was scaled, in words."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a report is of. `window_s` None: each objective's own; `objective` empty: all of the model's."""

    model: str
    objective: str = ""
    window_s: float | None = None
    points: int = POINTS
    again: Again = field(default_factory=Again)


@dataclass(frozen=True, slots=True)
class ObjectiveHistory:
    """One objective over time, without what is told of it beside."""

    standing: Standing
    step_s: float
    steps: tuple[SeriesStep, ...]


def read_standings(store: Store, fleet: Fleet, window_s: float | None, now: float) -> tuple[Standing, ...]:
    """How every objective stands, over its own window or over `window_s` seconds: a few statements for all of them."""
    counts, adjustments = FleetCounts(store), store.adjustments()
    return tuple(
        standing(
            model.name,
            over(objective, window_s),
            counts.of(model.name, objective.key),
            in_force(adjustments, model.name, objective.key),
            now,
        )
        for model in fleet.models
        for objective in model.objectives
    )


def read_history(store: Store, fleet: Fleet, asked: Asked, now: float) -> ObjectiveHistory:
    """One objective over time. Raises NotFoundError; ConflictError where the model has several and none is named."""
    spec = spec_of(fleet, asked.model)
    wanted = _objectives(spec, asked.objective)
    if len(wanted) != 1:
        known = ", ".join(o.key for o in wanted) or "none"
        raise ConflictError(f"model {spec.name}: one objective is to be named; it has {known}")
    key = wanted[0].key
    source = _Source(spec.name, over(wanted[0], asked.window_s), Kept(store, spec.name, key))
    return _over_time(source, in_force(store.adjustments(), spec.name, key), asked, now)


def read_report(store: Store, fleet: Fleet, asked: Asked, now: float) -> ModelReport:
    """One model in full. Raises NotFoundError; ConflictError where nothing of it can be judged as is asked."""
    spec, adjustments = spec_of(fleet, asked.model), store.adjustments()
    reports: list[ObjectiveReport] = []
    refused: dict[str, str] = {}
    for objective in _objectives(spec, asked.objective):
        held = in_force(adjustments, spec.name, objective.key)
        try:
            source = _source(store, fleet, spec, objective, asked, now)
        except ConflictError as error:
            refused[objective.key] = str(error)
        else:
            reports.append(_report(store, source, held, asked, now))
    if refused and not reports:
        whys = "; ".join(f"{name}: {why}" for name, why in refused.items())
        raise ConflictError(f"model {spec.name} cannot be judged again: {whys}")
    since = min((report.standing.since for report in reports), default=now)
    marks, marks_from = _marks(store, spec.name, since, now)
    return ModelReport(
        model=spec.name,
        at=now,
        objectives=tuple(reports),
        marks=marks,
        marks_from=marks_from,
        adjustments=shown(adjustments, spec.name, since, now),
        refused=refused,
    )


def shown(adjustments: Sequence[Adjustment], model: str, since: float, until: float) -> tuple[Adjustment, ...]:
    """Corrections for a model that bear on [since, until), and what withdrew them, in the order they were made."""
    bearing = {
        a.id
        for a in adjustments
        if a.kind is not AdjustmentKind.WITHDRAW and a.model in {"", model} and a.start < until and a.end > since
    }
    return tuple(a for a in adjustments if a.id in bearing or a.withdraws in bearing)


@dataclass(frozen=True, slots=True)
class _Source:
    """An objective to judge by, and where its counts come from; `judged_by`: it is not the one that the model has."""

    model: str
    objective: Objective
    history: History
    judged_by: str = ""
    other_threshold: bool = False


def _source(store: Store, fleet: Fleet, spec: ModelSpec, objective: Objective, asked: Asked, now: float) -> _Source:
    kept = Kept(store, spec.name, objective.key)
    by, again = over(another(objective, asked.again), asked.window_s), asked.again
    if again.threshold_s is None or again.threshold_s == objective.threshold_s:
        return _Source(spec.name, by, kept, told(objective, replace(again, threshold_s=None)))
    if why := why_not(objective):
        raise ConflictError(why)
    gateways = gateways_of(objective, [gateway.name for gateway in fleet.gateways])
    history = JudgedAgain(store, spec.name, by, gateways, kept)
    since = window_of(by, now).since
    seen, counted = history.counts(since, now).events, kept.counts(since, now).events
    if counted and not seen:
        raise ConflictError("no histogram of it was kept in this window")
    judged_by = told(objective, again)
    if seen < _NEARLY_ALL * counted:
        judged_by += f"; histograms were kept of {seen / counted:.0%} of its events"
    return _Source(spec.name, by, history, judged_by, other_threshold=True)


def _report(
    store: Store, source: _Source, adjustments: Sequence[Adjustment], asked: Asked, now: float
) -> ObjectiveReport:
    found = _over_time(source, adjustments, asked, now)
    since, key = found.standing.since, found.standing.objective
    events = store.alert_events(source.model, _NEWEST, objective=key, since=since)
    alerts_from = events[-1].at if len(events) == _NEWEST and events[-1].at >= since else None
    # versions are of the objective as it was; by another one there is nothing to tell them apart
    versions = () if source.judged_by else store.versions(source.model, key)
    return ObjectiveReport(
        standing=found.standing,
        step_s=found.step_s,
        steps=found.steps,
        versions=version_spans(versions, source.history.counts, adjustments, since=since, until=now),
        alerts=alert_spans(events, since=since if alerts_from is None else alerts_from, until=now),
        judged_by=source.judged_by,
        alerts_from=alerts_from,
    )


def _over_time(source: _Source, adjustments: Sequence[Adjustment], asked: Asked, now: float) -> ObjectiveHistory:
    if source.other_threshold:
        # events were corrected for what the objective's own threshold made of them
        adjustments = [a for a in adjustments if a.kind is not AdjustmentKind.EVENTS]
    since = window_of(source.objective, now).since
    step_s = step_length_s(now - since, asked.points)
    if source.other_threshold:
        step_s = ceil_to(step_s, int(BUCKETS_S))
    return ObjectiveHistory(
        standing(source.model, source.objective, source.history.counts, adjustments, now),
        step_s,
        series(
            source.objective,
            source.history.counts,
            source.history.steps(since, now, step_s),
            adjustments,
            since=since,
            until=now,
            step_s=step_s,
        ),
    )


def spec_of(fleet: Fleet, model: str) -> ModelSpec:
    """The model of that name. Raises NotFoundError."""
    spec = fleet.model(model)
    if spec is None:
        raise NotFoundError("model", model, tuple(m.name for m in fleet.models))
    return spec


def _objectives(spec: ModelSpec, name: str) -> tuple[Objective, ...]:
    if name and name not in {objective.key for objective in spec.objectives}:
        raise NotFoundError(f"objective of model {spec.name}", name, tuple(o.key for o in spec.objectives))
    return tuple(objective for objective in spec.objectives if name in {"", objective.key})


def _marks(store: Store, model: str, since: float, until: float) -> tuple[tuple[Mark, ...], float]:
    """What was done about a model by the control plane and by people, oldest first, and from when on that is all."""
    records, entries = store.decisions(model, _NEWEST, changes_only=True), store.audit_log(_NEWEST)
    cut = [[r.decision.at for r in records], [entry.at for entry in entries]]
    complete_from = max([since, *(min(moments) for moments in cut if len(moments) == _NEWEST)])
    marks = [
        Mark(r.decision.at, _kind(r.decision), headline(r.decision), r.decision.id, _came_of(r))
        for r in records
        if r.decision.actionable
    ]
    marks += [
        Mark(entry.at, MarkKind.PERSON, _said(entry))
        for entry in entries
        if entry.verb in _PEOPLE and entry.subject in {model, "*"}
    ]
    inside = [mark for mark in marks if complete_from <= mark.at < until]
    return tuple(sorted(inside, key=lambda mark: mark.at)), complete_from


def _kind(decision: Decision) -> MarkKind:
    match decision.step:
        case Step.LOAD:
            return MarkKind.LOAD
        case Step.UNLOAD:
            return MarkKind.UNLOAD
        case Step.RELOAD | Step.CONFIGURE:
            return MarkKind.RELOAD
        case _:
            before = 0 if decision.current is None else decision.current.instances
            after = 0 if decision.target is None else decision.target.instances
            return MarkKind.UP if after >= before else MarkKind.DOWN


def _came_of(record: DecisionRecord) -> str:
    parts = [_told(outcome) for outcome in record.outcomes]
    return ", ".join((*parts, *([record.effect.verdict.value.replace("_", " ")] if record.effect else [])))


def _told(outcome: Outcome) -> str:
    return f"{outcome.status.value}: {outcome.detail}" if outcome.detail else outcome.status.value


def _said(entry: AuditEntry) -> str:
    return f"{_PEOPLE[entry.verb]} by {entry.actor}: {entry.detail}"

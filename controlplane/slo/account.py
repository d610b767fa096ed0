"""How an objective stood over a window and how it came to it, from its counts and what people corrected."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from controlplane.domain.alerts import Severity
from controlplane.domain.history import Adjustment, AdjustmentKind, AlertEvent, ObjectiveVersion
from controlplane.domain.objectives import Counts, Objective
from controlplane.slo.adjust import CountsOf, adjusted, corrected, excluded_s
from controlplane.slo.budget import judge
from controlplane.slo.report import AlertSpan, Promise, SeriesStep, Standing, VersionSpan
from controlplane.slo.window import window_of

PACES_S = (300.0, 3600.0, 21600.0)
"""The last 5 min, 1 h and 6 h: how fast the budget burns now."""


def standing(
    model: str, objective: Objective, counts_of: CountsOf, adjustments: Sequence[Adjustment], now: float
) -> Standing:
    """How an objective stands over its window at `now`; `adjustments` are those in force for it."""
    since = window_of(objective, now).since
    excluded = excluded_s(adjustments, since, now)
    paces = (adjusted(counts_of, now - pace_s, now, adjustments) for pace_s in PACES_S)
    found = judge(
        model,
        objective,
        adjusted(counts_of, since, now, adjustments),
        **dict(zip(("burn_5m", "burn_1h", "burn_6h"), paces, strict=True)),
        now=now,
        excluded_s=excluded,
    )
    counts, low, high = found.window, found.attainment_low, found.attainment_high
    return Standing(
        model=model,
        objective=objective.key,
        indicator=objective.indicator,
        source=objective.source,
        threshold_s=objective.threshold_s,
        floor_per_s=objective.floor_per_s,
        ratio="" if objective.ratio is None else objective.ratio.name,
        model_version=objective.model_version,
        period=None if objective.calendar is None else objective.calendar.period,
        target=objective.target,
        since=since,
        until=now,
        promise=promise(objective.target, low, high),
        good=counts.good,
        bad=counts.bad,
        unsure=counts.unsure,
        bad_capacity=counts.bad_capacity,
        corrected=corrected(adjustments, since, now),
        attainment_low=low,
        attainment_high=high,
        budget_left=found.budget_left,
        burn_5m=found.burn_5m,
        burn_1h=found.burn_1h,
        burn_6h=found.burn_6h,
        exhausted_1h_s=found.exhausted_1h_s,
        exhausted_6h_s=found.exhausted_6h_s,
        measured_s=counts.measured_s,
        expected_s=counts.expected_s,
        excluded_s=excluded,
        coverage=counts.coverage,
    )


def over(objective: Objective, window_s: float | None) -> Objective:
    """The objective over the last `window_s` seconds; None: over its own window."""
    return objective if window_s is None else replace(objective, window_s=window_s, calendar=None)


def promise(target: float, low: float | None, high: float | None) -> Promise:
    """Whether a target was met, by the bounds of the attainment."""
    if low is None or high is None:
        return Promise.NO_EVENTS
    if low >= target:
        return Promise.KEPT
    return Promise.BROKEN if high < target else Promise.UNSURE


def series(
    objective: Objective,
    counts_of: CountsOf,
    steps: Iterable[tuple[float, Counts]],
    adjustments: Sequence[Adjustment],
    *,
    since: float,
    until: float,
    step_s: float,
) -> tuple[SeriesStep, ...]:
    """[since, until) in steps that start at multiples of `step_s`, the first as long as what is left of its own.

    `steps` are sums of whole steps, those without slices left out. Together they count what the window does, and the
    budget left at the end is the window's.
    """
    known = dict(steps)
    exclusions = [a for a in adjustments if a.kind is AdjustmentKind.EXCLUDE]
    found: list[tuple[float, float, Counts, int]] = []
    start = since
    while start < until:
        end = (start // step_s + 1) * step_s
        whole = known.get(start, Counts()) if start % step_s == 0 else counts_of(start, min(end, until))
        end = min(end, until)
        counts = adjusted(_all_of(counts_of, start, end, whole), start, end, exclusions)
        expected_s = max(counts.expected_s, end - start - excluded_s(exclusions, start, end))
        found.append((start, end, replace(counts, expected_s=expected_s), corrected(adjustments, start, end)))
        start = end
    good, unsure = sum(counts.good for _, _, counts, _ in found), sum(counts.unsure for _, _, counts, _ in found)
    bad = max(0, sum(counts.bad + more for _, _, counts, more in found))
    allowed = (good + bad + unsure) * (1.0 - objective.target)
    made: list[SeriesStep] = []
    bad = unsure = 0
    for start, end, counts, more in found:
        bad, unsure = bad + counts.bad + more, unsure + counts.unsure
        left = 1.0 - (max(0, bad) + unsure) / allowed if allowed > 0 else None
        made.append(_step(start, end, counts, more, left))
    return tuple(made)


def version_spans(
    versions: Sequence[ObjectiveVersion],
    counts_of: CountsOf,
    adjustments: Sequence[Adjustment],
    *,
    since: float,
    until: float,
) -> tuple[VersionSpan, ...]:
    """The versions of an objective (oldest first) that held in [since, until), each as far as it held there."""
    spans = []
    changes = [v for n, v in enumerate(versions) if n == 0 or v.version != versions[n - 1].version]
    for index, version in enumerate(changes):
        start = max(since, version.since)
        end = min(until, changes[index + 1].since) if index + 1 < len(changes) else until
        if start < end:
            low, high = _attainment(adjusted(counts_of, start, end, adjustments))
            target = version.objective.target
            kept = promise(target, low, high)
            spans.append(VersionSpan(version.version, target, version.objective.window_s, start, end, kept, low, high))
    return tuple(spans)


def alert_spans(events: Iterable[AlertEvent], *, since: float, until: float) -> tuple[AlertSpan, ...]:
    """When alerts of one objective fired in [since, until), by the moments at which they began and ended."""
    begun: dict[Severity, AlertEvent] = {}
    spans: list[AlertSpan] = []
    for event in sorted(events, key=lambda e: e.at):
        first = begun.pop(event.severity, None)
        if event.firing:
            begun[event.severity] = first or event
        elif event.at > since:
            spans.append(AlertSpan(event.severity, first.at if first else since, event.at, (first or event).summary))
    spans += [AlertSpan(event.severity, event.at, None, event.summary) for event in begun.values()]
    return tuple(sorted((s for s in spans if s.since < until), key=lambda s: s.since))


def _all_of(counts_of: CountsOf, start: float, end: float, whole: Counts) -> CountsOf:
    """The same counts, with one span known."""
    return lambda since, until: whole if (since, until) == (start, end) else counts_of(since, until)


def _step(start: float, end: float, counts: Counts, corrected: int, budget_left: float | None) -> SeriesStep:
    low, high = _attainment(counts)
    return SeriesStep(
        start=start,
        end=end,
        good=counts.good,
        bad=counts.bad,
        unsure=counts.unsure,
        corrected=corrected,
        attainment_low=low,
        attainment_high=high,
        measured_s=counts.measured_s,
        expected_s=counts.expected_s,
        coverage=counts.coverage if counts.expected_s > 0 else 0.0,
        budget_left=budget_left,
    )


def _attainment(counts: Counts) -> tuple[float | None, float | None]:
    if counts.events == 0:
        return None, None
    return counts.good / counts.events, (counts.good + counts.unsure) / counts.events

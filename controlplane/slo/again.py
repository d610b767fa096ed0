"""Judging history by another threshold or target: which objectives allow it, and what their histograms count for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from controlplane.domain.history import BucketRow, SketchRow
from controlplane.domain.objectives import Counts, Indicator, IndicatorSource, Objective
from controlplane.slo.minutes import judged_again


@dataclass(frozen=True, slots=True)
class Again:
    """What to judge by in place of what an objective says; None: as it says."""

    threshold_s: float | None = None
    target: float | None = None


def another(objective: Objective, again: Again) -> Objective:
    """The objective to judge by."""
    threshold_s = objective.threshold_s if again.threshold_s is None else again.threshold_s
    return replace(objective, threshold_s=threshold_s, target=again.target or objective.target)


def why_not(objective: Objective) -> str:
    """Why an objective cannot be judged by another threshold; empty where it can."""
    if objective.threshold_s is None:
        return f"{objective.indicator.value} has no threshold: its events are good or bad from the start"
    if objective.source is IndicatorSource.MEAN_SLICES:
        return "no histogram of it is kept: whether the mean of a slice was inside is all that is known"
    if objective.model_version:
        return "histograms are kept of all versions of a model together"
    return ""


def indicator_kept(objective: Objective) -> Indicator:
    """By which indicator an objective's histograms are kept: probes time whole answers once, by whatever name."""
    timed = objective.source is IndicatorSource.PROBE and objective.indicator is Indicator.E2E
    return Indicator.LATENCY if timed else objective.indicator


def events_of(rows: Iterable[BucketRow | SketchRow], objective: Objective) -> dict[float, Counts]:
    """What rows of an objective's source count for by its threshold, by their start; nothing of measured time."""
    kind = SketchRow if objective.source is IndicatorSource.PROBE else BucketRow
    sums: dict[float, Counts] = {}
    for row in rows:
        if isinstance(row, kind):
            sums[row.start] = sums.get(row.start, Counts()) + judged_again(row, objective)
    return sums


def told(objective: Objective, again: Again) -> str:
    """What it was judged by again, in words; empty where nothing differs."""
    parts = []
    if again.threshold_s is not None and objective.threshold_s is not None:
        parts.append(f"threshold {again.threshold_s * 1000:g} ms in place of {objective.threshold_s * 1000:g} ms")
    if again.target is not None:
        parts.append(f"target {again.target * 100:.10g}% in place of {objective.target * 100:.10g}%")
    return ", ".join(parts)

"""The plots of one objective: attainment against its target, the budget, and how much there was to judge."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

from controlplane.domain.history import Adjustment, AdjustmentKind
from controlplane.page.document import Key, panel, times
from controlplane.page.plot import Frame, Series, area, between, ground, level, line, uprights
from controlplane.page.wording import day, moment, percent
from controlplane.slo.adjust import in_force
from controlplane.slo.report import Mark, MarkKind, ModelReport, ObjectiveReport, SeriesStep

_DAY_S = 86400.0
_TICKS_S = (600, 1800, 3600, 7200, 14400, 43200, *(n * _DAY_S for n in (1, 2, 4, 7, 14, 30, 90)))
_TICKS = 5
_DEEPEST = 8.0
"""The attainment plot reaches down to so many times the budget, so that one bad hour does not flatten all the rest."""
_MOST_OVERSPENT = -1.0
_SPENT = 1e-9
_SEEN = 0.98
"""A step that was measured for less than this is shaded."""


def plots(report: ObjectiveReport, model: ModelReport, moments: Sequence[float]) -> str:
    """All of them. `moments` are marked in each."""
    start, end = report.standing.since, report.standing.until
    frame = Frame(start, end, 1.0)
    behind = "".join(
        (*_unmeasured(report.steps, frame), *_excluded(report, model.adjustments, frame), *_alerts(report, frame))
    )
    lines = uprights(frame, moments)
    return (
        _attainment(report, behind, lines)
        + _budget(report, behind, lines)
        + _events(report, behind)
        + _scaling(model.marks, frame)
        + _times(frame)
    )


def _attainment(report: ObjectiveReport, behind: str, lines: str) -> str:
    standing, steps = report.standing, report.steps
    allowed = 1.0 - standing.target
    worst = max((1.0 - s.attainment_low for s in steps if s.attainment_low is not None), default=0.0)
    bottom = max(0.0, 1.0 - min(max(2 * allowed, 1.15 * worst), _DEEPEST * allowed))
    bottom = 1.0 - _nice(1.0 - bottom)
    frame = Frame(standing.since, standing.until, 1.0 + 0.05 * (1.0 - bottom), bottom)
    low = _stepped(steps, lambda step: step.attainment_low)
    high = _stepped(steps, lambda step: step.attainment_high)
    unsure = any(step.unsure for step in steps)
    target = [point for at, until, share in _targets(report) for point in ((at, share), (until, share))]
    keys = [Key("p95", "attained, unsure as bad" if unsure else "attained"), Key("limit", "target", "dash")]
    if unsure:
        keys.insert(1, Key("p95", "to: unsure as good", "patch"))
    keys += _ground_keys(behind)
    curves = (between(frame, low, high, "p95") if unsure else "") + line(frame, target, "limit", "dash")
    labels = {0.0: "100 %", 1.0: f"{percent(round(bottom, 9))}{' and less' if 1.0 - worst < bottom else ''}"}
    return panel("Attainment", keys, (behind, lines, curves, line(frame, low, "p95")), labels, "high")


def _budget(report: ObjectiveReport, behind: str, lines: str) -> str:
    standing = report.standing
    left = [(step.end, step.budget_left) for step in report.steps]
    points: Series = [(standing.since, None if standing.budget_left is None else 1.0), *left]
    known = [value for _, value in left if value is not None]
    lowest = min(known, default=1.0)
    frame = Frame(standing.since, standing.until, 1.05, max(_MOST_OVERSPENT, min(0.0, 1.1 * lowest)))
    over = [(at, None if value is None else min(0.0, value)) for at, value in points]
    under = [(at, None if value is None else max(0.0, value)) for at, value in points]
    curves = area(frame, under, "budget", 0.0) + area(frame, over, "limit", 0.0) + line(frame, points, "budget")
    spent = next((at for at, value in left if value is not None and value <= _SPENT), None)
    end = "" if spent is None else uprights(frame, [spent], kind="spent")
    told = [Key("budget", "budget left")] + ([Key("limit", f"spent on {moment(spent)}")] if spent else [])
    labels = {0.0: "100 %"}
    if frame.bottom < 0:
        labels[1.0 - (0.0 - frame.bottom) / (frame.top - frame.bottom)] = "spent"
    return panel("Error budget", told, (behind, lines, level(frame, 0.0), curves, end), labels)


def _events(report: ObjectiveReport, behind: str) -> str:
    rates = _stepped(report.steps, _rate)
    top = max((rate for _, rate in rates if rate is not None), default=0.0) or 1.0
    frame = Frame(report.standing.since, report.standing.until, 1.08 * top)
    curves = area(frame, rates, "load") + line(frame, rates, "load", "thin")
    return panel("Events", [Key("load", "a second of measured time")], (behind, curves), {0.0: f"{top:.3g}/s"}, "low")


def _scaling(marks: Sequence[Mark], frame: Frame) -> str:
    """What was scaled when: ups above the line, downs below, whatever else on it."""
    ups = [mark.at for mark in marks if mark.kind in {MarkKind.UP, MarkKind.LOAD}]
    downs = [mark.at for mark in marks if mark.kind in {MarkKind.DOWN, MarkKind.UNLOAD}]
    others = [mark.at for mark in marks if mark.kind is MarkKind.RELOAD]
    if not ups and not downs and not others:
        return ""
    drawn = (uprights(frame, ups, 5, 46), uprights(frame, downs, 54, 95), uprights(frame, others, 5, 95))
    keys = [Key("load", f"up or loaded {len(ups)}, down or unloaded {len(downs)}")]
    return panel("Scaling", keys, (level(frame, 0.5), *drawn), {}, "lane")


def _nice(depth: float) -> float:
    """The next depth with one digit."""
    unit = 10.0 ** math.floor(math.log10(depth))
    return math.ceil(round(depth / unit, 6)) * unit


def _rate(step: SeriesStep) -> float | None:
    return (step.good + step.bad + step.unsure) / step.measured_s if step.measured_s > 0 else None


def _stepped(steps: Sequence[SeriesStep], value: Callable[[SeriesStep], float | None]) -> Series:
    """A value that holds through each step."""
    return [(at, value(step)) for step in steps for at in (step.start, step.end)]


def _targets(report: ObjectiveReport) -> list[tuple[float, float, float]]:
    """(from, to, target), by the versions that are known and else the target of now."""
    standing = report.standing
    first = report.versions[0].since if report.versions else standing.until
    before = report.versions[0].target if report.versions else standing.target
    known = [(version.since, version.until, version.target) for version in report.versions]
    return [(standing.since, first, before), *known] if standing.since < first else known


def _unmeasured(steps: Sequence[SeriesStep], frame: Frame) -> Iterator[str]:
    """Shaded ground, the darker the less was measured; steps alike are one."""
    for missed, group in groupby(
        steps, key=lambda step: 0.0 if step.coverage >= _SEEN else 1 - round(step.coverage, 1)
    ):
        run = [step for step in group if step.expected_s > 0]
        if missed > 0 and run:
            yield ground(frame, run[0].start, run[-1].end, "unmeasured", max(0.2, missed))


def _excluded(report: ObjectiveReport, adjustments: Sequence[Adjustment], frame: Frame) -> Iterator[str]:
    for a in in_force(adjustments, report.standing.model, report.standing.objective):
        if a.kind is AdjustmentKind.EXCLUDE:
            yield ground(frame, a.start, a.end, "excluded")


def _alerts(report: ObjectiveReport, frame: Frame) -> Iterator[str]:
    for span in report.alerts:
        yield ground(frame, span.since, span.until or frame.end, span.severity.value)


def _ground_keys(behind: str) -> Iterator[Key]:
    for kind, colour, text in (
        ("unmeasured", "off", "not measured"),
        ("excluded", "excluded", "left out"),
        ("page", "limit", "page"),
        ("ticket", "load", "ticket"),
    ):
        if f'class="{kind}"' in behind:
            yield Key(colour, text, f"patch {kind}")


def _times(frame: Frame) -> str:
    length = frame.end - frame.start
    step_s = next((s for s in _TICKS_S if length / s <= _TICKS), _TICKS_S[-1])
    first = (frame.start // step_s + 1) * step_s
    ticks = [first + n * step_s for n in range(int((frame.end - first) // step_s) + 1)]
    shown = [(frame.share(at), day(at) if step_s >= _DAY_S else moment(at)[-5:]) for at in ticks]
    return times([tick for tick in shown if 0.03 < tick[0] < 0.97])

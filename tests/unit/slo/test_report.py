from __future__ import annotations

from dataclasses import replace
from zoneinfo import ZoneInfo

import pytest

from controlplane.domain.alerts import Severity
from controlplane.domain.history import Adjustment, AdjustmentKind, AlertEvent, ObjectiveVersion
from controlplane.domain.objectives import Calendar, Counts, Indicator, IndicatorSource, Objective, Period
from controlplane.slo.account import alert_spans, over, promise, series, standing, version_spans
from controlplane.slo.adjust import CountsOf
from controlplane.slo.report import Promise, Standing

HOUR, DAY = 3600.0, 86400.0
NOW = 100 * DAY
OBJECTIVE = Objective(Indicator.LATENCY, 0.99, 28 * DAY, IndicatorSource.GATEWAY, 0.1)


def steadily(good: int, bad: int, unsure: int = 0, *, until: float = NOW) -> CountsOf:
    """So many events in each hour, all of the time."""

    def counts(since: float, end: float) -> Counts:
        hours = max(0.0, min(end, until) - since) / HOUR
        return Counts(round(good * hours), round(bad * hours), round(unsure * hours), hours * HOUR, hours * HOUR)

    return counts


def stood(counts_of: CountsOf, adjustments: tuple[Adjustment, ...] = ()) -> Standing:
    return standing("bert", OBJECTIVE, counts_of, adjustments, NOW)


def excluded(start: float, end: float) -> Adjustment:
    return Adjustment("ad-1", NOW, "ann", "release", AdjustmentKind.EXCLUDE, "bert", "", start, end)


def test_an_objective_stands_by_its_window_and_by_the_pace_of_now() -> None:
    found = stood(steadily(995, 5))
    assert (found.promise, found.attainment_low, found.attainment_high) == (Promise.KEPT, 0.995, 0.995)
    assert found.budget_left == pytest.approx(0.5)
    assert found.burn_1h == pytest.approx(0.5)
    assert found.coverage == 1.0
    assert found.since == NOW - 28 * DAY


def test_what_is_unsure_keeps_a_promise_from_being_told() -> None:
    assert stood(steadily(985, 0, 15)).promise is Promise.UNSURE
    assert stood(steadily(985, 15, 0)).promise is Promise.BROKEN
    assert stood(steadily(980, 15, 5)).promise is Promise.BROKEN, "even with what is unsure taken for good"


def test_without_events_nothing_is_promised_or_broken() -> None:
    found = stood(steadily(0, 0))
    assert found.promise is Promise.NO_EVENTS
    assert (found.attainment_low, found.budget_left, found.burn_1h, found.exhausted_1h_s) == (None, None, None, None)
    assert found.coverage == 1.0
    assert promise(0.9, None, None) is Promise.NO_EVENTS


def test_time_that_was_never_written_is_unmeasured_and_time_left_out_is_not() -> None:
    found = stood(steadily(995, 5, until=NOW - 7 * DAY))
    assert found.coverage == pytest.approx(0.75)
    without = stood(steadily(995, 5, until=NOW - 7 * DAY), (excluded(NOW - 7 * DAY, NOW),))
    assert without.coverage == 1.0
    assert without.excluded_s == 7 * DAY


def test_another_window_rolls_also_where_the_objective_goes_by_the_calendar() -> None:
    monthly = replace(OBJECTIVE, window_s=30 * DAY, calendar=Calendar(Period.MONTH, ZoneInfo("UTC")))
    found = standing("bert", monthly, steadily(995, 5), (), NOW)
    assert (found.since, found.period) == (90 * DAY, Period.MONTH), "the hundredth day of 1970 is 11 April"
    assert found.coverage == 1.0, "what is yet to come was not to be measured"
    week = standing("bert", over(monthly, 7 * DAY), steadily(995, 5), (), NOW)
    assert (week.since, week.period) == (NOW - 7 * DAY, None)
    assert week.objective == found.objective


def test_time_without_slices_is_a_step_that_was_not_measured() -> None:
    counts = Counts(99, 1, 0, HOUR, HOUR)
    steps = series(
        OBJECTIVE, steadily(0, 0), [(NOW - 3 * HOUR, counts)], (), since=NOW - 3 * HOUR, until=NOW, step_s=HOUR
    )
    assert [step.coverage for step in steps] == [1.0, 0.0, 0.0]
    assert [step.expected_s for step in steps] == [HOUR] * 3
    assert [step.attainment_low for step in steps] == [0.99, None, None]
    assert steps[-1].budget_left == pytest.approx(0.0), "one bad event of a hundred is all that 99 % allows"


def test_each_version_is_judged_by_its_own_target_over_its_own_time() -> None:
    strict, loose = replace(OBJECTIVE, target=0.999), replace(OBJECTIVE, target=0.99)
    versions = [
        ObjectiveVersion("bert", strict.version, strict, NOW - 90 * DAY),
        ObjectiveVersion("bert", loose.version, loose, NOW - 7 * DAY),
    ]
    spans = version_spans(versions, steadily(995, 5), (), since=NOW - 28 * DAY, until=NOW)
    assert [(span.target, span.since, span.until, span.promise) for span in spans] == [
        (0.999, NOW - 28 * DAY, NOW - 7 * DAY, Promise.BROKEN),
        (0.99, NOW - 7 * DAY, NOW, Promise.KEPT),
    ]
    assert version_spans(versions, steadily(1, 0), (), since=NOW - DAY, until=NOW)[0].target == 0.99
    twice = [versions[0], replace(versions[0], since=NOW - 20 * DAY), versions[1]]
    assert version_spans(twice, steadily(995, 5), (), since=NOW - 28 * DAY, until=NOW) == spans


def test_alerts_become_spans_also_where_one_end_lies_outside() -> None:
    def event(at: float, severity: Severity, *, firing: bool) -> AlertEvent:
        return AlertEvent(at, "bert", OBJECTIVE.key, severity, firing, f"at {at:g}")

    page, ticket = Severity.PAGE, Severity.TICKET
    events = [
        event(10, page, firing=False),
        event(20, page, firing=True),
        event(25, page, firing=True),
        event(30, page, firing=False),
        event(28, ticket, firing=True),
        event(2, ticket, firing=True),
        event(3, ticket, firing=False),
    ]
    spans = alert_spans(reversed(events), since=5, until=40)
    assert [(s.severity, s.since, s.until) for s in spans] == [(page, 5, 10), (page, 20, 30), (ticket, 28, None)]

"""Demand is what came in; where that is not observable it is an interval."""

from __future__ import annotations

import math

from controlplane.decide.demand import estimate, started_since
from controlplane.decide.explain import reason_text
from tests.unit.decide.values import an_interval

NOW = 100.0


def test_arrivals_are_completions_and_what_queued_up() -> None:
    demand = estimate([an_interval(90, 100, 500, pending_start=20, pending_end=220)], NOW, 30.0, 8)
    assert demand is not None
    assert demand.low_per_s <= (500 + 200) / 10 <= demand.high_per_s
    assert demand.backlog == 220 - 8


def test_readings_since_a_moment_are_those_that_start_then_or_later() -> None:
    seen = tuple(an_interval(at, at + 5) for at in (80, 85, 90, 95))
    for since in (70.0, 80.0, 80.1, 85.0, 94.9, 95.0, 95.1):
        assert started_since(seen, since) == tuple(i for i in seen if i.start >= since)


def test_own_probes_are_no_demand() -> None:
    demand = estimate([an_interval(90, 100, 5, probes=5)], NOW, 30.0, 8)
    assert demand is not None
    assert demand.low_per_s == 0.0


def test_where_nothing_is_seen_only_what_may_execute_unseen_is_left() -> None:
    demand = estimate([an_interval(85, 90), an_interval(90, 95), an_interval(95, 100)], NOW, 30.0, 8)
    assert demand is not None
    assert (demand.low_per_s, demand.likely_high_per_s, demand.high_per_s) == (0.0, 0.0, 0.8)


def test_where_waiting_and_executing_requests_are_read_it_is_a_point() -> None:
    demand = estimate([an_interval(90, 100, 50, running_start=4, running_end=9, pending_end=3)], NOW, 30.0, 8)
    assert demand is not None
    assert demand.low_per_s == demand.likely_high_per_s == demand.high_per_s == 5.8


def test_a_queue_that_is_not_observed_bounds_nothing_and_is_not_taken_for_empty() -> None:
    unseen = an_interval(90, 100, 50, pending_start=None, pending_end=None, running_max=None)
    demand = estimate([unseen], NOW, 30.0, 8)
    assert demand is not None
    assert (demand.low_per_s, demand.likely_high_per_s, demand.high_per_s) == (0.0, 5.0, math.inf)
    reason = demand.reason(5.0)
    assert "high_per_s" not in reason.numbers
    assert reason_text(reason).endswith("(seen: at least 0/s; some requests may not be seen)")


def test_after_counters_began_anew_what_they_lost_is_not_bounded() -> None:
    demand = estimate([an_interval(90, 95, 20), an_interval(95, 100, 30, began_anew=True)], NOW, 30.0, 8)
    assert demand is not None
    assert (demand.low_per_s, demand.high_per_s) == ((20 - 8 + 30 - 8) / 10, math.inf)


def test_own_requests_under_way_at_an_end_leave_it_unsure_by_as_many() -> None:
    demand = estimate([an_interval(90, 100, 50, running_start=0, running_end=1, probes_end=1)], NOW, 30.0, 8)
    assert demand is not None
    assert (demand.low_per_s, demand.high_per_s) == (5.0, 5.2)


def test_an_old_reading_is_no_demand() -> None:
    assert estimate([an_interval(60, 65, 100)], NOW, 30.0, 8) is None
    assert estimate([], NOW, 30.0, 8) is None


def test_rejections_make_it_a_lower_bound() -> None:
    for told in ({"rejected": 1}, {"turned_away": True}):
        demand = estimate([an_interval(90, 100, 50, **told)], NOW, 30.0, 8)
        assert demand is not None
        assert demand.censored


def test_a_step_is_not_diluted_by_what_was_before_it() -> None:
    quiet = [an_interval(70.0 + 5 * i, 75.0 + 5 * i, 100) for i in range(5)]
    demand = estimate([*quiet, an_interval(95, 100, 300, pending_end=200)], NOW, 30.0, 8)
    assert demand is not None
    assert demand.low_per_s > 80
    assert demand.jumped


def test_a_small_rise_is_awaited_out_only_where_a_backlog_begins() -> None:
    quiet = [an_interval(70.0 + 5 * i, 75.0 + 5 * i, 1000) for i in range(5)]
    calm = estimate([*quiet, an_interval(95, 100, 1250)], NOW, 30.0, 8)
    begun = estimate([*quiet, an_interval(95, 100, 1050, pending_end=200)], NOW, 30.0, 8)
    assert calm is not None
    assert begun is not None
    assert (calm.jumped, begun.jumped) == (False, True)

"""Demand is what came in; where that is not observable it is an interval."""

from __future__ import annotations

from controlplane.decide.demand import estimate
from tests.unit.decide.values import an_interval

NOW = 100.0


def test_arrivals_are_completions_and_what_queued_up() -> None:
    demand = estimate([an_interval(90, 100, 500, pending_start=20, pending_end=220)], NOW, 30.0, 8)
    assert demand is not None
    assert demand.low_per_s <= (500 + 200) / 10 <= demand.high_per_s
    assert demand.backlog == 220 - 8


def test_own_probes_are_no_demand() -> None:
    demand = estimate([an_interval(90, 100, 5, probes=5)], NOW, 30.0, 8)
    assert demand is not None
    assert demand.low_per_s == 0.0


def test_nothing_seen_at_all_is_known_to_be_nothing() -> None:
    demand = estimate([an_interval(85, 90), an_interval(90, 95), an_interval(95, 100)], NOW, 30.0, 8)
    assert demand is not None
    assert (demand.low_per_s, demand.high_per_s) == (0.0, 0.0)


def test_an_old_reading_is_no_demand() -> None:
    assert estimate([an_interval(60, 65, 100)], NOW, 30.0, 8) is None
    assert estimate([], NOW, 30.0, 8) is None


def test_rejections_make_it_a_lower_bound() -> None:
    demand = estimate([an_interval(90, 100, 50, rejected=1)], NOW, 30.0, 8)
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

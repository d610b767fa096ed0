"""How many ticks wait in memory for the store, and what is lost when that is too many."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import pytest

from bench.fleet import snapshot, tick_record
from controlplane.decide.plan import decide
from controlplane.decide.policy import Policy
from controlplane.domain.alerts import Severity
from controlplane.domain.history import AlertEvent, ObjectiveVersion
from controlplane.domain.objectives import Indicator, IndicatorSource, Objective
from controlplane.domain.records import TickRecord
from controlplane.domain.state import PolicyState
from controlplane.loop.backlog import Backlog, weight_bytes
from tests.unit.loop.worlds import NOW, a_decision


def a_tick(at: float, decisions: int = 1) -> TickRecord:
    return TickRecord(at, (), tuple(a_decision(f"d-{at}-{i}") for i in range(decisions)), (), PolicyState())


def fill(backlog: Backlog, ticks: int, **more: int) -> None:
    for i in range(ticks):
        backlog.add(a_tick(NOW + 15.0 * i, **more))


def test_ticks_are_kept_in_their_order_up_to_an_age() -> None:
    backlog = Backlog(most_s=600.0)
    fill(backlog, 41)
    assert (len(backlog), backlog.since, backlog.lost) == (41, NOW, 0)
    backlog.add(a_tick(NOW + 615.0))
    assert (len(backlog), backlog.since, backlog.lost) == (41, NOW + 15.0, 1)
    assert [backlog.take().at for _ in range(41)] == [NOW + 15.0 * i for i in range(1, 42)]
    assert (len(backlog), backlog.since) == (0, None)


def test_and_up_to_an_amount_of_memory() -> None:
    one = weight_bytes(a_tick(NOW, 50))
    backlog = Backlog(most_bytes=10 * one)
    fill(backlog, 25, decisions=50)
    assert (len(backlog), backlog.lost) == (10, 15)
    backlog.take()
    fill(backlog, 1, decisions=50)
    assert (len(backlog), backlog.lost) == (10, 15)


def test_the_newest_is_kept_however_large() -> None:
    backlog = Backlog(most_bytes=1)
    fill(backlog, 3)
    assert (len(backlog), backlog.oldest.at, backlog.lost) == (1, NOW + 30.0, 2)


def test_what_happened_only_once_goes_over_to_the_next_when_a_tick_is_lost() -> None:
    goal = Objective(Indicator.AVAILABILITY, 0.99, 86400.0, IndicatorSource.SERVER)
    event = AlertEvent(NOW, "a", goal.key, Severity.PAGE, firing=True, summary="burns")
    version = ObjectiveVersion("a", goal.version, goal, NOW)
    backlog = Backlog(most_s=20.0)
    backlog.add(replace(a_tick(NOW), versions=(version,), alert_events=(event,)))
    backlog.add(a_tick(NOW + 15.0))
    backlog.add(a_tick(NOW + 30.0))
    assert (backlog.oldest.at, backlog.oldest.versions, backlog.oldest.alert_events) == (
        NOW + 15.0,
        (version,),
        (event,),
    )


def test_the_weight_of_a_tick_is_about_what_it_takes() -> None:
    worlds = [snapshot(300, NOW + 15.0 * tick) for tick in range(5)]
    _, state = decide(worlds[0], PolicyState(), Policy(), NOW)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    kept = []
    for world in worlds[1:]:
        plan, state = decide(world, state, Policy(), world.reading.at)
        kept.append(tick_record(world, plan.decisions, state, world.reading.at))
    took = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert sum(map(weight_bytes, kept)) == pytest.approx(took, rel=0.5)

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

from controlplane.domain.expected import Schedule
from controlplane.loop.schedules import AHEAD_S, Calendar, runs
from tests.unit.loop.worlds import FLEET

BERLIN = ZoneInfo("Europe/Berlin")
HOUR_S, DAY_S = 3600.0, 86_400.0


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def spans(cron: str, lasts_s: float, since: str, ahead_s: float = 2 * DAY_S) -> list[tuple[float, float]]:
    return [(r.start_s, r.end_s) for r in runs(Schedule(cron, BERLIN, lasts_s, 4), at(since), ahead_s)]


def test_a_run_begins_by_the_clock_of_its_zone_on_either_side_of_a_change() -> None:
    assert spans("0 8 * * *", 10 * HOUR_S, "2026-03-28T00:00Z") == [
        (at("2026-03-28T07:00Z"), at("2026-03-28T17:00Z")),
        (at("2026-03-29T06:00Z"), at("2026-03-29T16:00Z")),
    ]


def test_a_run_over_a_change_lasts_its_seconds() -> None:
    assert spans("0 1 * * sun", 4 * HOUR_S, "2026-03-28T12:00Z") == [(at("2026-03-29T00:00Z"), at("2026-03-29T04:00Z"))]


def test_a_start_that_the_change_leaves_out_is_made_up_for() -> None:
    assert spans("30 2 * * sun", HOUR_S, "2026-03-28T12:00Z") == [(at("2026-03-29T01:30Z"), at("2026-03-29T02:30Z"))]


def test_a_start_that_comes_twice_begins_a_run_each_time() -> None:
    [(start, end)] = spans("30 2 * * sun", HOUR_S, "2026-10-24T12:00Z")
    assert (start, end) == (at("2026-10-25T00:30Z"), at("2026-10-25T02:30Z"))


def test_a_run_that_began_is_told_until_it_is_over_and_not_after() -> None:
    friday = (at("2026-11-27T07:00Z"), at("2026-11-27T17:00Z"))
    assert spans("0 8 * * mon-fri", 10 * HOUR_S, "2026-11-27T16:59:59Z", HOUR_S) == [friday]
    assert spans("0 8 * * mon-fri", 10 * HOUR_S, "2026-11-27T17:00:01Z", HOUR_S) == []


def test_a_calendar_always_tells_what_begins_within_its_time() -> None:
    schedule = Schedule("0 8 * * *", BERLIN, HOUR_S, 4)
    fleet = replace(FLEET, models=(replace(FLEET.models[0], schedules=(schedule,)),))
    calendar, start = Calendar(), at("2026-11-27T07:00Z")
    assert calendar.floors(fleet, start - AHEAD_S - 400.0) == {"a": ()}
    for before_s in range(-3500, int(AHEAD_S), 97):
        [floor] = calendar.floors(fleet, start - before_s)["a"]
        assert (floor.start_s, floor.least) == (start, 4)
    assert calendar.floors(FLEET, start) == {}

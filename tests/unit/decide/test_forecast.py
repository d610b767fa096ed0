"""Forecasts on loads of known kinds: how often they hold, what they find, what they fall back on."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from random import Random

import pytest

from controlplane.decide import forecast as f
from controlplane.decide.forecast import Basis, Event, Gate, Reading, State
from controlplane.decide.forecast.residuals import LEVELS

STEP_S = 300.0
DAY_S = 86400.0
HORIZON_S = 600.0

Load = Callable[[float, Random], float]


def diurnal(time_s: float, chance: Random) -> float:
    level = 20 + 15 * math.sin(2 * math.pi * time_s / DAY_S)
    return max(0.0, chance.gauss(level, 0.05 * level))


def bursty(time_s: float, chance: Random) -> float:
    return chance.gauss(20, 1) + (chance.expovariate(1 / 30) if chance.random() < 0.05 else 0)


def jumping(time_s: float, chance: Random) -> float:
    level = Random(int(time_s // 14400)).uniform(5, 50)  # noqa: S311 - the same load each time
    return chance.gauss(level, 0.05 * level)


def on_off(time_s: float, chance: Random) -> float:
    return 10.0 if Random(int(time_s // 3000)).random() < 0.4 else 0.0  # noqa: S311 - the same load each time


def constant(time_s: float, chance: Random) -> float:
    return 7.0


def noise(time_s: float, chance: Random) -> float:
    return chance.expovariate(0.1)


def weekends_off(time_s: float, chance: Random) -> float:
    return diurnal(time_s, chance) * (0.2 if (time_s // DAY_S) % 7 >= 5 else 1.0)


def learned(load: Load, days: float, state: State | None = None, since_s: float = 0.0) -> State:
    state, chance = state or f.begin(STEP_S, [HORIZON_S]), Random(1)  # noqa: S311 - the same load each time
    for index in range(int(since_s / STEP_S), int((since_s + days * DAY_S) / STEP_S)):
        per_s = load(index * STEP_S, chance)
        state = f.observe(state, Reading((index + 1) * STEP_S, per_s, per_s))
    return state


def ahead(state: State, quantile: float = 0.9, later_s: float = 0.0, events: Sequence[Event] = ()) -> f.Forecast:
    found = f.forecast(state, HORIZON_S, quantile, (state.seen_s or 0.0) + later_s, events)
    assert found is not None
    return found


@pytest.mark.parametrize("load", [diurnal, bursty, jumping, on_off, constant, noise])
def test_demand_stays_within_each_quantile_about_as_often_as_is_said(load: Load) -> None:
    """Counted on the last three of seven days, where there is a forecast, without the floor of what is observed."""
    days, test_from, counted = 7, 4 * 288, 0
    state, chance = f.begin(STEP_S, [HORIZON_S]), Random(1)  # noqa: S311 - the same load each time
    issued: dict[int, list[float]] = {}
    held = [0, 0, 0]
    for index in range(days * 288):
        per_s = load(index * STEP_S, chance)
        due = issued.pop(index, [])
        counted += bool(due)
        for place, value in enumerate(due):
            held[place] += per_s <= value * (1 + 1e-12)
        state = f.observe(state, Reading((index + 1) * STEP_S, per_s, per_s))
        if index + 2 >= test_from:
            found = [ahead(state, level).quantile_per_s for level in LEVELS]
            issued[index + 2] = [one for one in found if one is not None]
    assert counted > 0.7 * 3 * 288
    for level, count in zip(LEVELS, held, strict=True):
        share = count / counted
        assert share > level - 0.05
        # What is often exactly at one value cannot be exceeded as often as is said.
        if load not in (constant, on_off):
            assert share < level + 0.05


def test_a_day_is_found_after_two_days_and_foretells_the_morning() -> None:
    assert learned(diurnal, 1.8).season is None
    state = learned(diurnal, 3)
    assert state.season is state.day
    assert state.day.explained > 0.9
    found = ahead(state)
    assert found.gate is Gate.OPEN
    assert found.basis in (Basis.SEASON, Basis.SEASON_SLOW, Basis.SEASON_SHARP)
    assert found.numbers["season_s"] == DAY_S
    # It rises now, by some 0.65/s in ten minutes.
    assert ahead(state, 0.5).per_s > state.path.slow


def test_a_week_is_found_where_days_differ() -> None:
    state = learned(weekends_off, 17)
    assert state.season is state.week
    # Day 17 is a Thursday; on the third Saturday (day 19) at the time of the peak it knows better than the day does.
    saturday_s = 19 * DAY_S + DAY_S / 4
    week, day = state.week.at(saturday_s), state.day.at(saturday_s)
    assert week is not None
    assert day is not None
    assert week < 0.5 * day


@pytest.mark.parametrize("load", [noise, jumping, constant])
def test_no_season_is_found_where_there_is_none(load: Load) -> None:
    state = learned(load, 6)
    assert state.season is None
    assert ahead(state).numbers["season_s"] == 0


def test_a_season_that_moved_away_is_not_gone_by_for_long() -> None:
    state = learned(diurnal, 5)
    moved = learned(lambda time_s, chance: diurnal(time_s + DAY_S / 2, chance), 1, state, 5 * DAY_S)
    now = ahead(moved, 0.5)
    assert now.quantile_per_s is not None
    assert now.quantile_per_s == pytest.approx(now.observed_per_s, rel=0.25)


def test_before_enough_forecasts_came_due_there_is_none_and_the_recent_maximum_is_held() -> None:
    state = f.begin(STEP_S, [HORIZON_S])
    assert f.forecast(state, HORIZON_S, 0.9, 0.0) is None
    for index, per_s in enumerate((5.0, 9.0, 4.0)):
        state = f.observe(state, Reading((index + 1) * STEP_S, per_s, per_s))
    found = ahead(state)
    assert (found.gate, found.quantile_per_s) == (Gate.LEARNING, None)
    assert (found.observed_per_s, found.per_s) == (4.0, 9.0)
    # Readings of ten minutes and more ago are not recent.
    state = f.observe(state, Reading(4 * STEP_S, 4.0, 4.0))
    assert ahead(state).per_s == 4.0


def test_one_burst_does_not_explode_it() -> None:
    state = learned(noise, 2)
    end_s = (state.seen_s or 0.0) + STEP_S
    burst = f.observe(state, Reading(end_s, 3000.0, 3000.0))
    found = ahead(burst, 0.995)
    assert 3000 <= found.per_s <= 1.5 * 3000
    after = learned(noise, 0.1, burst, end_s)
    assert ahead(after, 0.9).per_s < 100


def test_demand_known_to_be_at_least_so_much_does_not_pull_it_down() -> None:
    """Requests are turned away: what is seen falls, and says nothing of what came."""
    steady = learned(lambda _, chance: chance.gauss(20, 1), 1)
    seen = censored = steady
    for index in range(1, 13):
        end_s = DAY_S + index * STEP_S
        seen = f.observe(seen, Reading(end_s, 10.0, 10.0))
        censored = f.observe(censored, Reading(end_s, 10.0, math.inf))
    assert ahead(seen, 0.5).per_s == pytest.approx(10, abs=3)
    assert ahead(censored, 0.5).per_s == pytest.approx(20, abs=2)
    beyond = f.observe(censored, Reading(DAY_S + 13 * STEP_S, 40.0, math.inf))
    assert ahead(beyond, 0.5).per_s >= 40


def test_a_gap_is_carried_by_the_season_with_wider_bounds() -> None:
    state = learned(diurnal, 3)
    now, hour_later, morning = (ahead(state, 0.9, later_s) for later_s in (0.0, 3600.0, 6 * 3600.0))
    assert now.per_s < hour_later.per_s < morning.per_s
    # The peak of the day, 35/s, lies in those six hours.
    assert morning.per_s > 35
    assert morning.numbers["missing_s"] == 6 * 3600


def test_an_event_is_there_before_it_starts_and_its_factor_is_of_what_was_before_it() -> None:
    state = learned(constant, 1)
    sale = Event("sale", DAY_S + 300, DAY_S + 7200, factor=3.0)
    assert ahead(state, 0.9, 0.0, [sale]).per_s == 21.0
    assert ahead(state, 0.9, 0.0, [sale]).event == "sale"
    far = Event("sale", DAY_S + 3600, DAY_S + 7200, factor=3.0)
    assert ahead(state, 0.9, 0.0, [far]).event is None
    during = learned(lambda *_: 21.0, 0.05, state, DAY_S)
    # What is observed is three times as much already, and is not taken three times again.
    assert ahead(during, 0.5, 0.0, [sale]).event_per_s == 21.0
    assert ahead(during, 0.9, 7200.0, [sale]).event is None
    launch = Event("launch", DAY_S, DAY_S + 7200, per_s=100.0)
    assert ahead(state, 0.9, 0.0, [launch, sale]).per_s == 100.0


def test_an_old_or_impossible_reading_changes_nothing() -> None:
    state = learned(constant, 0.1)
    assert state.seen_s is not None
    for reading in (
        Reading(state.seen_s, 9.0, 9.0),
        Reading(state.seen_s - STEP_S, 9.0, 9.0),
        Reading(state.seen_s + STEP_S, 9.0, 8.0),
        Reading(state.seen_s + STEP_S, math.nan, math.nan),
        Reading(state.seen_s + STEP_S, 0.0, math.inf),
    ):
        assert f.observe(state, reading) is state


def test_the_nearest_horizon_that_is_not_shorter_is_gone_by() -> None:
    state = f.begin(60, [90, 300])
    state = f.observe(state, Reading(60, 1.0, 1.0))
    for asked_s, used_s in ((10, 120), (120, 120), (121, 300), (900, 300)):
        found = f.forecast(state, asked_s, 0.9, 60)
        assert found is not None
        assert found.numbers["horizon_s"] == used_s


def test_a_state_is_small_whatever_the_length_of_its_history() -> None:
    state = f.begin(STEP_S, [60, 300, 600, 900])
    chance = Random(2)  # noqa: S311 - the same load each time
    for index in range(9 * 288):
        per_s = weekends_off(index * STEP_S, chance)
        state = f.observe(state, Reading((index + 1) * STEP_S, per_s, per_s))
    assert len(json.dumps(f.dumped(state))) < 100_000

"""Calendar windows where clocks are changed, and months as long as they are."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from controlplane.domain.objectives import Calendar, Indicator, IndicatorSource, Objective, Period
from controlplane.slo.window import Window, period_of, window_of

HOUR_S, DAY_S = 3600.0, 86400.0


def at(text: str, zone: str = "UTC") -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


def days(period: Period, now: str, zone: str = "UTC") -> float:
    return period_of(Calendar(period, ZoneInfo(zone)), at(now, zone)).length_s / DAY_S


@pytest.mark.parametrize(
    ("period", "now", "since", "end"),
    [
        (Period.DAY, "2026-11-22T23:59:59", "2026-11-22", "2026-11-23"),
        (Period.WEEK, "2026-11-22T12:00", "2026-11-16", "2026-11-23"),
        (Period.WEEK, "2026-11-23T00:00", "2026-11-23", "2026-11-30"),
        (Period.MONTH, "2026-12-31T23:00", "2026-12-01", "2027-01-01"),
        (Period.QUARTER, "2026-11-22T12:00", "2026-10-01", "2027-01-01"),
        (Period.QUARTER, "2026-03-31T12:00", "2026-01-01", "2026-04-01"),
    ],
)
def test_a_period_begins_and_ends_with_its_days(period: Period, now: str, since: str, end: str) -> None:
    berlin = Calendar(period, ZoneInfo("Europe/Berlin"))
    expected = Window(at(since, "Europe/Berlin"), at(end, "Europe/Berlin"))
    assert period_of(berlin, at(now, "Europe/Berlin")) == expected


@pytest.mark.parametrize(
    ("now", "length"), [("2026-02-10", 28), ("2028-02-10", 29), ("2026-04-10", 30), ("2026-05-10", 31)]
)
def test_months_are_as_long_as_they_are(now: str, length: int) -> None:
    assert days(Period.MONTH, now) == length


def test_days_on_which_clocks_are_changed_have_an_hour_less_or_more() -> None:
    assert days(Period.DAY, "2026-03-29T12:00", "Europe/Berlin") == 23 / 24
    assert days(Period.DAY, "2026-10-25T12:00", "Europe/Berlin") == 25 / 24
    assert days(Period.MONTH, "2026-10-12T12:00", "Europe/Berlin") == 31 + 1 / 24


def test_a_day_without_a_midnight_begins_with_the_jump() -> None:
    # In Beirut clocks went from 00:00 to 01:00 on 2022-03-27.
    sunday = period_of(Calendar(Period.DAY, ZoneInfo("Asia/Beirut")), at("2022-03-27T12:00", "Asia/Beirut"))
    assert sunday.length_s == 23 * HOUR_S
    assert datetime.fromtimestamp(sunday.since, ZoneInfo("Asia/Beirut")).isoformat() == "2022-03-27T01:00:00+03:00"


def test_a_rolling_window_is_the_last_so_many_seconds() -> None:
    objective = Objective(Indicator.AVAILABILITY, 0.99, 3600.0, IndicatorSource.SERVER)
    assert window_of(objective, 10_000.0) == Window(6400.0, 10_000.0)

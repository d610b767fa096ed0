"""Windows of objectives as they are written: lengths, and periods of the calendar in a time zone."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest

from controlplane.config.units import format_window, parse_window, parse_zone
from controlplane.domain.history import ObjectiveVersion
from controlplane.domain.objectives import Calendar, Objective, Period
from controlplane.store.codec import OBJECTIVE_VERSION
from tests.unit.config.test_objectives import faults, objectives

DAY_S = 86400.0


def one(written: str) -> Objective:
    (objective,) = objectives(f"{{availability: 99.9%, {written}}}")
    return objective


@pytest.mark.parametrize(
    ("written", "calendar", "window_s"),
    [
        ("window: 28d", None, 28 * DAY_S),
        ("window: month", Calendar(Period.MONTH, ZoneInfo("UTC")), 30 * DAY_S),
        (
            "window: quarter, timezone: Europe/Berlin",
            Calendar(Period.QUARTER, ZoneInfo("Europe/Berlin")),
            91 * DAY_S,
        ),
        ("window: week", Calendar(Period.WEEK, ZoneInfo("UTC")), 7 * DAY_S),
        ("window: day", Calendar(Period.DAY, ZoneInfo("UTC")), DAY_S),
    ],
)
def test_a_window_rolls_or_is_a_period_of_the_calendar(
    written: str, calendar: Calendar | None, window_s: float
) -> None:
    objective = one(written)
    assert (objective.calendar, objective.window_s) == (calendar, window_s)


def test_another_period_or_zone_is_another_version_of_the_same_objective() -> None:
    found = [one(f"window: {w}") for w in ("30d", "month", "week", "'month', timezone: Asia/Tokyo")]
    assert len({o.version for o in found}) == 4
    assert len({o.key for o in found}) == 1


def test_a_version_with_a_calendar_outlives_the_store() -> None:
    objective = one("window: month, timezone: Europe/Berlin")
    kept = ObjectiveVersion("m", objective.version, objective, 1e9)
    assert OBJECTIVE_VERSION.load(OBJECTIVE_VERSION.dump(kept)) == kept


def test_what_is_no_window_and_no_zone_is_refused_with_what_is() -> None:
    (fault,) = faults("{availability: 99.9%, window: year}")
    assert "window: 'year'; a duration such as 28d, or a period of the calendar: day, week, month, quarter" in fault
    for name in ("Mars/Olympus", "''", "../etc/passwd", "7", "Europe"):
        (fault,) = faults(f"{{availability: 99.9%, window: month, timezone: {name}}}")
        assert "a time zone by its IANA name, such as Europe/Berlin" in fault
    (fault,) = faults("{availability: 99.9%, window: 28d, timezone: Europe/Berlin}")
    assert "timezone: 'Europe/Berlin'" in fault
    assert "only with a window of the calendar" in fault
    (fault,) = faults("{availability: 99.9%, window: 30m}")
    assert "1h to 90d" in fault


@pytest.mark.parametrize("written", ["28d", "1h", "month", "day"])
def test_a_window_is_written_as_it_is_read(written: str) -> None:
    assert format_window(parse_window(written)) == written


def test_a_zone_keeps_its_name() -> None:
    assert parse_zone("Europe/Berlin").key == "Europe/Berlin"

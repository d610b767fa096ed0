"""Every moment lies in exactly one period of each kind, in every zone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from controlplane.domain.objectives import Calendar, Period
from controlplane.slo.window import period_of

ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Beirut",
    "Atlantic/Azores",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "Pacific/Apia",
    "America/Havana",
)
MOST_DAYS = {
    Period.DAY: (0.95, 1.05),
    Period.WEEK: (5.95, 7.05),
    Period.MONTH: (27.95, 31.05),
    Period.QUARTER: (89.9, 92.1),
}

moments = st.datetimes(datetime(1995, 1, 1), datetime(2037, 1, 1), timezones=st.just(UTC)).map(datetime.timestamp)  # noqa: DTZ001 - the zone is given beside
calendars = st.builds(Calendar, st.sampled_from(Period), st.sampled_from(ZONES).map(ZoneInfo))


@given(calendars, moments)
def test_periods_hold_their_moments_and_meet_without_a_gap(calendar: Calendar, now: float) -> None:
    window = period_of(calendar, now)
    assert window.since <= now < window.end
    assert period_of(calendar, window.since) == window
    assert period_of(calendar, window.end).since == window.end
    assert period_of(calendar, window.since - 1e-3).end == window.since
    low, high = MOST_DAYS[calendar.period]
    assert low <= window.length_s / timedelta(days=1).total_seconds() <= high


@given(calendars, moments)
def test_a_period_begins_on_its_first_day(calendar: Calendar, now: float) -> None:
    first = datetime.fromtimestamp(period_of(calendar, now).since, calendar.zone)
    today = datetime.fromtimestamp(now, calendar.zone)
    assert first.hour in {0, 1}
    match calendar.period:
        case Period.DAY:
            assert first.date() == today.date()
        case Period.WEEK:
            assert first.isocalendar()[:2] == today.isocalendar()[:2]
        case Period.MONTH:
            assert (first.year, first.month, first.day) == (today.year, today.month, 1)
        case Period.QUARTER:
            assert (first.year, (first.month - 1) // 3, first.day) == (today.year, (today.month - 1) // 3, 1)

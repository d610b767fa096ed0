"""Which time an objective's window is: the last so many seconds, or the present period of a calendar."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from controlplane.domain.objectives import Calendar, Objective, Period


@dataclass(frozen=True, slots=True)
class Window:
    """[since, end) in unix seconds. A rolling one ends now, a period of the calendar may go on."""

    since: float
    end: float

    @property
    def length_s(self) -> float:
        """Seconds from one end to the other: an hour more or less where clocks are changed within it."""
        return self.end - self.since


def window_of(objective: Objective, now: float) -> Window:
    """The window of an objective that holds `now`."""
    if objective.calendar is None:
        return Window(now - objective.window_s, now)
    return period_of(objective.calendar, now)


def period_of(calendar: Calendar, now: float) -> Window:
    """The period of a calendar that holds `now`; it begins with the midnight of its first day, where that is."""
    today = datetime.fromtimestamp(now, calendar.zone).date()
    first, following = _days(calendar.period, today)
    return Window(_midnight(first, calendar), _midnight(following, calendar))


def _days(period: Period, today: date) -> tuple[date, date]:
    """The first day of the period that holds `today`, and that of the next one."""
    match period:
        case Period.DAY:
            return today, today + timedelta(days=1)
        case Period.WEEK:
            first = today - timedelta(days=today.weekday())
            return first, first + timedelta(days=7)
        case Period.MONTH:
            return today.replace(day=1), _months_on(today.replace(day=1), 1)
        case Period.QUARTER:
            first = today.replace(month=(today.month - 1) // 3 * 3 + 1, day=1)
            return first, _months_on(first, 3)


def _months_on(first: date, months: int) -> date:
    year, month = divmod(first.year * 12 + first.month - 1 + months, 12)
    return date(year, month + 1, 1)


def _midnight(day: date, calendar: Calendar) -> float:
    """When a day begins. Where clocks jump over its midnight that is the moment of the jump (PEP 495, fold 0)."""
    return datetime(day.year, day.month, day.day, tzinfo=calendar.zone).timestamp()

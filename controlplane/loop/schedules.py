"""Cron schedules as the times at which they hold: decisions know intervals only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta

from apscheduler.triggers.cron import CronTrigger

from controlplane.domain.expected import Floor, Schedule
from controlplane.domain.fleet import Fleet

AHEAD_S = 6 * 3600.0
"""Runs that begin within so long are told: no start-up is prepared for longer."""
_ANEW_S = 300.0


def runs(schedule: Schedule, now: float, ahead_s: float) -> Iterator[Floor]:
    """Its runs that hold at some time from now until `ahead_s` later, those that follow without a gap as one.

    A run lasts for its seconds whatever the clocks of the zone do. A time that a change to summer time leaves out
    begins with it; one that comes twice at the change back begins a run each time.
    """
    trigger = CronTrigger.from_crontab(schedule.cron, timezone=schedule.zone)
    last: datetime | None = None
    found: Floor | None = None
    at = datetime.fromtimestamp(now - schedule.lasts_s, UTC)
    while (fire := trigger.get_next_fire_time(last, at)) is not None and fire.timestamp() <= now + ahead_s:
        start_s = fire.timestamp()
        last, at = fire, fire.astimezone(UTC) + timedelta(microseconds=1)
        if found is not None and start_s <= found.end_s:
            found = Floor(found.start_s, start_s + schedule.lasts_s, schedule.least, schedule.cron)
            continue
        if found is not None:
            yield found
        found = Floor(start_s, start_s + schedule.lasts_s, schedule.least, schedule.cron)
    if found is not None:
        yield found


class Calendar:
    """The runs of all schedules of a fleet, by model or workload, told anew every few minutes."""

    def __init__(self) -> None:
        self._known: dict[Schedule, tuple[float, tuple[Floor, ...]]] = {}

    def floors(self, fleet: Fleet, now: float) -> Mapping[str, tuple[Floor, ...]]:
        """Those that hold now or begin within AHEAD_S."""
        subjects = {workload.name: workload.schedules for workload in fleet.workloads if workload.schedules}
        subjects |= {model.name: model.schedules for model in fleet.models if model.schedules}
        named = {schedule for schedules in subjects.values() for schedule in schedules}
        for schedule in named:
            at = self._known[schedule][0] if schedule in self._known else None
            if at is None or not 0 <= now - at < _ANEW_S:
                self._known[schedule] = (now, tuple(runs(schedule, now, AHEAD_S + _ANEW_S)))
        self._known = {schedule: known for schedule, known in self._known.items() if schedule in named}
        return {
            name: tuple(floor for schedule in schedules for floor in self._known[schedule][1])
            for name, schedules in subjects.items()
        }

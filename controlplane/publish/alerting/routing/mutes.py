"""Times in which a team is not told, as Alertmanager writes them: no range goes over midnight."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from controlplane.domain.alerts import Severity
from controlplane.domain.routing import MuteTime, Team

_WEEK = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_MIDNIGHT = "24:00"


def muted(team: Team, severity: Severity) -> dict[str, list[str]]:
    """The key of a route which names its mute times; a route does not take those of the one above it."""
    names = [_name(team, i) for i, mute in enumerate(team.mutes) if severity in mute.severities]
    return {"mute_time_intervals": names} if names else {}


def time_intervals(teams: Iterable[Team]) -> list[dict[str, Any]]:
    """All mute times of the teams."""
    return [
        {"name": _name(team, i), "time_intervals": _ranges(mute)} for team in teams for i, mute in enumerate(team.mutes)
    ]


def _name(team: Team, index: int) -> str:
    return f"{team.name}/{index}"


def _ranges(mute: MuteTime) -> list[dict[str, Any]]:
    """One range a day, or two where it goes over midnight: the second on the days that follow."""
    if mute.since < mute.until:
        return [_range(mute, mute.since, mute.until, mute.days)]
    evening = _range(mute, mute.since, _MIDNIGHT, mute.days)
    if mute.until == "00:00":
        return [evening]
    following = {_WEEK[(_WEEK.index(day) + 1) % len(_WEEK)] for day in mute.days}
    return [evening, _range(mute, "00:00", mute.until, sorted(following, key=_WEEK.index))]


def _range(mute: MuteTime, since: str, until: str, days: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {"times": [{"start_time": since, "end_time": until}]}
    if days:
        found["weekdays"] = list(days)
    return {**found, "location": mute.location}

"""Demand that somebody said would come."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Event:
    """Demand expected from `start_s` until `end_s` (unix seconds): `factor` times what there was, or a level, or both.

    One run of a schedule (cron) is one event. It raises only: a factor below 1 does nothing.
    """

    name: str
    start_s: float
    end_s: float
    factor: float = 1.0
    per_s: float = 0.0


def raised(
    events: Iterable[Event], now: float, horizon_s: float, base_per_s: Callable[[float], float]
) -> tuple[float, str | None]:
    """Demand per second that the events ask for until `horizon_s` from now, and which one does; 0 where none does.

    All of the time up to the horizon counts: an event that ends before it needs its share too.
    `base_per_s(start_s)` is the demand that a factor is of: once an event has begun, what there was before its start,
    for what is observed then is raised by it already.
    """
    most, by = 0.0, None
    for event in events:
        if event.start_s <= now + horizon_s and event.end_s > now:
            asked = event.per_s
            if event.factor > 1:
                asked = max(asked, event.factor * base_per_s(event.start_s))
            if asked > most:
                most, by = asked, event.name
    return most, by

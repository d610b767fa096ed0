"""What a cluster tells of the replicas of a workload, beside the servers that there are."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Unscheduled:
    """A replica that no node takes; `why` as the scheduler says it."""

    name: str
    why: str


@dataclass(frozen=True, slots=True)
class ScaleStatus:
    """Of one workload. `owner` sets its replicas in our place, empty: nobody is known to; `warning` empty: none."""

    owner: str = ""
    warning: str = ""
    unscheduled: tuple[Unscheduled, ...] = ()

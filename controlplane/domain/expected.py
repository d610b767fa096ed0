"""What people said would come: schedules that keep capacity warm, and announced demand."""

from __future__ import annotations

from dataclasses import dataclass
from zoneinfo import ZoneInfo

CONFIGURATION = "configuration"
"""The actor of what the configuration says."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """A warm minimum: from each time of `cron` in `zone`, for `lasts_s` seconds, there are at least `least`."""

    cron: str
    zone: ZoneInfo
    lasts_s: float
    least: int


@dataclass(frozen=True, slots=True)
class Floor:
    """One run of a schedule: at least `least` replicas, or instances, from `start_s` until `end_s` (unix seconds)."""

    start_s: float
    end_s: float
    least: int
    schedule: str


@dataclass(frozen=True, slots=True)
class Announced:
    """Demand of a model or workload, the `subject`, that somebody said would come from `start_s` until `end_s`.

    `factor` times what there was, or a level of all its servers together, or both. It raises only.
    """

    id: str
    name: str
    subject: str
    start_s: float
    end_s: float
    factor: float = 1.0
    per_s: float = 0.0
    actor: str = CONFIGURATION
    reason: str = ""
    created_at: float = 0.0

"""What history keeps beside slices: histograms as they were read, people's corrections, what each version meant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from controlplane.domain.alerts import Severity
from controlplane.domain.objectives import Indicator, Objective

BUCKETS_S = 60.0
"""Histograms are kept by the minute."""


@dataclass(frozen=True, slots=True)
class Ahead:
    """History dated ahead of now: so many rows of the finest level that has any, up to a moment."""

    rows: int
    until: float


@dataclass(frozen=True, slots=True)
class BucketRow:
    """What histograms counted for one model in the minute (or longer step) from `start`, their edges as they are.

    `gateway` names where they were read, empty: on the servers. `edges` are the finite upper bounds in seconds,
    ascending; `counts` has one entry more and is not cumulative. Rows of the same start with other edges stand beside
    each other.
    """

    model: str
    indicator: Indicator
    gateway: str
    start: float
    edges: tuple[float, ...]
    counts: tuple[int, ...]
    errors: int = 0


@dataclass(frozen=True, slots=True)
class SketchRow:
    """Times that we took ourselves for one model in the minute (or longer step) from `start`, as a log-bucket sketch.

    `buckets` are counts by bucket number (slo/sketch.py); `errors` are requests of ours that were not answered.
    """

    model: str
    indicator: Indicator
    start: float
    buckets: Mapping[int, int] = field(default_factory=dict)
    errors: int = 0


class AdjustmentKind(StrEnum):
    """How a person corrects a budget."""

    EVENTS = "events"
    """So many bad events are taken back (or added), because of what is known now."""
    EXCLUDE = "exclude"
    """A time that does not count: planned maintenance, or a measurement that was wrong."""
    WITHDRAW = "withdraw"
    """An earlier adjustment is taken back."""


@dataclass(frozen=True, slots=True)
class Adjustment:
    """A correction of an objective's budget over [start, end), made `at` by `actor` because of `reason`. Appended only.

    `objective` empty: all of the model's; `model` empty too: all of the fleet's. EVENTS: `bad` events more (negative:
    fewer), counted in the whole of [start, end). WITHDRAW: `withdraws` is the id of an earlier one, and the rest says
    nothing.
    """

    id: str
    at: float
    actor: str
    reason: str
    kind: AdjustmentKind
    model: str = ""
    objective: str = ""
    start: float = 0.0
    end: float = 0.0
    bad: int = 0
    withdraws: str = ""


@dataclass(frozen=True, slots=True)
class ObjectiveVersion:
    """What an objective was from `since` on, by the version that its slices carry."""

    model: str
    version: str
    objective: Objective
    since: float


@dataclass(frozen=True, slots=True)
class AlertEvent:
    """An alert began or ended to fire."""

    at: float
    model: str
    objective: str
    severity: Severity
    firing: bool
    summary: str

"""How objectives stood over a window and how they came to it, as values: what tables, pages and the API show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from controlplane.domain.alerts import Severity
from controlplane.domain.history import Adjustment
from controlplane.domain.objectives import Indicator, IndicatorSource, Period


class Promise(StrEnum):
    """Whether an objective was met, as far as it was measured."""

    KEPT = "kept"
    BROKEN = "broken"
    UNSURE = "unsure"
    """The target lies between the bounds: a histogram bucket is cut by the threshold."""
    NO_EVENTS = "no_events"


@dataclass(frozen=True, slots=True)
class Standing:
    """One objective over [since, until), as people's corrections have it.

    Shares are None without events: no traffic is not 100 %. The low attainment counts unsure events as bad, and so do
    `budget_left` (1 untouched, 0 spent, negative overspent) and the burn rates. `corrected` are bad events that people
    added or took back, within `bad`; `excluded_s` is time that they took out. `coverage` is the measured share of the
    rest. `period` is that of a calendar, None: the window rolls. `exhausted_1h_s` and `exhausted_6h_s` are seconds
    until the budget is spent at the pace of the last 1 h and 6 h; None where it outlasts the window.
    """

    model: str
    objective: str
    indicator: Indicator
    source: IndicatorSource
    threshold_s: float | None
    floor_per_s: float | None
    ratio: str
    model_version: str
    period: Period | None
    target: float
    since: float
    until: float
    promise: Promise
    good: int
    bad: int
    unsure: int
    bad_capacity: int
    corrected: int
    attainment_low: float | None
    attainment_high: float | None
    budget_left: float | None
    burn_5m: float | None
    burn_1h: float | None
    burn_6h: float | None
    exhausted_1h_s: float | None
    exhausted_6h_s: float | None
    measured_s: float
    expected_s: float
    excluded_s: float
    coverage: float


@dataclass(frozen=True, slots=True)
class SeriesStep:
    """[start, end) of a window: what was counted in it without `corrected`, and the budget left at its end.

    Corrected events stand in the step that holds the end of the time they were made for. `expected_s` is the time that
    people did not exclude.
    """

    start: float
    end: float
    good: int
    bad: int
    unsure: int
    corrected: int
    attainment_low: float | None
    attainment_high: float | None
    measured_s: float
    expected_s: float
    coverage: float
    budget_left: float | None


@dataclass(frozen=True, slots=True)
class VersionSpan:
    """What an objective was over [since, until), and how it stood by that."""

    version: str
    target: float
    window_s: float
    since: float
    until: float
    promise: Promise
    attainment_low: float | None
    attainment_high: float | None


@dataclass(frozen=True, slots=True)
class AlertSpan:
    """From when to when an alert fired; `until` None: it still does."""

    severity: Severity
    since: float
    until: float | None
    summary: str


class MarkKind(StrEnum):
    """What happened at a moment."""

    UP = "up"
    DOWN = "down"
    LOAD = "load"
    UNLOAD = "unload"
    RELOAD = "reload"
    PERSON = "person"


@dataclass(frozen=True, slots=True)
class Mark:
    """A decision that changed something (`id` is its own), or what a person asked for. `detail`: what came of it."""

    at: float
    kind: MarkKind
    text: str
    id: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ObjectiveReport:
    """One objective of a model. `judged_by`: what it was judged again by, in words; empty: as it was.

    Of many alerts only the newest are read: `alerts` are complete from `alerts_from` on; None: all are there.
    """

    standing: Standing
    step_s: float
    steps: tuple[SeriesStep, ...]
    versions: tuple[VersionSpan, ...]
    alerts: tuple[AlertSpan, ...]
    judged_by: str = ""
    alerts_from: float | None = None


@dataclass(frozen=True, slots=True)
class ModelReport:
    """A model over a window. `refused`: why an objective could not be judged again, by its name.

    `marks` are complete from `marks_from` on: of many only the newest are read.
    """

    model: str
    at: float
    objectives: tuple[ObjectiveReport, ...]
    marks: tuple[Mark, ...]
    marks_from: float
    adjustments: tuple[Adjustment, ...]
    refused: Mapping[str, str]

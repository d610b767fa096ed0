"""Objectives, the slices of time that measure them, and what they add up to."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from zoneinfo import ZoneInfo

SLICE_S = 10.0


class Indicator(StrEnum):
    """What an objective counts."""

    AVAILABILITY = "availability"
    LATENCY = "latency"
    TTFT = "ttft"
    INTER_TOKEN_LATENCY = "inter_token_latency"  # noqa: S105 - tokens of text
    E2E = "e2e"
    QUEUE_TIME = "queue_time"
    THROUGHPUT = "throughput"
    """Requests answered per second."""
    TOKEN_THROUGHPUT = "token_throughput"  # noqa: S105 - tokens of text
    """Tokens generated per second."""
    RATIO = "ratio"
    """Whatever a Prometheus counts, or a share that it tells."""


class IndicatorSource(StrEnum):
    """Where the events of an objective are counted."""

    SERVER = "server"
    """The serving process's own counters or histograms."""
    GATEWAY = "gateway"
    """A histogram of what stands before the servers: what users see."""
    PROBE = "probe"
    """Our own timed requests: they measure the probe, not the users."""
    MEAN_SLICES = "mean_slices"
    """The share of 10 s slices whose mean is inside: a time-slice indicator, never mixed with event counts."""
    RATE_SLICES = "rate_slices"
    """The share of 10 s slices at the floor, of those with demand for it: a time-slice indicator too."""
    PROMETHEUS = "prometheus"
    """Two counters that a Prometheus has."""
    VALUE_SLICES = "value_slices"
    """The share of 10 s slices in which a share that a Prometheus tells is inside: a time-slice indicator too."""


@dataclass(frozen=True, slots=True)
class Selector:
    """An instant vector selector in PromQL: its metric, and the labels that it selects by."""

    promql: str
    metric: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CounterRatio:
    """Events that a Prometheus counts: cumulative counters of all, and of the good or the bad; the other is None."""

    name: str
    prometheus: str
    total: Selector
    good: Selector | None = None
    bad: Selector | None = None


@dataclass(frozen=True, slots=True)
class ValueRatio:
    """A share that a Prometheus tells, 0 to 1, by the PromQL `value`. Good at `at_least`, or `at_most`: one is None."""

    name: str
    prometheus: str
    value: str
    at_least: float | None = None
    at_most: float | None = None


class Period(StrEnum):
    """A part of the calendar. Weeks begin on Monday (ISO 8601)."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    QUARTER = "quarter"


NOMINAL_S = {Period.DAY: 86400.0, Period.WEEK: 7 * 86400.0, Period.MONTH: 30 * 86400.0, Period.QUARTER: 91 * 86400.0}
"""What stands for the length of a period where one length is needed for all of them: in factors of alerts."""


@dataclass(frozen=True, slots=True)
class Calendar:
    """Periods as they are in a time zone."""

    period: Period
    zone: ZoneInfo


@dataclass(frozen=True, slots=True)
class Objective:
    """A target such as "99 % under 0.2 s over 28 d".

    `target` is a fraction in (0, 1), `window_s` seconds; `threshold_s` is None for availability. `gateway` names the
    one that counts where the source is a gateway, empty: all of them. With a `calendar` the window is the present
    period of it, and `window_s` its nominal length. `floor_per_s` is that of throughputs, `ratio` what is asked of a
    Prometheus. `model_version`: only events of that version of the model count; empty: of all.
    """

    indicator: Indicator
    target: float
    window_s: float
    source: IndicatorSource
    threshold_s: float | None = None
    gateway: str = ""
    calendar: Calendar | None = None
    floor_per_s: float | None = None
    ratio: CounterRatio | ValueRatio | None = None
    model_version: str = ""

    @property
    def key(self) -> str:
        """Names the objective within its model; stays the same when only the target changes."""
        parts = [self.indicator.value]
        if self.threshold_s is not None:
            parts.append(f"{self.threshold_s * 1000:g}ms")
        if self.floor_per_s is not None:
            parts.append(f"{self.floor_per_s:.12g}_per_s")
        if self.ratio is not None:
            parts.append(self.ratio.name)
        parts.append(self.source.value)
        if self.gateway:
            parts.append(self.gateway)
        if self.model_version:
            parts.append(f"version_{self.model_version}")
        return "_".join(parts)

    @property
    def version(self) -> str:
        """Changes whenever anything about the objective changes, so that history keeps what it was judged by."""
        text = f"{self.key}|{self.target!r}|{self.window_s!r}"
        if self.calendar is not None:
            text += f"|{self.calendar.period.value}|{self.calendar.zone.key}"
        if self.ratio is not None:
            text += f"|{self.ratio!r}"
        return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class Slice:
    """The events of one objective in [start, start + SLICE_S).

    `unsure` events fell into a histogram bucket that the threshold cuts: good or bad, nobody can tell.
    `bad_capacity` of the bad ones are explained by capacity: requests queued, or demand was near it.
    `measured_s` of `expected_s` seconds were observed; unmeasured time is not uptime.
    """

    model: str
    objective: str
    start: float
    good: int
    bad: int
    unsure: int
    measured_s: float
    expected_s: float
    slo_version: str
    bad_capacity: int = 0


@dataclass(frozen=True, slots=True)
class Counts:
    """A sum of slices over a window; `events` is good + bad + unsure, `bad_capacity` is within `bad`."""

    good: int = 0
    bad: int = 0
    unsure: int = 0
    measured_s: float = 0.0
    expected_s: float = 0.0
    bad_capacity: int = 0

    @property
    def events(self) -> int:
        """Everything counted."""
        return self.good + self.bad + self.unsure

    @property
    def coverage(self) -> float:
        """Measured share of the expected time, 0 to 1; 0 when nothing was expected."""
        return min(1.0, self.measured_s / self.expected_s) if self.expected_s > 0 else 0.0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.good + other.good,
            self.bad + other.bad,
            self.unsure + other.unsure,
            self.measured_s + other.measured_s,
            self.expected_s + other.expected_s,
            self.bad_capacity + other.bad_capacity,
        )


@dataclass(frozen=True, slots=True)
class Judgement:
    """How an objective stands at a moment. Shares are None where no event was counted: no traffic is not 100 %.

    Counts are as people's corrections have them. `attainment_low` counts unsure events as bad, `attainment_high` as
    good. `budget_left` is the share of the window's error budget still unspent (1 untouched, 0 spent, negative
    overspent), by the low attainment; of a calendar window of the budget that its events so far allow.
    Burn rates are multiples of the speed that would spend the budget exactly over the window; `capacity_burn_*` those
    of the bad events that capacity explains. `exhausted_*_s`: seconds until the budget of the whole window is spent at
    the burn rate of the last 1 h or 6 h; None where it outlasts the window.
    """

    model: str
    objective: Objective
    window: Counts
    attainment_low: float | None
    attainment_high: float | None
    budget_left: float | None
    burn_5m: float | None
    burn_1h: float | None
    burn_6h: float | None
    capacity_burn_5m: float | None = None
    capacity_burn_1h: float | None = None
    exhausted_1h_s: float | None = None
    exhausted_6h_s: float | None = None

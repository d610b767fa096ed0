"""What a Prometheus tells of objectives: events by counters, or a share, asked for round by round."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

import structlog

from controlplane.collect.http import Pages
from controlplane.collect.kept import forget_before
from controlplane.collect.prometheus.api import Answer, Prometheus
from controlplane.collect.prometheus.clock import PrometheusClock
from controlplane.collect.prometheus.counter_ratio import Beyond, CounterEvents, counters_query, read_counters
from controlplane.domain.errors import ControlPlaneError, NotToldError
from controlplane.domain.fleet import ModelSpec
from controlplane.domain.objectives import CounterRatio, Objective, ValueRatio
from controlplane.domain.observation import RatioInterval, RatioReading
from controlplane.domain.signal import Known, Missing, Signal, aged

_log = structlog.get_logger(__name__)


def by_prometheus(models: Iterable[ModelSpec]) -> dict[str, tuple[tuple[str, Objective], ...]]:
    """What objectives ask of each Prometheus, as (model, objective)."""
    found: dict[str, list[tuple[str, Objective]]] = {}
    for model in models:
        for objective in model.objectives:
            if objective.ratio is not None:
                found.setdefault(objective.ratio.prometheus, []).append((model.name, objective))
    return {name: tuple(wanted) for name, wanted in found.items()}


class _Asked(Protocol):
    """One ratio: its PromQL, and what the answers say."""

    promql: str

    def read(self, answer: Answer, clock: PrometheusClock) -> tuple[float, RatioInterval | None]:
        """Of when it tells, and what is new. Raises NotToldError, MalformedPageError."""
        ...

    def missed(self, at: float) -> None:
        """It was asked at `at` and did not tell."""
        ...

    def warning(self, now: float) -> str:
        """What is odd about what it tells; empty: nothing."""
        ...


class AskedCounters:
    """A ratio of counters, for the objective called `key`; oddities are told for `keep_s` seconds."""

    def __init__(self, key: str, ratio: CounterRatio, keep_s: float) -> None:
        self.promql = counters_query(ratio)
        self._key = key
        self._ratio = ratio
        self._events = CounterEvents()
        self._beyond = Beyond(ratio, keep_s)

    def read(self, answer: Answer, clock: PrometheusClock) -> tuple[float, RatioInterval | None]:
        """Of when it tells, and what is new. Raises NotToldError, MalformedPageError."""
        counters = read_counters(self._ratio, answer.samples)
        at = _ours(clock, counters.at)
        events = self._events.seen(at, counters.values)
        if events is None:
            return at, None
        self._beyond.seen(events)
        good, bad = (events.part, events.others) if self._ratio.good else (events.others, events.part)
        return at, RatioInterval(self._key, events.start, events.end, good, bad)

    def missed(self, at: float) -> None:
        """It was asked at `at` and did not tell."""
        self._events.missed(at)

    def warning(self, now: float) -> str:
        """What is odd about what it tells; empty: nothing."""
        return self._beyond.warning(now)


class _AskedValue:
    """A share as it is told, each time one event for the time since it was told before."""

    def __init__(self, key: str, ratio: ValueRatio) -> None:
        self.promql = ratio.value
        self._key = key
        self._ratio = ratio
        self._told_at: float | None = None

    def read(self, answer: Answer, clock: PrometheusClock) -> tuple[float, RatioInterval | None]:
        if not answer.samples or answer.at is None:
            raise NotToldError(f"no series {self.promql}")
        if len(answer.samples) > 1:
            raise NotToldError(f"{len(answer.samples)} series and not one: {self.promql}")
        value = answer.samples[0][1]
        if not -1e-9 <= value <= 1 + 1e-9:  # NaN is not either
            raise NotToldError(f"{'0/0' if math.isnan(value) else f'{value:g}'} is no share, 0 to 1: {self.promql}")
        before, at = self._told_at, _ours(clock, answer.at)
        self._told_at = at
        if before is None or at <= before:
            return at, None
        low, high = self._ratio.at_least, self._ratio.at_most
        inside = (low is None or value >= low) and (high is None or value <= high)
        return at, RatioInterval(self._key, before, at, int(inside), int(not inside))

    def missed(self, at: float) -> None:
        del at
        self._told_at = None

    def warning(self, now: float) -> str:
        del now
        return ""


def _ours(clock: PrometheusClock, at: float) -> float:
    ours = clock.ours(at)
    if ours is None:
        raise NotToldError("it does not tell its time")
    return ours


class _Ratio:
    """One objective: what is asked, and what was told."""

    def __init__(self, model: str, objective: Objective, keep_s: float) -> None:
        if objective.ratio is None:
            raise ValueError(f"objective {objective.key} asks nothing of a Prometheus")
        self.model = model
        self.key = objective.key
        self.asked: _Asked = (
            AskedCounters(self.key, objective.ratio, keep_s)
            if isinstance(objective.ratio, CounterRatio)
            else _AskedValue(self.key, objective.ratio)
        )
        self.intervals: deque[RatioInterval] = deque()
        self.live: Signal[bool] = Missing("never asked for")
        self.why = ""
        self._odd = False

    def told(self, at: float, interval: RatioInterval | None) -> None:
        self.live, self.why = Known(value=True, observed_at=at), ""
        if interval is not None:
            self.intervals.append(interval)
        warning = self.asked.warning(at)
        if warning and not self._odd:
            _log.warning("objective counts oddly", model=self.model, objective=self.key, why=warning)
        self._odd = warning != ""

    def missed(self, at: float, why: str) -> None:
        self.why = why
        self.asked.missed(at)
        if isinstance(self.live, Missing):
            self.live = Missing(why)


class Ratios:
    """Everything that objectives, (model, objective) each, ask of one Prometheus, one after the other.

    What it told last is stale when that is of more than `max_age_s` ago; intervals are kept for `keep_s` seconds.
    """

    def __init__(
        self, prometheus: Prometheus, wanted: Sequence[tuple[str, Objective]], *, max_age_s: float, keep_s: float
    ) -> None:
        self._prometheus = prometheus
        self._where = f"Prometheus {prometheus.spec.name}"
        self._clock = PrometheusClock()
        self._max_age_s = max_age_s
        self._keep_s = keep_s
        self._ratios = [_Ratio(model, objective, keep_s) for model, objective in wanted]

    async def read(self, pages: Pages, timeout_s: float, clock: Callable[[], float]) -> ControlPlaneError | None:
        """One round; gives the first thing that went wrong. Never raises for a failing Prometheus."""
        del pages, timeout_s
        wrong: ControlPlaneError | None = None
        for ratio in self._ratios:
            before = clock()
            try:
                answer = await self._prometheus.query(ratio.asked.promql)
                if answer.warnings:
                    raise NotToldError(f"the answer of {self._where} was partial: {'; '.join(answer.warnings)}")
                if answer.at is not None:
                    self._clock.seen(answer.at, before, clock())
                ratio.told(*ratio.asked.read(answer, self._clock))
            except ControlPlaneError as error:
                ratio.missed(clock(), str(error))
                wrong = wrong or NotToldError(f"{ratio.model} {ratio.key}: {error}")
        return wrong

    def readings(self, now: float) -> Mapping[str, Mapping[str, RatioReading]]:
        """All that is known at `now`, by model and objective."""
        found: dict[str, dict[str, RatioReading]] = {}
        for ratio in self._ratios:
            forget_before(now - self._keep_s, ratio.intervals)
            live = aged(ratio.live, now, self._max_age_s, ratio.why)
            warning = ratio.asked.warning(now)
            found.setdefault(ratio.model, {})[ratio.key] = RatioReading(live, tuple(ratio.intervals), warning)
        return found

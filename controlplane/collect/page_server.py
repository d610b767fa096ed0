"""A server that is read from one page: remembered as what it serves, what it did and how long things took."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias, TypeVar

from controlplane.collect.counters import Ledger, Reading, Totals, failures_fell, fell
from controlplane.collect.families import REASON_CANCELED, REASON_REJECTED
from controlplane.collect.histograms import Buckets, Group, HistogramLedger
from controlplane.collect.http import Pages, was_refused
from controlplane.collect.kept import forget_before
from controlplane.collect.metrics_source import Metrics, MetricsSource
from controlplane.collect.own_requests import OwnRequests
from controlplane.collect.triton.server import FAILURES_KEPT, NOT_ASKED
from controlplane.collect.vllm.given_up import GivenUp
from controlplane.collect.vllm.tokens import Engines, tokens_between, tokens_fell
from controlplane.domain.errors import ControlPlaneError, MalformedPageError, NotToldError, TargetUnreachableError
from controlplane.domain.fleet import CONTROLLED, ModelSpec, ServerSpec
from controlplane.domain.objectives import Indicator
from controlplane.domain.observation import (
    NOT_EXPORTED,
    Adapters,
    ControlMode,
    Counter,
    Counters,
    Interval,
    LatencyInterval,
    ModelReading,
    ModelState,
    ServerReading,
    SleepState,
)
from controlplane.domain.signal import Known, Missing, Signal, aged

T = TypeVar("T")
Histograms: TypeAlias = dict[tuple[str, Indicator], dict[Group, Buckets]]
"""By served name and indicator."""
_UNCOUNTED = ("", REASON_CANCELED)
_THERE = frozenset({ModelState.READY, ModelState.UNAVAILABLE})


@dataclass(slots=True)
class Served:
    """One model on a page. None: not exported, or no number; a `state` of None: the page does not tell, see `reason`.

    `first_tokens` counts requests that got one, where the server counts those given up later nowhere.
    `tokens` has every engine that is there, `counters` what stands on the page for all of them.
    `whole`: every counter that the page should have is there, so that it can be compared with the next page.
    `untold`: why what is not exported is not. `outdated`: as in ModelReading.
    """

    state: ModelState | None = ModelState.READY
    reason: str = ""
    groups: dict[str, Totals] = field(default_factory=dict)
    failures: dict[tuple[str, str], float] = field(default_factory=dict)
    waiting: int | None = None
    running: int | None = None
    kv_cache_usage: float | None = None
    whole: bool = True
    first_tokens: float | None = None
    tokens: dict[str, dict[Counter, float]] = field(default_factory=dict)
    counters: dict[tuple[Counter, str], float] = field(default_factory=dict)
    pending_by_reason: Mapping[str, int] | Missing = NOT_EXPORTED
    refused: int | Missing = NOT_EXPORTED
    sleep: SleepState | Missing = NOT_EXPORTED
    kv_cache_tokens: int | Missing = NOT_EXPORTED
    adapters: Adapters | Missing = NOT_EXPORTED
    untold: Missing = NOT_EXPORTED
    outdated: str = ""


class PageUnit:
    """One model on one server."""

    def __init__(self, model: ModelSpec, version_of: Callable[[str], str] | None = None) -> None:
        self.model = model
        self.intervals: deque[Interval] = deque()
        self.latencies: deque[LatencyInterval] = deque()
        self.ledger = Ledger(version_of if model.by_version else None, may_return=True)
        self.own_requests = OwnRequests()
        self.failures: deque[str] = deque(maxlen=FAILURES_KEPT)
        self._given_up = GivenUp()
        self._tokens: Engines = {}
        self._served: Signal[Served] = Missing("never read")

    def absorb(self, at: float, served: Served) -> bool:
        """What the page says of the model; gives whether its counters began anew."""
        self._served = Known(served, at)
        base = self.ledger.base
        if not served.whole or not _countable(served):
            self.ledger.missed(at)
            return False
        reading = Reading(
            at, served.groups, served.failures, served.waiting, 1, running_max=None, running=served.running
        )
        if base is not None and _began_anew(base, reading):
            self._given_up = GivenUp()
        reading = replace(reading, failures=served.failures | self._uncounted(served))
        other, interval = tokens_fell(self._tokens, served.tokens), self.ledger.seen(reading)
        if interval is None:
            self.own_requests.expire(at)
        else:
            interval = self.own_requests.settle(interval)
            anew = base is not None and interval.start != base.at
            if tokens := tokens_between(self._tokens, served.tokens, anew=anew):
                interval = replace(interval, tokens=tokens, began_anew=interval.began_anew or other)
            self.intervals.append(interval)
        if self.ledger.base is reading:
            self._tokens = served.tokens
        return other or (
            base is not None
            and any(
                now.success < base.groups[group].success for group, now in served.groups.items() if group in base.groups
            )
        )

    def _uncounted(self, served: Served) -> dict[tuple[str, str], float]:
        """Canceled requests that the server itself counts nowhere."""
        if served.first_tokens is None or not math.isfinite(served.first_tokens):
            return {}
        refused = sum(count for (_, reason), count in served.failures.items() if reason == REASON_REJECTED)
        ended = sum(totals.success for totals in served.groups.values()) + sum(served.failures.values()) - refused
        return {_UNCOUNTED: self._given_up.seen(served.first_tokens, ended, served.running or 0)}

    @property
    def away(self) -> bool:
        """Whether the newest page shows that requests would not be served: asleep, or not loaded."""
        state = None if isinstance(self._served, Missing) else self._served.value.state
        return state not in {None, ModelState.READY}

    def missed(self, at: float, *, refused: bool = False) -> None:
        """The page could not be read; `refused`: nobody listened."""
        self.ledger.missed(at, refused=refused)
        if refused:
            self.own_requests.forget()

    def reading(self, now: float, max_age_s: float, why: str) -> Signal[ModelReading]:
        """All that is known of the model at `now`."""
        if isinstance(self._served, Missing):
            return Missing(why or self._served.why)
        served, at = self._served.value, self._served.observed_at
        if served.state is None:
            return Missing(why or served.reason)

        def told(value: T | Missing | None) -> Signal[T]:
            if value is None or value is NOT_EXPORTED:
                return served.untold
            return value if isinstance(value, Missing) else aged(Known(value, at), now, max_age_s)

        reading = ModelReading(
            state=served.state,
            reason=served.reason,
            instances=aged(Known(int(served.state in _THERE), at), now, max_age_s),
            pending=told(served.waiting),
            running=told(served.running),
            kv_cache_usage=told(served.kv_cache_usage),
            kv_cache_tokens=told(served.kv_cache_tokens),
            pending_by_reason=told(served.pending_by_reason),
            refused=told(served.refused),
            sleep=told(served.sleep),
            adapters=told(served.adapters),
            counters=told(finite(served.counters) or None),
            intervals=tuple(self.intervals),
            outdated=served.outdated,
            recent_failures=tuple(self.failures),
        )
        return aged(Known(reading, at), now, max_age_s, why)


def _began_anew(base: Reading, now: Reading) -> bool:
    """Whether what the server itself counts did."""
    told = {key: count for key, count in base.failures.items() if key != _UNCOUNTED}
    return fell(base, now) or failures_fell(replace(base, failures=told), now)


def _countable(served: Served) -> bool:
    counters = [value for totals in served.groups.values() for value in totals] + list(served.failures.values())
    return all(math.isfinite(value) and value >= 0 for value in counters)


class PageServer(ABC):
    """One server: whether it answers, its models, and its latency histograms, all from the metrics of `source`.

    `version_of`: as Ledger.
    """

    def __init__(
        self,
        spec: ServerSpec,
        models: Sequence[ModelSpec],
        source: MetricsSource,
        *,
        max_age_s: float,
        keep_s: float,
        version_of: Callable[[str], str] | None = None,
    ) -> None:
        self.spec = spec
        self._source = source
        self.units = {model.name: PageUnit(model, version_of) for model in models}
        self._max_age_s = max_age_s
        self._keep_s = keep_s
        self._live: Signal[bool] = Missing("never read")
        self._why = ""
        self._unasked = NOT_ASKED if spec.kind in CONTROLLED else Missing("observed only")
        self._control: Signal[ControlMode] = self._unasked
        self._incarnation = 0
        self._histograms: HistogramLedger[tuple[str, Indicator]] = HistogramLedger(may_return=True)

    @abstractmethod
    def understand(self, metrics: Metrics) -> tuple[Mapping[str, Served], Histograms]:
        """Models of the page by served name, and its histograms. Raises MalformedPageError."""

    @abstractmethod
    def unnamed(self, model: str) -> Served:
        """What is known of a model that a page does not name."""

    async def read(self, pages: Pages, timeout_s: float, clock: Callable[[], float]) -> ControlPlaneError | None:
        """One round; gives what went wrong. Never raises for a failing server."""
        try:
            self.absorb(await self.ask(pages, timeout_s, clock))
        except (TargetUnreachableError, NotToldError, MalformedPageError) as error:
            self.missed(clock(), error)
            return error
        return None

    async def ask(self, pages: Pages, timeout_s: float, clock: Callable[[], float]) -> Metrics:
        """The server's metrics. Raises TargetUnreachableError, NotToldError, MalformedPageError."""
        return await self._source.metrics(pages, timeout_s, clock)

    def absorb(self, metrics: Metrics) -> None:
        """Take in what was read. Raises MalformedPageError."""
        at, (served, found) = metrics.at, self.understand(metrics)
        self._live, self._why = Known(value=True, observed_at=at), ""
        names = {unit.model.served_name: unit for unit in self.units.values()}
        began_anew = [unit.absorb(at, served.get(name) or self.unnamed(name)) for name, unit in names.items()]
        if any(began_anew):
            self._incarnation += 1
            self._control = self._unasked
        for (name, indicator), counted in self._histograms.seen(at, found).items():
            if unit := names.get(name):
                unit.latencies.append(LatencyInterval(indicator, *counted))

    def missed(self, at: float, error: ControlPlaneError) -> None:
        """The page could not be read, or was not one; of a server that is not told of nothing is known anew."""
        self._why = str(error)
        if isinstance(error, NotToldError):
            self._live = Missing(self._why) if isinstance(self._live, Missing) else self._live
        else:
            self._live = Known(isinstance(error, MalformedPageError), at)
        if isinstance(error, TargetUnreachableError):
            self._control = self._unasked
        self._histograms.missed(at)
        for unit in self.units.values():
            unit.missed(at, refused=was_refused(error))

    def away(self, model: str) -> bool:
        """Whether the newest page shows that requests for the model would not be served: asleep, or not loaded."""
        return self.units[model].away

    def ready(self, model: str) -> bool:
        """Whether the server answered, and nothing shows that requests for the model would not be served.

        Some software names a model only from its first request on.
        """
        return isinstance(self._live, Known) and self._live.value and not self.away(model)

    def set_control(self, mode: Signal[ControlMode]) -> None:
        """Keep the model-control mode until the server restarts or stops answering."""
        self._control = mode

    def reading(self, now: float) -> ServerReading:
        """All that is known of the server at `now`."""
        for unit in self.units.values():
            forget_before(now - self._keep_s, unit.intervals)
            forget_before(now - self._keep_s, unit.latencies)
        return ServerReading(
            name=self.spec.name,
            live=aged(self._live, now, self._max_age_s, self._why),
            control=self._control,
            incarnation=self._incarnation,
            models={name: unit.reading(now, self._max_age_s, self._why) for name, unit in self.units.items()},
            problem=self._why,
        )

    def latencies(self) -> Mapping[str, Sequence[LatencyInterval]]:
        """Histogram intervals by model."""
        return {name: unit.latencies for name, unit in self.units.items()}


def whole_number(values: Sequence[float]) -> int | None:
    """The sum of gauges of requests; None where there is none, or one is no count."""
    return round(sum(values)) if values and all(math.isfinite(value) and value >= 0 for value in values) else None


def finite(counters: Counters) -> Counters:
    """Without those that are no number."""
    return {key: value for key, value in counters.items() if math.isfinite(value)}

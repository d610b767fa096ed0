"""One vLLM: its metrics page, remembered as what it serves, what it did and how long things took."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

from controlplane.collect import families
from controlplane.collect.counters import Ledger, Reading, Totals
from controlplane.collect.exposition import Labels, Page, parse
from controlplane.collect.histograms import Buckets, Group, HistogramLedger, histograms
from controlplane.collect.http import Pages
from controlplane.collect.triton import NOT_ASKED
from controlplane.domain.errors import ControlPlaneError, MalformedPageError, TargetUnreachableError
from controlplane.domain.fleet import ModelSpec, ServerSpec
from controlplane.domain.objectives import Indicator
from controlplane.domain.observation import (
    ControlMode,
    Interval,
    LatencyInterval,
    ModelReading,
    ModelState,
    ServerReading,
)
from controlplane.domain.signal import Known, Missing, Signal, aged

T = TypeVar("T")
ASLEEP = "asleep"
_FAILED = {
    families.VLLM_FINISHED_ERROR: families.REASON_OTHER,
    families.VLLM_FINISHED_ABORT: families.REASON_CANCELED,
}
Histograms: TypeAlias = dict[tuple[str, Indicator], dict[Group, Buckets]]


@dataclass(slots=True)
class Served:
    """One model on a vLLM page, all engines together. None: not exported, or no number."""

    groups: dict[str, Totals] = field(default_factory=dict)
    failures: dict[tuple[str, str], float] = field(default_factory=dict)
    waiting: int | None = None
    running: int | None = None
    kv_cache_usage: float | None = None
    asleep: bool = False


def read_served(page: Page) -> dict[str, Served]:
    """Models of a vLLM page by their name. Raises MalformedPageError for a page of something else.

    The pages of a router in front of vLLM use the same prefix, but name no model.
    """
    served: dict[str, Served] = {}
    for family in (families.VLLM_RUNNING, families.VLLM_WAITING):
        for labels, _ in page.get(family, ()):
            if families.VLLM_MODEL in labels and families.VLLM_ENGINE in labels:
                served.setdefault(labels[families.VLLM_MODEL], Served())
    if not served:
        raise MalformedPageError(f"not a vLLM engine's page: no {families.VLLM_RUNNING} with a {families.VLLM_MODEL}")
    for model, entry in served.items():
        entry.running = _whole(_values(page, families.VLLM_RUNNING, model))
        entry.waiting = _whole(_values(page, families.VLLM_WAITING, model))
        usage = next((found for name in families.VLLM_KV_CACHE_USAGE if (found := _values(page, name, model))), [])
        entry.kv_cache_usage = max(usage) if usage and all(map(math.isfinite, usage)) else None
        awake = [
            value
            for labels, value in page.get(families.VLLM_SLEEP, ())
            if labels.get(families.VLLM_MODEL) == model and labels.get(families.VLLM_SLEEP_STATE) == families.VLLM_AWAKE
        ]
        entry.asleep = bool(awake) and not any(awake)
        _count(page, model, entry)
    return served


def _count(page: Page, model: str, entry: Served) -> None:
    """Fill in the counters: answered requests by engine, aborted, failed and refused ones by reason."""
    success: dict[str, float] = {}
    for labels, value in _of_model(page, families.VLLM_SUCCESS, model):
        engine, finished = labels.get(families.VLLM_ENGINE, ""), labels.get(families.VLLM_FINISHED, "")
        if reason := _FAILED.get(finished):
            entry.failures[engine, reason] = value
        else:
            success[engine] = success.get(engine, 0.0) + value
    for labels, value in _of_model(page, families.VLLM_REJECTED, model):
        entry.failures[labels.get("reason", ""), families.REASON_REJECTED] = value
    e2e_s = _by_engine(page, f"{families.VLLM_E2E_S}_sum", model)
    queue_s = _by_engine(page, f"{families.VLLM_QUEUE_S}_sum", model)
    for engine, count in success.items():
        entry.groups[engine] = Totals(count, e2e_s.get(engine, math.nan), queue_s.get(engine, math.nan))


def read_histograms(page: Page) -> Histograms:
    """Histograms of a vLLM page by model and indicator. Raises MalformedPageError."""
    found: Histograms = {}
    for indicator, names in families.VLLM_HISTOGRAMS.items():
        samples = next((page[bucket] for name in names if (bucket := f"{name}{families.BUCKET}") in page), [])
        for group, buckets in histograms(samples).items():
            model = dict(group).get(families.VLLM_MODEL, "")
            found.setdefault((model, indicator), {})[group] = buckets
    return found


def _of_model(page: Page, family: str, model: str) -> Iterable[tuple[Labels, float]]:
    return (sample for sample in page.get(family, ()) if sample[0].get(families.VLLM_MODEL) == model)


def _values(page: Page, family: str, model: str) -> list[float]:
    return [value for _, value in _of_model(page, family, model)]


def _by_engine(page: Page, family: str, model: str) -> dict[str, float]:
    return {labels.get(families.VLLM_ENGINE, ""): value for labels, value in _of_model(page, family, model)}


def _whole(values: Sequence[float]) -> int | None:
    return round(sum(values)) if values and all(math.isfinite(value) and value >= 0 for value in values) else None


class VllmUnit:
    """One model on one vLLM."""

    def __init__(self, model: ModelSpec) -> None:
        self.model = model
        self.intervals: deque[Interval] = deque()
        self.latencies: deque[LatencyInterval] = deque()
        self._ledger = Ledger()
        self._served: Signal[Served | None] = Missing("never read")

    def absorb(self, at: float, served: Served | None) -> bool:
        """What the page says of the model; gives whether its counters began anew."""
        self._served = Known(served, at)
        base = self._ledger.base
        if served is None or served.waiting is None or served.running is None or not _complete(served):
            self._ledger.missed(at)
            return False
        # vLLM exports what runs, so that the most that could run is what was seen to.
        reading = Reading(at, served.groups, served.failures, served.waiting, 1, served.running)
        if interval := self._ledger.seen(reading):
            self.intervals.append(interval)
        return base is not None and any(
            now.success < base.groups[engine].success for engine, now in served.groups.items() if engine in base.groups
        )

    def missed(self, at: float) -> None:
        """The page could not be read."""
        self._ledger.missed(at)

    def reading(self, now: float, max_age_s: float, why: str) -> Signal[ModelReading]:
        """All that is known of the model at `now`."""
        if isinstance(self._served, Missing):
            return Missing(why or self._served.why)
        served, at = self._served.value, self._served.observed_at
        if served is None:
            reading = ModelReading(ModelState.ABSENT, instances=Known(0, at), intervals=tuple(self.intervals))
        else:
            state = ModelState.UNAVAILABLE if served.asleep else ModelState.READY
            reading = ModelReading(
                state=state,
                reason=ASLEEP if served.asleep else "",
                instances=aged(Known(1, at), now, max_age_s),
                pending=_signal(served.waiting, at, now, max_age_s),
                running=_signal(served.running, at, now, max_age_s),
                kv_cache_usage=_signal(served.kv_cache_usage, at, now, max_age_s),
                intervals=tuple(self.intervals),
            )
        return aged(Known(reading, at), now, max_age_s, why)


def _complete(served: Served) -> bool:
    counters = [value for totals in served.groups.values() for value in totals] + list(served.failures.values())
    return bool(served.groups) and all(math.isfinite(value) and value >= 0 for value in counters)


class VllmServer:
    """One vLLM: whether it answers, its models, and its latency histograms."""

    def __init__(self, spec: ServerSpec, models: Sequence[ModelSpec], *, max_age_s: float, keep_s: float) -> None:
        self.spec = spec
        self.units = {model.name: VllmUnit(model) for model in models}
        self._max_age_s = max_age_s
        self._keep_s = keep_s
        self._live: Signal[bool] = Missing("never read")
        self._why = ""
        self._control: Signal[ControlMode] = NOT_ASKED
        self._incarnation = 0
        self._histograms: HistogramLedger[tuple[str, Indicator]] = HistogramLedger()

    async def read(self, pages: Pages, timeout_s: float, clock: Callable[[], float]) -> ControlPlaneError | None:
        """One round; gives what went wrong. Never raises for a failing server."""
        try:
            text = await pages.get_text(f"{self.spec.name} metrics page", self.spec.metrics, timeout_s)
            self.absorb(clock(), text)
        except (TargetUnreachableError, MalformedPageError) as error:
            self.missed(clock(), error)
            return error
        return None

    def absorb(self, at: float, text: str) -> None:
        """Take in a metrics page. Raises MalformedPageError."""
        page = parse(text, families.VLLM)
        served, found = read_served(page), read_histograms(page)
        self._live, self._why = Known(value=True, observed_at=at), ""
        began_anew = [unit.absorb(at, served.get(unit.model.served_name)) for unit in self.units.values()]
        if any(began_anew):
            self._incarnation += 1
            self._control = NOT_ASKED
        counted = self._histograms.seen(at, found)
        for unit in self.units.values():
            for indicator in families.VLLM_HISTOGRAMS:
                if delta := counted.get((unit.model.served_name, indicator)):
                    unit.latencies.append(LatencyInterval(indicator, *delta))

    def missed(self, at: float, error: ControlPlaneError) -> None:
        """The page could not be read, or was not one."""
        self._live, self._why = Known(isinstance(error, MalformedPageError), at), str(error)
        if isinstance(error, TargetUnreachableError):
            self._control = NOT_ASKED
        self._histograms.missed(at)
        for unit in self.units.values():
            unit.missed(at)

    def set_control(self, mode: Signal[ControlMode]) -> None:
        """Keep the model-control mode until the server restarts or stops answering."""
        self._control = mode

    def ready(self, model: str) -> bool:
        """Never: what probes send is Triton's protocol."""
        del model
        return False

    def reading(self, now: float) -> ServerReading:
        """All that is known of the server at `now`."""
        for unit in self.units.values():
            for kept in (unit.intervals, unit.latencies):
                while kept and kept[0].end < now - self._keep_s:
                    kept.popleft()
        return ServerReading(
            name=self.spec.name,
            live=aged(self._live, now, self._max_age_s, self._why),
            control=self._control,
            incarnation=self._incarnation,
            models={name: unit.reading(now, self._max_age_s, self._why) for name, unit in self.units.items()},
        )

    def latencies(self) -> Mapping[str, Sequence[LatencyInterval]]:
        """Histogram intervals by model."""
        return {name: unit.latencies for name, unit in self.units.items()}


def _signal(value: T | None, at: float, now: float, max_age_s: float) -> Signal[T]:
    return Missing("not exported") if value is None else aged(Known(value, at), now, max_age_s)

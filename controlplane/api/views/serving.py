"""What a server tells of a model beside its state, as JSON: batches, tokens, caches, adapters, counters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import TypeVar

from pydantic import BaseModel, Field

from controlplane.api.views.signals import SignalView, View, part, within
from controlplane.domain.observation import (
    NOT_EXPORTED,
    Counter,
    Counters,
    HostGauge,
    HostReading,
    Interval,
    ModelReading,
    SleepState,
)
from controlplane.domain.signal import Known, Missing, Signal, aged

T = TypeVar("T")
V = TypeVar("V")
_RECENT_S = 60.0
_NOTHING = Missing("not counted yet: that takes two readings")


class AdaptersView(View):
    """LoRA adapters by the server's own account, which has been seen to be inaccurate."""

    slots: int
    running: tuple[str, ...]
    waiting: tuple[str, ...]


class CounterView(BaseModel):
    """A counter of the server as it stands; `part` is the outcome, phase or result where it has some."""

    counter: Counter
    part: str
    value: float


class GaugeView(BaseModel):
    """A figure of a server's machine; `gpu` is the UUID of the GPU that it is about, else empty."""

    gauge: HostGauge
    gpu: str
    value: float


# Asking for a generic class costs more than making one of its values.
_INT, _FLOAT, _SLEEP = SignalView[int], SignalView[float], SignalView[SleepState]
_ADAPTERS, _BY_REASON = SignalView[AdaptersView], SignalView[dict[str, int]]
_COUNTERS, _GAUGES = SignalView[list[CounterView]], SignalView[list[GaugeView]]


class ServingView(BaseModel):
    """How a model is served. Rates are over the last minute that was read."""

    refused: SignalView[int] = Field(description="Requests turned away before they were queued, since the server began")
    pending_by_reason: SignalView[dict[str, int]]
    average_batch: SignalView[float] = Field(description="Requests per execution")
    prompt_tokens_per_s: SignalView[float]
    generation_tokens_per_s: SignalView[float]
    preemptions_per_s: SignalView[float]
    prefix_hit_ratio: SignalView[float] = Field(description="Share of prompt tokens that the prefix cache had")
    kv_cache_usage: SignalView[float] = Field(description="Share in use, of the fullest engine")
    kv_cache_tokens: SignalView[int] = Field(description="Tokens that the KV cache holds")
    sleep: SignalView[SleepState]
    adapters: SignalView[AdaptersView]
    load_s: SignalView[float] = Field(description="How long the newest load took, by the server's own account")
    gpu_uuids: list[str] = Field(description="GPUs that the model's counters name")
    counters: SignalView[list[CounterView]]

    @classmethod
    def of(cls, seen: Signal[ModelReading], reading: ModelReading, now: float, max_age_s: float) -> ServingView:
        """`reading`: the newest there is of `seen`."""

        def view(as_: type[SignalView[V]], signal: Signal[V]) -> SignalView[V]:
            return as_.of(within(seen, signal), now)

        def figure(of: Signal[float]) -> SignalView[float]:
            return view(_FLOAT, aged(of, now, max_age_s))

        recent = _recent(reading.intervals)
        return cls(
            refused=view(_INT, reading.refused),
            pending_by_reason=view(_BY_REASON, _as(reading.pending_by_reason, dict)),
            average_batch=figure(_average_batch(recent)),
            prompt_tokens_per_s=figure(_per_s(recent, "prompt")),
            generation_tokens_per_s=figure(_per_s(recent, "generation")),
            preemptions_per_s=figure(_per_s(recent, "preemptions")),
            prefix_hit_ratio=figure(_prefix_hits(recent)),
            kv_cache_usage=view(_FLOAT, reading.kv_cache_usage),
            kv_cache_tokens=view(_INT, reading.kv_cache_tokens),
            sleep=view(_SLEEP, reading.sleep),
            adapters=view(_ADAPTERS, _as(reading.adapters, AdaptersView.model_validate)),
            load_s=view(_FLOAT, reading.load_s),
            gpu_uuids=list(reading.gpu_uuids),
            counters=view(_COUNTERS, _as(reading.counters, _counters)),
        )


def host_view(host: Signal[HostReading], now: float) -> SignalView[list[GaugeView]]:
    """What a server's own page tells of its machine."""
    return _GAUGES.of(_as(host, _gauges), now)


def _as(signal: Signal[T], form: Callable[[T], V]) -> Signal[V]:
    """The same signal of its value in another form."""
    return signal if isinstance(signal, Missing) else part(signal, form(signal.value))


def _counters(counters: Counters) -> list[CounterView]:
    return [CounterView(counter=c, part=of, value=value) for (c, of), value in sorted(counters.items())]


def _gauges(host: HostReading) -> list[GaugeView]:
    return [GaugeView(gauge=gauge, gpu=gpu, value=value) for (gauge, gpu), value in sorted(host.items())]


def _recent(intervals: Sequence[Interval]) -> list[Interval]:
    """Those of the last minute that was read, newest first."""
    since = intervals[-1].end - _RECENT_S if intervals else 0.0
    return list(takewhile(lambda interval: interval.end > since, reversed(intervals)))


def _total(recent: Sequence[Interval], field: str) -> float | None:
    """Of a field of their tokens; None where one does not tell it."""
    counts: list[int | None] = [getattr(interval.tokens, field, None) for interval in recent]
    told = [count for count in counts if count is not None]
    return float(sum(told)) if told and len(told) == len(counts) else None


def _per_s(recent: Sequence[Interval], field: str) -> Signal[float]:
    if not recent:
        return _NOTHING
    total = _total(recent, field)
    return NOT_EXPORTED if total is None else Known(total / sum(i.length_s for i in recent), recent[0].end)


def _prefix_hits(recent: Sequence[Interval]) -> Signal[float]:
    if not recent:
        return _NOTHING
    looked_up, hits = _total(recent, "prefix_queries"), _total(recent, "prefix_hits")
    if looked_up is None or hits is None:
        return NOT_EXPORTED
    return Known(hits / looked_up, recent[0].end) if looked_up else Missing("no prompt came in the last minute")


def _average_batch(recent: Sequence[Interval]) -> Signal[float]:
    batches = [batch for interval in recent for batch in interval.batches]
    executions = sum(batch.executions for batch in batches)
    if not executions:
        return Missing("no execution was read in the last minute") if recent else _NOTHING
    return Known(sum(batch.size * batch.executions for batch in batches) / executions, recent[0].end)

"""Pages that lines tell, read by the product's own readers, where they may be simpler than those of real servers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from controlplane.collect.counters import Totals
from controlplane.collect.exposition import Labels, Page
from controlplane.collect.families import (
    SUM,
    VLLM_E2E_S,
    VLLM_ENGINE,
    VLLM_MODEL,
    VLLM_QUEUE_S,
    VLLM_RUNNING,
    VLLM_WAITING,
)
from controlplane.collect.metrics_source import Metrics
from controlplane.collect.page_server import Histograms, Served
from controlplane.collect.triton.page import TritonPage
from controlplane.collect.vllm.server import VllmServer
from controlplane.domain.observation import BatchCount, Counter, Counters, Interval, ModelReading, ServerReading
from controlplane.domain.signal import Known, Missing, Signal, Stale

# A label by which a router's page, which uses vLLM's names too, is told from an engine's.
_ROUTER = "server"


class ToldVllm(VllmServer):
    """A vLLM by a page on which what can only be what it is may be left out.

    Those are the labels of its only engine and model, and sums of times, on which no decision about vLLM rests.
    """

    def understand(self, metrics: Metrics) -> tuple[Mapping[str, Served], Histograms]:
        """As PageServer. A page of one model is that of the one model cared for, whatever it is called there."""
        only = next(iter(self.units.values())).model.served_name if len(self.units) == 1 else ""
        page = _labelled(metrics.samples, only)
        served, found = super().understand(replace(metrics, samples=page))
        for entry in served.values():
            entry.groups = {engine: _with_times(totals, page) for engine, totals in entry.groups.items()}
        if only and len(served) == 1 and only not in served:
            return {only: next(iter(served.values()))}, {(only, kind): buckets for (_, kind), buckets in found.items()}
        return served, found


def _labelled(page: Page, model: str) -> Page:
    """The page with the labels of its engine and its only model, where it has none of these."""
    told = [labels for family in (VLLM_RUNNING, VLLM_WAITING) for labels, _ in page.get(family, ())]
    if all(VLLM_ENGINE in labels and VLLM_MODEL in labels for labels in told) or any(_ROUTER in each for each in told):
        return page
    usual: Labels = {VLLM_ENGINE: "0", **({VLLM_MODEL: model} if model else {})}
    return {name: [({**usual, **labels}, value) for labels, value in found] for name, found in page.items()}


def _with_times(totals: Totals, page: Page) -> Totals:
    request_s = totals.request_s if f"{VLLM_E2E_S}{SUM}" in page else 0.0
    queue_s = totals.queue_s if f"{VLLM_QUEUE_S}{SUM}" in page else 0.0
    return totals._replace(request_s=request_s, queue_s=queue_s)


class ToldTriton(TritonPage):
    """A Triton by its page alone, with instances that the line tells and batches as the page's counters have them."""

    instances = 1
    max_batch_size = 0
    _counted: Mapping[str, Counters] = {}
    """By served name, on the newest page."""
    _then: Mapping[str, tuple[float, Counters]] = {}
    """By model, at the newest reading that could be compared with others."""

    def understand(self, metrics: Metrics) -> tuple[Mapping[str, Served], Histograms]:
        """As PageServer."""
        served, found = super().understand(metrics)
        self._counted = {name: entry.counters for name, entry in served.items()}
        return served, found

    def absorb(self, metrics: Metrics) -> None:
        """As PageServer."""
        super().absorb(metrics)
        then: dict[str, tuple[float, Counters]] = {}
        for name, unit in self.units.items():
            base, counted = unit.ledger.base, self._counted.get(unit.model.served_name, {})
            at, before = self._then.get(name, (math.nan, {}))
            then[name] = (metrics.at, counted) if base is not None and base.at == metrics.at else (at, before)
            newest = unit.intervals[-1] if unit.intervals else None
            if newest is not None and newest.end == metrics.at:
                batches = batches_of(before, counted, newest) if newest.start == at and not newest.began_anew else ()
                unit.intervals[-1] = replace(newest, instances=self.instances, batches=batches)
        self._then = then

    def reading(self, now: float) -> ServerReading:
        """As PageServer."""
        seen = super().reading(now)
        return replace(seen, models={name: self._hinted(signal) for name, signal in seen.models.items()})

    def _hinted(self, signal: Signal[ModelReading]) -> Signal[ModelReading]:
        if isinstance(signal, Missing):
            return signal
        reading = signal.value
        instances = reading.instances
        if isinstance(instances, Known | Stale) and instances.value:
            instances = replace(instances, value=self.instances)
        most = self.max_batch_size
        told = replace(reading, instances=instances, max_batch_size=most, dynamic_batching=most > 1)
        return replace(signal, value=told)


def batches_of(before: Counters, after: Counters, interval: Interval) -> tuple[BatchCount, ...]:
    """Executions of the mean batch size in between, of which a page tells no others; none where they are not counted.

    The counters charge every request its whole batch's time (docs/why/triton-facts.md), so that an execution took what
    they count, over the requests of one execution.
    """
    executions = _grown(before, after, Counter.EXECUTIONS)
    items, charged_s = _grown(before, after, Counter.INFERENCES), _grown(before, after, Counter.COMPUTE_S)
    requests = interval.completed - interval.failed - interval.rejected - interval.canceled
    if not (executions > 0 and items > 0 and charged_s > 0 and requests > 0):
        return ()
    per_execution = max(1.0, requests / executions)
    return (BatchCount(max(1, round(items / executions)), round(executions), charged_s / per_execution),)


def _grown(before: Counters, after: Counters, counter: Counter) -> float:
    """By how much all parts of a counter grew together; nan where one is not there at both ends or is no number."""
    keys = [key for key in after if key[0] is counter]
    return sum(after[key] - before.get(key, math.nan) for key in keys) if keys else math.nan

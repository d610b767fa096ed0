"""One vLLM, from its metrics page."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable, Iterator, Mapping

from controlplane.collect import families
from controlplane.collect.counters import Totals
from controlplane.collect.exposition import Labels, Page
from controlplane.collect.histograms import histograms
from controlplane.collect.http import Pages
from controlplane.collect.metrics_source import Metrics
from controlplane.collect.page_server import Histograms, PageServer, Served, whole_number
from controlplane.collect.vllm.adapters import Listed, list_adapters, served_adapter
from controlplane.domain.errors import MalformedPageError
from controlplane.domain.lora import Lora
from controlplane.domain.objectives import Indicator
from controlplane.domain.observation import NOT_EXPORTED, Adapters, Counter, ModelState, SleepState
from controlplane.domain.signal import Missing

ASLEEP = "asleep"
REFUSED = "refused"
"""Our outcome of requests that were turned away at the door, beside vLLM's own reasons."""
_NO_ADAPTERS = Missing("not exported: without --enable-lora, and before the first request")
_FAILED = {
    families.VLLM_FINISHED_ERROR: families.REASON_OTHER,
    families.VLLM_FINISHED_ABORT: families.REASON_CANCELED,
}
_FIRST_TOKENS = f"{families.VLLM_HISTOGRAMS[Indicator.TTFT][0]}{families.BUCKET}"


class VllmServer(PageServer):
    """One vLLM: whether it answers, its models, LoRA adapters among them, and its latency histograms."""

    _listed: Listed = Missing("adapters were never listed")

    async def ask(self, pages: Pages, timeout_s: float, clock: Callable[[], float]) -> Metrics:
        """As PageServer; adapters are listed beside."""
        lora = next((lora for _, lora in self._loras()), None)
        if lora is None:
            return await super().ask(pages, timeout_s, clock)
        listing = asyncio.create_task(list_adapters(pages, self.spec, lora.token_file, timeout_s))
        try:
            return await super().ask(pages, timeout_s, clock)
        finally:
            self._listed = await listing

    def understand(self, metrics: Metrics) -> tuple[Mapping[str, Served], Histograms]:
        """As PageServer."""
        served = read_served(metrics.samples)
        for name, lora in self._loras():
            base = self.units.get(lora.base)
            there = served.get(base.model.served_name) if base is not None else None
            served[name] = served_adapter(name, lora, self._listed, there)
        return served, read_histograms(metrics.samples)

    def _loras(self) -> Iterator[tuple[str, Lora]]:
        """The adapters to care for, by the name they have on the server."""
        return ((u.model.served_name, u.model.lora) for u in self.units.values() if u.model.lora is not None)

    def unnamed(self, model: str) -> Served:
        """A vLLM names what it serves from its start."""
        del model
        return Served(ModelState.ABSENT, whole=False)


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
        entry.running = whole_number(_values(page, families.VLLM_RUNNING, model))
        entry.waiting = whole_number(_values(page, families.VLLM_WAITING, model))
        usage = next((found for name in families.VLLM_KV_CACHE_USAGE if (found := _values(page, name, model))), [])
        entry.kv_cache_usage = max(usage) if usage and all(map(math.isfinite, usage)) else None
        entry.pending_by_reason = _by_reason(page, model)
        entry.kv_cache_tokens = _cache_tokens(page, len(served))
        entry.adapters = _adapters(page)
        entry.sleep = _sleep(page, model)
        awake = _sleeping(page, model).get(SleepState.AWAKE)
        if awake is not None and not awake:
            entry.state, entry.reason = ModelState.UNAVAILABLE, ASLEEP
        _count(page, model, entry)
        _count_tokens(page, model, entry)
        first_tokens = [
            value
            for labels, value in _of_model(page, _FIRST_TOKENS, model)
            if labels.get(families.UPPER_EDGE) == "+Inf"
        ]
        entry.first_tokens = sum(first_tokens) if first_tokens else None
        entry.whole = bool(entry.groups) and entry.waiting is not None and entry.running is not None
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
        _add(entry, Counter.REQUESTS, finished, value)
    refused = list(_of_model(page, families.VLLM_REJECTED, model))
    for labels, value in refused:
        entry.failures[labels.get(families.VLLM_REASON, ""), families.REASON_REJECTED] = value
        _add(entry, Counter.REQUESTS, REFUSED, value)
    total = whole_number([value for _, value in refused])
    entry.refused = NOT_EXPORTED if total is None else total
    e2e_s = _by_engine(page, f"{families.VLLM_E2E_S}{families.SUM}", model)
    queue_s = _by_engine(page, f"{families.VLLM_QUEUE_S}{families.SUM}", model)
    for engine, count in success.items():
        entry.groups[engine] = Totals(count, e2e_s.get(engine, math.nan), queue_s.get(engine, math.nan))
    for counter, by_engine in ((Counter.REQUEST_S, e2e_s), (Counter.QUEUE_S, queue_s)):
        for value in by_engine.values():
            _add(entry, counter, "", value)


def _count_tokens(page: Page, model: str, entry: Served) -> None:
    entry.tokens = {engine: {} for engine in entry.groups}
    for counter, names in families.VLLM_TOKENS.items():
        by_engine = next((found for name in names if (found := _by_engine(page, name, model))), {})
        for engine, value in by_engine.items():
            if math.isfinite(value):
                entry.tokens.setdefault(engine, {})[counter] = value
            _add(entry, counter, "", value)


def _add(entry: Served, counter: Counter, part: str, value: float) -> None:
    """Engines add up; one that is no number makes the sum none."""
    entry.counters[counter, part] = entry.counters.get((counter, part), 0.0) + value


def _by_reason(page: Page, model: str) -> Mapping[str, int] | Missing:
    """Waiting requests by what they wait for, engines together."""
    waiting: dict[str, list[float]] = {}
    for labels, value in _of_model(page, families.VLLM_WAITING_BY_REASON, model):
        waiting.setdefault(labels.get(families.VLLM_REASON, ""), []).append(value)
    sums = {reason: total for reason, values in waiting.items() if (total := whole_number(values)) is not None}
    return sums if sums and len(sums) == len(waiting) else NOT_EXPORTED


def _sleeping(page: Page, model: str) -> dict[SleepState, bool]:
    """Whether any engine is in a state of sleep, by the states that the page tells of."""
    found: dict[SleepState, bool] = {}
    for labels, value in _of_model(page, families.VLLM_SLEEP, model):
        if state := families.VLLM_SLEEP_STATES.get(labels.get(families.VLLM_SLEEP_STATE, "")):
            found[state] = found.get(state, False) or bool(value)
    return found


def _sleep(page: Page, model: str) -> SleepState | Missing:
    """The deepest sleep of any engine."""
    found = _sleeping(page, model)
    deepest = [state for state in families.VLLM_SLEEP_STATES.values() if found.get(state)]
    return deepest[-1] if deepest else (Missing("in no state of sleep that is known") if found else NOT_EXPORTED)


def _cache_tokens(page: Page, models: int) -> int | Missing:
    """Tokens that the KV caches of all engines hold. The labels do not name a model."""
    configs = [labels for labels, _ in page.get(families.VLLM_CACHE_CONFIG, ())]
    if not configs:
        return NOT_EXPORTED
    if models > 1:
        return Missing(f"the page tells of {models} models, and not whose the KV cache is")
    total = 0
    for labels in configs:
        size = _whole(labels, families.VLLM_CACHE_TOKENS)
        blocks, each = _whole(labels, families.VLLM_CACHE_BLOCKS), _whole(labels, families.VLLM_CACHE_BLOCK_SIZE)
        if size is None and (blocks is None or each is None):
            told = f"{families.VLLM_CACHE_BLOCKS}={labels.get(families.VLLM_CACHE_BLOCKS)!r}"
            return Missing(f"{families.VLLM_CACHE_CONFIG} tells no size: {told}")
        total += size if size is not None else (blocks or 0) * (each or 0)
    return total


def _whole(labels: Labels, name: str) -> int | None:
    text = labels.get(name, "")
    return int(text) if text.isdecimal() else None


def _adapters(page: Page) -> Adapters | Missing:
    """By the series that changed last: the value is the time of its change."""
    newest = max(page.get(families.VLLM_LORA, ()), key=lambda sample: sample[1], default=None)
    if newest is None or not math.isfinite(newest[1]):
        return _NO_ADAPTERS
    labels = newest[0]
    slots = _whole(labels, families.VLLM_LORA_SLOTS)
    if slots is None:
        return Missing(f"{families.VLLM_LORA} tells no {families.VLLM_LORA_SLOTS}")
    return Adapters(slots, _names(labels, families.VLLM_LORA_RUNNING), _names(labels, families.VLLM_LORA_WAITING))


def _names(labels: Labels, label: str) -> tuple[str, ...]:
    return tuple(name for part in labels.get(label, "").split(",") if (name := part.strip()))


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

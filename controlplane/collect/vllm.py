"""One vLLM, from its metrics page."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from controlplane.collect import families
from controlplane.collect.counters import Totals
from controlplane.collect.exposition import Labels, Page
from controlplane.collect.histograms import histograms
from controlplane.collect.metrics_source import Metrics
from controlplane.collect.page_server import Histograms, PageServer, Served, whole_number
from controlplane.domain.errors import MalformedPageError
from controlplane.domain.observation import ModelState

ASLEEP = "asleep"
_FAILED = {
    families.VLLM_FINISHED_ERROR: families.REASON_OTHER,
    families.VLLM_FINISHED_ABORT: families.REASON_CANCELED,
}


class VllmServer(PageServer):
    """One vLLM: whether it answers, its models, and its latency histograms."""

    def understand(self, metrics: Metrics) -> tuple[Mapping[str, Served], Histograms]:
        """As PageServer."""
        return read_served(metrics.samples), read_histograms(metrics.samples)

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
        awake = [
            value
            for labels, value in page.get(families.VLLM_SLEEP, ())
            if labels.get(families.VLLM_MODEL) == model and labels.get(families.VLLM_SLEEP_STATE) == families.VLLM_AWAKE
        ]
        if awake and not any(awake):
            entry.state, entry.reason = ModelState.UNAVAILABLE, ASLEEP
        _count(page, model, entry)
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

"""A server of any software whose metrics page a mapping describes."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence

from controlplane.collect.counters import Totals
from controlplane.collect.exposition import Labels, Page
from controlplane.collect.families import BUCKET, REASON_CANCELED, REASON_OTHER, REASON_REJECTED
from controlplane.collect.histograms import histograms, in_seconds
from controlplane.collect.metrics_source import Metrics, MetricsSource
from controlplane.collect.page_server import Histograms, PageServer, Served, whole_number
from controlplane.domain.errors import MalformedPageError
from controlplane.domain.fleet import ModelSpec, ServerSpec
from controlplane.domain.mapping import PageMapping, Series


class MappedServer(PageServer):
    """One server, read as `spec.mapping` says: whether it answers, its models, and its latency histograms.

    Where the software exports no queue, it is not observed: demand then has no upper end.
    """

    def __init__(
        self, spec: ServerSpec, models: Sequence[ModelSpec], source: MetricsSource, *, max_age_s: float, keep_s: float
    ) -> None:
        super().__init__(spec, models, source, max_age_s=max_age_s, keep_s=keep_s)
        if spec.mapping is None:
            raise ValueError(f"server {spec.name} of kind {spec.kind.value} has no mapping")
        self._mapping = spec.mapping
        self._marks = {name.removesuffix(BUCKET) for name in wanted(spec.mapping)}

    def understand(self, metrics: Metrics) -> tuple[Mapping[str, Served], Histograms]:
        """As PageServer."""
        page, text = metrics.samples, metrics.text
        if not page and self.spec.through is None and not any(f"# TYPE {name} " in text for name in self._marks):
            raise MalformedPageError(f"not a page of {self._mapping.name}: no metric of its mapping is there")
        served: dict[str, Served] = {}
        found: Histograms = {}
        for name, part in self._by_model(page).items():
            served[name] = read_served(part, self._mapping)
            for indicator, series in self._mapping.histograms:
                if groups := histograms(_samples(part, series, BUCKET)):
                    found[name, indicator] = {group: in_seconds(b, series.unit_s) for group, b in groups.items()}
        return served, found

    def unnamed(self, model: str) -> Served:
        """Some software names a model only from its first request on, so that nothing was counted yet."""
        return Served(None, f"its metrics page has no series of {model} (yet)")

    def _by_model(self, page: Page) -> dict[str, Page]:
        if not self._mapping.model_label:
            return {unit.model.served_name: page for unit in self.units.values()}
        parts: dict[str, dict[str, list[tuple[Labels, float]]]] = {}
        for metric, samples in page.items():
            for sample in samples:
                if name := sample[0].get(self._mapping.model_label):
                    parts.setdefault(name, {}).setdefault(metric, []).append(sample)
        return {**parts}


def wanted(mapping: PageMapping) -> frozenset[str]:
    """Names of all samples that the mapping reads."""
    outcomes = mapping.outcomes
    plain = [mapping.pending, mapping.running, mapping.kv_cache_usage, mapping.request_time, mapping.queue_time]
    plain += [*outcomes.success, *outcomes.failed, *outcomes.rejected, *outcomes.canceled]
    names = {metric for series in plain if series for metric in series.metrics}
    buckets = {f"{metric}{BUCKET}" for _, series in mapping.histograms for metric in series.metrics}
    return frozenset(names | buckets | set(mapping.marks))


def read_served(page: Page, mapping: PageMapping) -> Served:
    """One model, from the samples that are about it."""
    served = Served(
        waiting=whole_number([value for _, _, value in _found(page, mapping.pending)]),
        running=whole_number([value for _, _, value in _found(page, mapping.running)]),
    )
    usage = [value for _, _, value in _found(page, mapping.kv_cache_usage)]
    served.kv_cache_usage = max(usage) if usage and all(map(math.isfinite, usage)) else None
    # Each series is a group of its own: one that began anew, or is new, tells nothing of the others.
    for series in mapping.outcomes.success:
        for key, _, value in _found(page, series):
            served.groups[key] = Totals(value, 0.0, 0.0)
    for key, _, value in _found(page, mapping.request_time):
        served.groups[f"request {key}"] = Totals(0.0, value, 0.0)
    for key, _, value in _found(page, mapping.queue_time):
        served.groups[f"queue {key}"] = Totals(0.0, 0.0, value)
    for reason, several in (
        (REASON_OTHER, mapping.outcomes.failed),
        (REASON_REJECTED, mapping.outcomes.rejected),
        (REASON_CANCELED, mapping.outcomes.canceled),
    ):
        for series in several:
            for key, _, value in _found(page, series):
                served.failures[key, reason] = value
                # so that a model of which every request fails is counted too
                served.groups[f"{reason} {key}"] = Totals(0.0, 0.0, 0.0)
    gauges = ((mapping.pending, served.waiting), (mapping.running, served.running))
    served.whole = all(series is None or value is not None for series, value in gauges)
    return served


def _found(page: Page, series: Series | None) -> Iterator[tuple[str, Labels, float]]:
    """Name with labels, labels and value (times in seconds) of the samples of a signal."""
    if series is not None:
        for labels, value in _samples(page, series, ""):
            yield f"{series.metrics[0]} {sorted(labels.items())}", labels, value * series.unit_s


def _samples(page: Page, series: Series, suffix: str) -> list[tuple[Labels, float]]:
    samples = next((page[name] for metric in series.metrics if (name := f"{metric}{suffix}") in page), [])
    return [
        sample
        for sample in samples
        if all(re.fullmatch(pattern, sample[0].get(label, "")) for label, pattern in series.where)
    ]

"""A Triton of which only the metrics page is known: what is not to be acted on needs no connection of ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from controlplane.collect.metrics_source import Metrics, MetricsSource
from controlplane.collect.page_server import Histograms, PageServer, Served
from controlplane.collect.triton.detail import REFUSED
from controlplane.collect.triton.wire import ModelSeries, read_series, version_of
from controlplane.domain.fleet import ModelSpec, ServerSpec
from controlplane.domain.objectives import Indicator


class TritonPage(PageServer):
    """One Triton by its metrics alone: what it counts, and that a model is loaded; nothing of its configuration."""

    def __init__(
        self, spec: ServerSpec, models: Sequence[ModelSpec], source: MetricsSource, *, max_age_s: float, keep_s: float
    ) -> None:
        super().__init__(spec, models, source, max_age_s=max_age_s, keep_s=keep_s, version_of=version_of)

    def understand(self, metrics: Metrics) -> tuple[Mapping[str, Served], Histograms]:
        """As PageServer."""
        models = {unit.model.served_name for unit in self.units.values()}
        found = read_series(metrics.samples, models)
        first = {name: series.details.first_response for name, series in found.items() if series.details.first_response}
        histograms = {(name, Indicator.TTFT): buckets for name, buckets in first.items()}
        return {name: _served(series) for name, series in found.items()}, histograms

    def unnamed(self, model: str) -> Served:
        """Neither unloaded nor absent models are on the page."""
        return Served(None, f"the metrics page has no series of {model}: not loaded, or not there")


def _served(series: ModelSeries) -> Served:
    """A model on the page. Failures are on it after an unload too."""
    if not series.groups:
        return Served(None, "not loaded: nothing but its old failures is on the metrics page", failures=series.failures)
    return Served(
        groups=series.groups,
        failures=series.failures,
        waiting=series.pending,
        whole=series.complete and series.pending is not None,
        counters=dict(series.details.counters),
        refused=REFUSED,
    )

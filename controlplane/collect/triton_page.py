"""A Triton of which only the metrics page is known: what is not to be acted on needs no connection of ours."""

from __future__ import annotations

from collections.abc import Mapping

from controlplane.collect.metrics_source import Metrics
from controlplane.collect.page_server import Histograms, PageServer, Served
from controlplane.collect.triton_wire import ModelSeries, read_series


class TritonPage(PageServer):
    """One Triton by its metrics alone: what it counts, and that a model is loaded; nothing of its configuration."""

    def understand(self, metrics: Metrics) -> tuple[Mapping[str, Served], Histograms]:
        """As PageServer."""
        models = {unit.model.served_name for unit in self.units.values()}
        return {name: _served(series) for name, series in read_series(metrics.samples, models).items()}, {}

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
    )

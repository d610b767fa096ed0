"""The reader of each kind of server, and what it wants of a metrics page."""

from __future__ import annotations

from collections.abc import Sequence

from controlplane.collect.mapped import MappedServer, wanted
from controlplane.collect.metrics_source import MetricsSource, ScrapedPage
from controlplane.collect.ollama import OllamaServer
from controlplane.collect.page_server import PageServer
from controlplane.collect.triton import TritonServer
from controlplane.collect.triton_signals import TRITON
from controlplane.collect.vllm import VllmServer
from controlplane.collect.vllm_signals import VLLM
from controlplane.domain.fleet import ModelSpec, ServerKind, ServerSpec

_READERS: dict[ServerKind, type[TritonServer | VllmServer | OllamaServer]] = {
    ServerKind.TRITON: TritonServer,
    ServerKind.VLLM: VllmServer,
    ServerKind.OLLAMA: OllamaServer,
}
"""All other kinds are read by a mapping."""
_SERIES = {ServerKind.TRITON: TRITON.wanted, ServerKind.VLLM: VLLM.wanted}


def server_reader(
    spec: ServerSpec, models: Sequence[ModelSpec], source: MetricsSource, *, max_age_s: float, keep_s: float
) -> TritonServer | PageServer:
    """What reads this server, `models` being those to care for."""
    return _READERS.get(spec.kind, MappedServer)(spec, models, source, max_age_s=max_age_s, keep_s=keep_s)


def series_of(spec: ServerSpec) -> frozenset[str]:
    """The names of all samples that this server's reader wants; none: its page is no metrics page."""
    return wanted(spec.mapping) if spec.mapping is not None else _SERIES.get(spec.kind, frozenset())


def scraped(spec: ServerSpec) -> ScrapedPage:
    """The server's own page."""
    return ScrapedPage(f"{spec.name} metrics page", spec.metrics, series_of(spec))

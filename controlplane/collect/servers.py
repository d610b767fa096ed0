"""The reader of each kind of server, and what it wants of a metrics page."""

from __future__ import annotations

from collections.abc import Sequence

from controlplane.collect import families
from controlplane.collect.mapped import MappedServer, wanted
from controlplane.collect.metrics_source import MetricsSource, ScrapedPage
from controlplane.collect.ollama import OllamaServer
from controlplane.collect.page_server import PageServer
from controlplane.collect.prometheus.answer import Wanted
from controlplane.collect.triton.page import TritonPage
from controlplane.collect.triton.server import TritonServer
from controlplane.collect.triton.signals import TRITON
from controlplane.collect.vllm.server import VllmServer
from controlplane.collect.vllm.signals import VLLM
from controlplane.domain.fleet import Mode, ModelSpec, ServerKind, ServerSpec

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
    if only_page(spec, models):
        return TritonPage(spec, models, source, max_age_s=max_age_s, keep_s=keep_s)
    return _READERS.get(spec.kind, MappedServer)(spec, models, source, max_age_s=max_age_s, keep_s=keep_s)


def only_page(spec: ServerSpec, models: Sequence[ModelSpec]) -> bool:
    """Whether a Triton's metrics are all that is asked for: a Prometheus has them, and its models are but observed."""
    observed = all(model.mode is Mode.OBSERVE and model.probe is None for model in models)
    return spec.kind is ServerKind.TRITON and spec.through is not None and observed


def series_of(spec: ServerSpec) -> frozenset[str]:
    """The names of all samples that this server's reader wants; none: its page is no metrics page."""
    return wanted(spec.mapping) if spec.mapping is not None else _SERIES.get(spec.kind, frozenset())


def scraped(spec: ServerSpec, models: Sequence[ModelSpec]) -> ScrapedPage:
    """The server's own page, as far as it tells of the models to care for or of none."""
    # one Triton may serve hundreds of models, of which others care for most
    label = families.TRITON_MODEL if spec.kind is ServerKind.TRITON else ""
    served = [model.served_name for model in models]
    return ScrapedPage(f"{spec.name} metrics page", spec.metrics, series_of(spec), label, served)


def through_prometheus(spec: ServerSpec) -> Wanted:
    """The server's metrics as a Prometheus has them; `spec.through` says which."""
    labels = spec.through.labels if spec.through else ()
    kept = {families.TRITON_MODEL, families.VLLM_MODEL, spec.mapping.model_label if spec.mapping else ""}
    return Wanted(spec.name, labels, series_of(spec), kept=frozenset(kept))

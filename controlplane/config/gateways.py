"""Gateways as written: what is known of each kind, their checks, and the domain's value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from controlplane.config.faults import join, one_of
from controlplane.config.reading import Document, Part
from controlplane.config.target_items import GatewayItem, GatewayKind, TimeUnit
from controlplane.config.through import check_through, to_through
from controlplane.domain.errors import Fault
from controlplane.domain.sources import GatewaySpec

_UNIT_S = {TimeUnit.SECONDS: 1.0, TimeUnit.MILLISECONDS: 1e-3, TimeUnit.MICROSECONDS: 1e-6}


@dataclass(frozen=True, slots=True)
class Preset:
    """What a kind of gateway exports; fields as in GatewaySpec. `source` says where that is written."""

    source: str
    histogram: str
    unit: TimeUnit
    model_label: str
    code_label: str
    error_codes: str
    counter: str = ""
    where: Mapping[str, str] | None = None


PRESETS: Mapping[GatewayKind, Preset] = {
    GatewayKind.HISTOGRAM: Preset("", "", TimeUnit.SECONDS, "model", "", "5.."),
    # Both ends of a request report it: the source also sees those that reached no server. Code 0: the client gave up.
    GatewayKind.ISTIO: Preset(
        "https://istio.io/latest/docs/reference/config/metrics/",
        "istio_request_duration_milliseconds",
        TimeUnit.MILLISECONDS,
        "destination_service_name",
        "response_code",
        "5..",
        where={"reporter": "source", "response_code": "[1-9].*"},
    ),
    # The histogram has no code. The counter counts what was sent to clients, retries not among it.
    GatewayKind.ENVOY: Preset(
        "https://www.envoyproxy.io/docs/envoy/latest/configuration/upstream/cluster_manager/cluster_stats",
        "envoy_cluster_upstream_rq_time",
        TimeUnit.MILLISECONDS,
        "envoy_cluster_name",
        "envoy_response_code_class",
        "5",
        counter="envoy_cluster_upstream_rq_xx",
    ),
    # In seconds, whatever its HELP says. Code 499: the client gave up.
    GatewayKind.NGINX: Preset(
        "https://kubernetes.github.io/ingress-nginx/user-guide/monitoring/",
        "nginx_ingress_controller_request_duration_seconds",
        TimeUnit.SECONDS,
        "service",
        "status",
        "5..",
        where={"status": "[1-35]..|4[0-8].|49[0-8]"},
    ),
}


def check_gateways(document: Document) -> Iterator[Fault]:
    """Faults of meaning of all gateways."""
    models = tuple(part.item.name for part in document.models)
    for part in document.gateways:
        gateway = part.item
        if gateway.page is not None and gateway.through is not None:
            yield Fault(part.path, "page and through", "exactly one of: page, through")
        elif not is_measured(gateway) and gateway.routes is None:
            yield Fault(part.path, "nothing", "exactly one of: page, through; or routes")
        yield from check_through(join(part.path, "through"), gateway.through, document.prometheus)
        if gateway.kind is GatewayKind.HISTOGRAM and gateway.histogram is None and is_measured(gateway):
            yield Fault(join(part.path, "histogram"), "nothing", "it is required for kind histogram")
        yield from _check_models(part, models)


def _check_models(part: Part[GatewayItem], models: tuple[str, ...]) -> Iterator[Fault]:
    first: dict[str, str] = {}
    for model, value in part.item.models.items():
        path = join(part.path, "models", model)
        if model not in models:
            yield Fault(path, repr(model), f"the name of a model: {one_of(model, models)}")
        elif value in first:
            yield Fault(path, repr(value), f"one name for one model; {first[value]} has it already")
        first.setdefault(value, model)


def is_measured(gateway: GatewayItem) -> bool:
    """Whether it has a histogram to be read; one that only routes has none."""
    return gateway.page is not None or gateway.through is not None


def to_gateway(part: Part[GatewayItem]) -> GatewaySpec:
    """The domain's gateway: what is given, and what is known of its kind for the rest."""
    item, preset = part.item, PRESETS[part.item.kind]
    where = item.where if item.where is not None else preset.where or {}
    return GatewaySpec(
        name=item.name,
        page=item.page or "",
        histogram=_either(item.histogram, preset.histogram),
        model_label=_either(item.model_label, preset.model_label),
        code_label=_either(item.code_label, preset.code_label),
        error_codes=_either(item.error_codes, preset.error_codes),
        unit_s=_UNIT_S[item.unit or preset.unit],
        counter=_either(item.counter, preset.counter),
        where=tuple(sorted(where.items())),
        models=tuple(item.models.items()),
        through=to_through(item.through),
    )


def _either(given: str | None, preset: str) -> str:
    return preset if given is None else given

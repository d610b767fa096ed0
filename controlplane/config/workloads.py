"""Workloads as written: their checks, their usual ports, and the domain's values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from controlplane.config.expected_items import check_schedules, to_schedules
from controlplane.config.faults import join, one_of, shown
from controlplane.config.kubernetes_forms import (
    API_VERSION_FORM,
    LABEL_FORM,
    NAMESPACE_FORM,
    OBJECT_FORM,
    SELECTOR_FORM,
    is_api_version,
    is_label,
    is_namespace,
    is_object_name,
    is_selector,
    kind_fault,
)
from controlplane.config.reading import Document, Part
from controlplane.config.servers import check_mapping, page_of
from controlplane.config.target_items import DrainBlock, KubernetesBlock, WorkloadItem
from controlplane.config.units import format_duration
from controlplane.domain.errors import Fault
from controlplane.domain.fleet import (
    SCALED,
    KubernetesQuery,
    Ports,
    ReplicaBounds,
    ServerKind,
    TargetsQuery,
    WorkloadSpec,
)
from controlplane.domain.mapping import PageMapping
from controlplane.domain.scaling import DRAINED, OFF, Drain
from controlplane.domain.sources import PrometheusSpec

_PORTS: Mapping[ServerKind, tuple[int, int, int]] = {
    ServerKind.TRITON: (8000, 8001, 8002),
    ServerKind.VLLM: (8000, 0, 8000),
    ServerKind.TGI: (80, 0, 80),
    ServerKind.TORCHSERVE: (8080, 0, 8082),
    ServerKind.TFSERVING: (8501, 0, 8501),
    ServerKind.SGLANG: (30000, 0, 30000),
    ServerKind.NIM: (8000, 0, 8000),
    ServerKind.OLLAMA: (11434, 0, 11434),
}
"""HTTP, gRPC and metrics, 0: none, as in the software's own images (TGI: 80 there, else 3000)."""

_LOST = "a pod out of traffic would not be found any more"


def check_workloads(document: Document) -> Iterator[Fault]:
    """Faults of meaning of all workloads."""
    sources = tuple(part.item.name for part in document.prometheus)
    yield from _check_shared(document.workloads)  # first: a fault within a block hides later ones of the whole
    for part in document.workloads:
        yield from _check_query(part, sources)
        yield from check_mapping(part)
        yield from _check_replicas(part)
        yield from _check_ports(part, document.mappings.get(part.item.name))


def _check_replicas(part: Part[WorkloadItem]) -> Iterator[Fault]:
    bounds = part.item.replicas
    if bounds is not None and bounds.min > bounds.max:
        yield Fault(join(part.path, "replicas.min"), str(bounds.min), f"at most replicas.max, {bounds.max}")
    if bounds is not None and part.item.kind not in SCALED:
        allowed = f"only for workloads of kind {' or '.join(sorted(SCALED))}: others do not tell what a replica can do"
        yield Fault(join(part.path, "replicas"), f"kind {part.item.kind.value}", allowed)
    most = None if bounds is None else bounds.max
    yield from check_schedules(part.item.schedules, join(part.path, "schedules"), most, "replicas")


def _check_query(part: Part[WorkloadItem], sources: tuple[str, ...]) -> Iterator[Fault]:
    pods, targets = part.item.kubernetes, part.item.prometheus
    if pods is not None and targets is not None:
        yield Fault(part.path, "kubernetes and prometheus", "exactly one of: kubernetes, prometheus")
    if pods is None and targets is None and part.item.replicas is None:
        yield Fault(part.path, "nothing", "exactly one of: kubernetes, prometheus")
    if pods is not None:
        yield from _check_pods(pods, join(part.path, "kubernetes"))
        yield from _check_drain(part.item, pods, join(part.path, "kubernetes"))
    if targets is not None:
        path = join(part.path, "prometheus")
        if targets.source not in sources:
            allowed = f"the name of an entry in prometheus: {one_of(targets.source, sources)}"
            yield Fault(join(path, "source"), repr(targets.source), allowed)
        if targets.through and part.item.kind is ServerKind.OLLAMA:
            yield Fault(join(path, "through"), "true", "false: Ollama has no metrics page that Prometheus could scrape")


def _check_pods(asked: KubernetesBlock, path: str) -> Iterator[Fault]:
    for key, text, is_one, form in (
        ("namespace", asked.namespace, is_namespace, NAMESPACE_FORM),
        ("name", asked.name, is_object_name, OBJECT_FORM),
        ("api_version", asked.api_version, is_api_version, API_VERSION_FORM),
        ("pods", asked.pods, is_selector, SELECTOR_FORM),
        ("services", asked.services, is_selector, SELECTOR_FORM),
    ):
        if text is not None and not is_one(text):
            yield Fault(join(path, key), shown(text), form)
    if (asked.kind is None) != (asked.name is None):
        yield Fault(path, "kind" if asked.name is None else "name", "both or none of: kind, name")
    if asked.kind is not None and (allowed := kind_fault(asked.kind)):
        yield Fault(join(path, "kind"), repr(asked.kind), allowed)
    if asked.api_version is not None and asked.kind is None:
        yield Fault(join(path, "api_version"), repr(asked.api_version), "only beside kind and name")
    if asked.pods is not None and asked.services is not None:
        yield Fault(path, "pods and services", "at most one of: pods, services")
    if asked.pods is None and asked.services is None and asked.kind is None and asked.name is None:
        yield Fault(path, "nothing", "one of: pods, services, or kind and name of the object whose pods they are")


def _check_shared(parts: Iterable[Part[WorkloadItem]]) -> Iterator[Fault]:
    """A fault for each workload whose object another one before it has scaled already, at least one of both by us."""
    scaled: list[tuple[Part[WorkloadItem], KubernetesBlock]] = []
    for part in parts:
        item, asked = part.item, part.item.kubernetes
        if asked is None or asked.kind is None or asked.name is None or item.replicas is None:
            continue
        shared = (
            first.item.name + (" (publish_only)" if first.item.publish_only else "") + f" at {first.path}.kubernetes"
            for first, other in scaled
            if _same_object(asked, other) and not (item.publish_only and first.item.publish_only)
        )
        if found := next(shared, None):
            given = f"{asked.kind} {asked.namespace}/{asked.name}" + (", publish_only" if item.publish_only else "")
            allowed = f"an object of its own: workload {found} scales it, and two that set one number undo each other"
            yield Fault(join(part.path, "kubernetes"), given, allowed)
        scaled.append((part, asked))


def _same_object(one: KubernetesBlock, other: KubernetesBlock) -> bool:
    """Versions of one API group have the same objects, and without `api_version` it may be any group's."""
    groups = {block.api_version.partition("/")[0] for block in (one, other) if block.api_version is not None}
    keys = [(b.kubeconfig, b.context, b.namespace, b.kind, b.name) for b in (one, other)]
    return keys[0] == keys[1] and len(groups) < 2


def _check_drain(item: WorkloadItem, asked: KubernetesBlock, path: str) -> Iterator[Fault]:
    """Faults of how pods leave traffic: it must be known who goes, and one without traffic must be found still."""
    if asked.drain is None:
        return
    label, here = asked.drain.label, join(path, "drain")
    key, _, value = label.partition("=")
    if not is_label(label):
        yield Fault(join(here, "label"), repr(label), LABEL_FORM)
    if value == OFF:
        yield Fault(join(here, "label"), repr(label), f"another value: {OFF!r} is given to pods that are to go")
    if asked.drain.timeout <= asked.drain.settle:
        allowed = f"longer than settle ({format_duration(asked.drain.settle)}): before it no pod is known to be empty"
        yield Fault(join(here, "timeout"), format_duration(asked.drain.timeout), allowed)
    told_already = kind_fault(asked.kind) if asked.kind is not None else asked.name
    if asked.kind not in DRAINED and not told_already:
        given = f"kind {asked.kind}" if asked.kind else "no kind"
        yield Fault(here, given, f"only for {', '.join(sorted(DRAINED))}: of others it is not known which pods go")
    if item.publish_only or item.replicas is None:
        given = "publish_only" if item.publish_only else "no replicas"
        yield Fault(here, given, "only where replicas are set by us: with `replicas`, without `publish_only`")
    if asked.services is not None:
        yield Fault(join(path, "services"), repr(asked.services), f"not beside drain: {_LOST}")
    if asked.pods is not None and re.search(rf"(?<![\w./-]){re.escape(key)}(?![\w./-])", asked.pods):
        yield Fault(join(path, "pods"), repr(asked.pods), f"a selector without {key}: {_LOST}")


def _check_ports(part: Part[WorkloadItem], mapping: PageMapping | None) -> Iterator[Fault]:
    item, path = part.item, join(part.path, "ports")
    if item.ports.grpc is not None and item.kind is not ServerKind.TRITON:
        yield Fault(join(path, "grpc"), str(item.ports.grpc), "only for Triton; leave it out")
    if item.ports.metrics is not None and item.kind is ServerKind.OLLAMA:
        yield Fault(join(path, "metrics"), str(item.ports.metrics), "Ollama has no metrics page; leave it out")
    if item.kind is ServerKind.MAPPED:
        if item.mapping is None:
            yield Fault(join(part.path, "mapping"), "nothing", "it is required for kind mapped")
        if item.ports.http is None:
            yield Fault(join(path, "http"), "nothing", "it is required for kind mapped")
        if mapping is not None and not mapping.page and item.ports.metrics is None:
            yield Fault(join(path, "metrics"), "nothing", "it is required: the mapping has no page")


def to_workload(part: Part[WorkloadItem], document: Document) -> WorkloadSpec:
    """The domain's workload."""
    item, mapping = part.item, document.mappings.get(part.item.name)
    bounds = ReplicaBounds(item.replicas.min, item.replicas.max) if item.replicas is not None else None
    return WorkloadSpec(
        item.name,
        item.kind,
        _query(item),
        _ports(item, mapping),
        mapping,
        bounds,
        item.gpus_per_replica,
        item.publish_only,
        gpu=item.gpu or "",
        price_per_h=item.price,
        schedules=to_schedules(item.schedules),
        memory_bytes=item.memory,
    )


def _query(item: WorkloadItem) -> KubernetesQuery | TargetsQuery | None:
    if item.kubernetes is not None:
        asked = item.kubernetes
        return KubernetesQuery(
            namespace=asked.namespace,
            pods=asked.pods or "",
            services=asked.services or "",
            kubeconfig=asked.kubeconfig or "",
            context=asked.context or "",
            kind=asked.kind or "",
            name=asked.name or "",
            api_version=asked.api_version or "",
            drain=_drain(asked.drain),
        )
    if item.prometheus is None:
        return None
    return TargetsQuery(item.prometheus.source, tuple(item.prometheus.where.items()), item.prometheus.through)


def _drain(block: DrainBlock | None) -> Drain | None:
    if block is None:
        return None
    key, _, value = block.label.partition("=")
    return Drain(key, value, block.timeout, block.settle)


def _ports(item: WorkloadItem, mapping: PageMapping | None) -> Ports:
    http, grpc, metrics = _PORTS.get(item.kind, (0, 0, 0))
    given, page = item.ports, page_of(item.kind, mapping)
    own_page = metrics not in (0, http)
    moved = metrics if own_page else given.http or http
    return Ports(given.http or http, given.grpc or grpc, given.metrics or moved, page or "/metrics")


def to_prometheus(document: Document) -> tuple[PrometheusSpec, ...]:
    """The domain's Prometheus servers."""
    items = (part.item for part in document.prometheus)
    return tuple(PrometheusSpec(i.name, i.url, i.timeout, i.token_file or "", i.interval) for i in items)

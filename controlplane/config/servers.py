"""One server as written: its checks, its mapping, and the domain's value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from controlplane.config.faults import join
from controlplane.config.mapping_file import load_mapping, shipped
from controlplane.config.reading import Document, Part
from controlplane.config.target_items import ServerItem, WorkloadItem
from controlplane.config.through import check_through, to_through
from controlplane.domain.errors import Fault
from controlplane.domain.fleet import ServerKind, ServerSpec
from controlplane.domain.mapping import PageMapping

_LOADED_MODELS = "/api/ps"
BY_MAPPING = frozenset(ServerKind) - {ServerKind.TRITON, ServerKind.VLLM, ServerKind.OLLAMA}
"""Kinds that are read by a mapping."""


def with_mappings(document: Document) -> tuple[Document, list[Fault]]:
    """The document with the mapping of each server and workload that has one, and the faults of mapping files."""
    faults: list[Fault] = []
    given: dict[str, PageMapping | None] = {}
    for name, path in document.root.mappings.items():
        given[name], found = load_mapping(path, join("mappings", name))
        faults += found
    mappings: dict[str, PageMapping] = {}
    parts: tuple[Part[ServerItem] | Part[WorkloadItem], ...] = (*document.servers, *document.workloads)
    for part in parts:
        server = part.item
        mapping = shipped(server.kind)
        if server.kind is ServerKind.MAPPED and server.mapping is not None:
            if server.mapping not in given:
                given[server.mapping], found = load_mapping(server.mapping, join(part.path, "mapping"))
                faults += found
            mapping = given[server.mapping]
        if mapping is not None:
            mappings[server.name] = mapping
    return replace(document, mappings=mappings), faults


def check_server(part: Part[ServerItem], document: Document) -> Iterator[Fault]:
    """Faults of meaning of one server."""
    server, mapping = part.item, document.mappings.get(part.item.name)
    kind = server.kind.value
    required = {ServerKind.TRITON: ("grpc", "metrics"), ServerKind.MAPPED: ("mapping",)}.get(server.kind, ())
    if mapping is not None and not mapping.page:
        required += ("metrics",)
    if server.through is not None:
        required = tuple(key for key in required if key != "metrics")
        path = join(part.path, "through")
        yield from check_through(path, server.through, document.prometheus)
        if server.metrics is not None:
            yield Fault(join(part.path, "metrics"), repr(server.metrics), "not with through; leave out one of both")
        if server.kind is ServerKind.OLLAMA:
            yield Fault(path, "a mapping", "Ollama has no metrics page that Prometheus could scrape; leave it out")
    for key in (key for key in required if getattr(server, key) is None):
        yield Fault(join(part.path, key), "nothing", f"it is required for kind {kind}")
    if server.grpc is not None and server.kind is not ServerKind.TRITON:
        yield Fault(join(part.path, "grpc"), repr(server.grpc), "only for Triton; leave it out")
    yield from check_mapping(part)
    if server.metrics is not None and server.kind is ServerKind.OLLAMA:
        yield Fault(join(part.path, "metrics"), repr(server.metrics), "Ollama has no metrics page; leave it out")


def check_mapping(part: Part[ServerItem] | Part[WorkloadItem]) -> Iterator[Fault]:
    """A mapping of one's own is for one kind."""
    item = part.item
    if item.mapping is not None and item.kind is not ServerKind.MAPPED:
        yield Fault(join(part.path, "mapping"), repr(item.mapping), "only for kind mapped; leave it out")


def page_of(kind: ServerKind, mapping: PageMapping | None) -> str:
    """The path of the page that is read, behind the HTTP API's URL."""
    return mapping.page if mapping else _LOADED_MODELS if kind is ServerKind.OLLAMA else "/metrics"


def to_server(part: Part[ServerItem], mappings: Mapping[str, PageMapping]) -> ServerSpec:
    """The domain's server."""
    server, mapping = part.item, mappings.get(part.item.name)
    metrics = server.metrics or f"{server.http}{page_of(server.kind, mapping)}"
    through = to_through(server.through)
    return ServerSpec(
        server.name, server.kind, server.http, metrics, server.grpc or "", mapping, through, server.memory
    )

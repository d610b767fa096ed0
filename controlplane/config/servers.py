"""One server as written: its checks, its mapping, and the domain's value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from controlplane.config.faults import join
from controlplane.config.mapping_file import load_mapping, shipped
from controlplane.config.reading import Document, Part
from controlplane.config.tree import ServerItem
from controlplane.domain.errors import Fault
from controlplane.domain.fleet import ServerKind, ServerSpec
from controlplane.domain.mapping import PageMapping

_LOADED_MODELS = "/api/ps"
BY_MAPPING = frozenset(ServerKind) - {ServerKind.TRITON, ServerKind.VLLM, ServerKind.OLLAMA}
"""Kinds that are read by a mapping."""


def with_mappings(document: Document) -> tuple[Document, list[Fault]]:
    """The document with the mapping of each server that has one, and the faults of the users' mapping files."""
    faults: list[Fault] = []
    given: dict[str, PageMapping | None] = {}
    for name, path in document.root.mappings.items():
        given[name], found = load_mapping(path, join("mappings", name))
        faults += found
    mappings: dict[str, PageMapping] = {}
    for part in document.servers:
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


def check_server(part: Part[ServerItem], mappings: Mapping[str, PageMapping]) -> Iterator[Fault]:
    """Faults of meaning of one server."""
    server, mapping = part.item, mappings.get(part.item.name)
    kind = server.kind.value
    required = {ServerKind.TRITON: ("grpc", "metrics"), ServerKind.MAPPED: ("mapping",)}.get(server.kind, ())
    if mapping is not None and not mapping.page:
        required += ("metrics",)
    for key in (key for key in required if getattr(server, key) is None):
        yield Fault(join(part.path, key), "nothing", f"it is required for kind {kind}")
    if server.grpc is not None and server.kind is not ServerKind.TRITON:
        yield Fault(join(part.path, "grpc"), repr(server.grpc), "only for Triton; leave it out")
    if server.mapping is not None and server.kind is not ServerKind.MAPPED:
        yield Fault(join(part.path, "mapping"), repr(server.mapping), "only for kind mapped; leave it out")
    if server.metrics is not None and server.kind is ServerKind.OLLAMA:
        yield Fault(join(part.path, "metrics"), repr(server.metrics), "Ollama has no metrics page; leave it out")


def to_server(part: Part[ServerItem], mappings: Mapping[str, PageMapping]) -> ServerSpec:
    """The domain's server."""
    server, mapping = part.item, mappings.get(part.item.name)
    page = mapping.page if mapping else _LOADED_MODELS if server.kind is ServerKind.OLLAMA else "/metrics"
    return ServerSpec(
        server.name, server.kind, server.http, server.metrics or f"{server.http}{page}", server.grpc or "", mapping
    )

"""Gateways that route by model as written: their checks, and the domain's value."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.config.copies import check_copies, check_memory, places_of, within
from controlplane.config.faults import join, one_of
from controlplane.config.names import check_names, expand
from controlplane.config.reading import Document, ModelPart
from controlplane.domain.errors import Fault
from controlplane.domain.fleet import RoutesSpec, ServerKind


def check_routes(document: Document) -> Iterator[Fault]:
    """Faults of meaning of all routes: each server is a Triton behind one of them."""
    behind: dict[str, str] = {}
    for part in document.gateways:
        if part.item.routes is None:
            continue
        path = join(part.path, "routes", "servers")
        yield from check_names(part.item.routes.servers, path, document.kinds)
        for name in expand(part.item.routes.servers, document.kinds):
            if document.kinds[name] not in {ServerKind.TRITON, None}:
                yield Fault(path, repr(name), "only Tritons: other servers hold the models they were started with")
            if name in behind:
                yield Fault(path, repr(name), f"a server behind one such gateway; {behind[name]} has it already")
            behind.setdefault(name, part.item.name)


def check_placed(part: ModelPart, document: Document) -> Iterator[Fault]:
    """What a model may be that runs behind a gateway which routes by model, and what only such a one may be."""
    model = part.item
    gateways = gateways_of(part, document)
    if len(gateways) > 1:
        given = " and ".join(gateway or "none" for gateway in gateways)
        allowed = "all behind the same gateway that routes by model, or none of them behind one"
        yield Fault(join(part.path, "runs_on"), given, allowed)
    placed = any(gateways)
    if not placed and "copies" in model.model_fields_set:
        allowed = "only behind a gateway with routes; elsewhere a model is on all servers it runs on"
        yield Fault(join(part.path, "copies"), "this key", allowed)
    places = places_of(part, document)
    if placed:
        ensembles = [o.item for o in document.models if model.name in o.item.components and o.item.name != model.name]
        yield from check_copies(part, places, ensembles)
    if places is not None:
        yield from check_memory(part, places, document, placed=placed)
    if placed and (model.idle_unload is not None or model.instances.min == 0):
        key = "idle_unload" if model.idle_unload is not None else "instances.min"
        allowed = "not behind a gateway with routes: there a model always has its copies"
        yield Fault(join(part.path, key), "this key", allowed)
    if model.components and model.instances.max > 1:
        yield Fault(join(part.path, "instances.max"), str(model.instances.max), "1: an ensemble has no instances")
    yield from _check_components(part, document)


def _check_components(part: ModelPart, document: Document) -> Iterator[Fault]:
    """Each another model, of which this one is no part itself."""
    parts = {other.item.name: other.item.components for other in document.models}
    others = [name for name in parts if name != part.item.name]
    for i, name in enumerate(part.item.components):
        path = join(part.path, "components", i)
        if name == part.item.name:
            yield Fault(path, repr(name), "another model: none is a component of itself")
        elif name not in parts:
            yield Fault(path, repr(name), f"the name of another model: {one_of(name, others)}")
        elif part.item.name in within(name, parts):
            yield Fault(path, repr(name), f"a model of which {part.item.name} is no component itself")


def gateways_of(part: ModelPart, document: Document) -> tuple[str, ...]:
    """The gateways with routes before the servers of a model, "" among them where some have none."""
    found = dict.fromkeys(expand(part.item.runs_on, document.kinds), "")
    for gateway in document.gateways:
        if gateway.item.routes is not None:
            found |= {n: gateway.item.name for n in expand(gateway.item.routes.servers, document.kinds) if n in found}
    return tuple(sorted(set(found.values())))


def to_routes(document: Document) -> tuple[RoutesSpec, ...]:
    """The domain's values."""
    servers = [part.item.name for part in document.servers]
    workloads = [part.item.name for part in document.workloads]
    return tuple(
        RoutesSpec(part.item.name, routes.url, expand(routes.servers, servers), expand(routes.servers, workloads))
        for part in document.gateways
        if (routes := part.item.routes) is not None
    )

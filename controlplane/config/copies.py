"""On how many servers a model can be, by their number and by the memory that it and they are said to have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from controlplane.config.faults import join
from controlplane.config.model_items import ModelItem
from controlplane.config.names import expand
from controlplane.config.reading import Document, ModelPart
from controlplane.config.target_items import ServerItem, WorkloadItem
from controlplane.domain.errors import Fault
from controlplane.domain.sizes import memory_text


@dataclass(frozen=True, slots=True)
class Place:
    """A server, or the servers of a workload: how many at most, and what memory each has; None: not known."""

    servers: int | None
    memory: int | None


def places_of(part: ModelPart, document: Document) -> Sequence[Place] | None:
    """Where a model runs; None: one of the names is none that could be read."""
    items = [p.item for p in document.servers] + [p.item for p in document.workloads]
    by_name: dict[str, ServerItem | WorkloadItem] = {item.name: item for item in items}
    names = expand(part.item.runs_on, document.kinds)
    if not names or any(name not in by_name for name in names):
        return None
    return [_place(by_name[name]) for name in names]


def check_copies(part: ModelPart, places: Sequence[Place] | None, ensembles: Sequence[ModelItem]) -> Iterator[Fault]:
    """Bounds that cannot be of a model in those `places`, which is a part of `ensembles`."""
    path, bounds, servers = join(part.path, "copies"), part.item.copies, _most(places)
    most = bounds.min if bounds.max is None else bounds.max
    if most < bounds.min:
        yield Fault(join(path, "max"), str(most), f"at least copies.min ({bounds.min})")
    elif servers and most > servers:
        key = "min" if bounds.min > servers else "max"
        counted = ", those of a workload by its replicas.max" if any(p.servers != 1 for p in places or ()) else ""
        yield Fault(
            join(path, key),
            str(bounds.min if key == "min" else most),
            f"at most {servers}, the number of servers it runs on{counted}",
        )
    elif most > bounds.min and part.item.components:
        allowed = f"copies.min ({bounds.min}): an ensemble has no instances whose capacity could be known"
        yield Fault(join(path, "max"), str(most), allowed)
    elif most > bounds.min and ensembles:
        allowed = f"copies.min ({bounds.min}): it is where {ensembles[0].name} is, of which it is a component"
        yield Fault(join(path, "max"), str(most), allowed)
    elif ensembles and "min" in bounds.model_fields_set and bounds.min not in {e.copies.min for e in ensembles}:
        whole = ensembles[0]
        allowed = f"that of {whole.name} ({whole.copies.min}), or leave it out: it is where that is, as its component"
        yield Fault(join(path, "min"), str(bounds.min), allowed)


def check_memory(part: ModelPart, places: Sequence[Place], document: Document, *, placed: bool) -> Iterator[Fault]:
    """A model that takes more than any of its servers has, or more than as many have as are to hold it."""
    models = {other.item.name: other.item for other in document.models}
    loaded = {part.item.name} | within(part.item.name, {name: item.components for name, item in models.items()})
    takes = sum(models[name].memory or 0 for name in loaded if name in models)
    large = [place for place in places if place.memory is None or place.memory >= takes]
    least = part.item.copies.min
    together = "" if part.item.memory == takes else ", with its components"
    if not large:
        most = max(place.memory or 0 for place in places)
        path = join(part.path, "components" if together else "memory")
        yield Fault(path, memory_text(takes) + together, f"at most {memory_text(most)}, what its servers have")
    elif placed and (most_copies := _most(large)) is not None and most_copies < least <= (_most(places) or least):
        allowed = f"at most {most_copies}, the servers it runs on that have the {memory_text(takes)} that a copy takes"
        yield Fault(join(part.path, "copies.min"), str(least), allowed + together)


def within(name: str, parts: Mapping[str, Sequence[str]]) -> set[str]:
    """All that a model is made of, its components' components too."""
    found: set[str] = set()
    left = [name]
    while left:
        fresh = set(parts.get(left.pop(), ())) - found
        found |= fresh
        left += fresh
    return found


def _place(item: ServerItem | WorkloadItem) -> Place:
    if isinstance(item, ServerItem):
        return Place(1, item.memory)
    return Place(None if item.replicas is None else item.replicas.max, item.memory)


def _most(places: Sequence[Place] | None) -> int | None:
    """Of how many servers they are at most; None: that is found out."""
    if places is None or any(place.servers is None for place in places):
        return None
    return sum(place.servers or 0 for place in places)

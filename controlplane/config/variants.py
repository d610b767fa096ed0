"""Models that several workloads serve: what sharing their demand by cost asks of the configuration."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.config.faults import join
from controlplane.config.names import expand
from controlplane.config.reading import Document, ModelPart
from controlplane.domain.errors import Fault
from controlplane.domain.fleet import Sharing


def check_variants(part: ModelPart, document: Document) -> Iterator[Fault]:
    """Faults of a model whose workloads share its demand by cost."""
    if part.item.variants is not Sharing.BY_COST:
        return
    path = join(part.path, "variants")
    names = expand(part.item.runs_on, document.kinds)
    workloads = [found.item for found in document.workloads if found.item.name in names]
    if len(workloads) < 2 or len(workloads) < len(names) or any(item.replicas is None for item in workloads):
        yield Fault(path, "by_cost", "only on two or more workloads with replicas, and on nothing else")
    priced = [item.name for item in workloads if item.price is not None]
    if 0 < len(priced) < len(workloads):
        yield Fault(path, "by_cost", f"a price of each of its workloads or of none; {', '.join(priced)} has one")
    for other in document.models:
        shared = [name for name in expand(other.item.runs_on, names) if other is not part]
        if shared:
            yield Fault(path, "by_cost", f"workloads of its own; {other.item.name} runs on {', '.join(shared)} too")

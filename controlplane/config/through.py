"""What is asked of a Prometheus in place of a page: its checks, and the domain's value."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from controlplane.config.faults import join, one_of
from controlplane.config.reading import Part
from controlplane.config.tree import PrometheusItem, ThroughBlock
from controlplane.domain.errors import Fault
from controlplane.domain.fleet import Through


def check_through(path: str, block: ThroughBlock | None, prometheus: Sequence[Part[PrometheusItem]]) -> Iterator[Fault]:
    """Faults of meaning of a `through` at `path`."""
    sources = tuple(part.item.name for part in prometheus)
    if block is not None and block.prometheus not in sources:
        allowed = f"the name of an entry in prometheus: {one_of(block.prometheus, sources)}"
        yield Fault(join(path, "prometheus"), repr(block.prometheus), allowed)


def to_through(block: ThroughBlock | None) -> Through | None:
    """The domain's value."""
    return None if block is None else Through(block.prometheus, tuple(sorted(block.labels.items())))

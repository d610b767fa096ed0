"""What is asked of a Prometheus in place of a page: its checks, and the domain's value."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from controlplane.config.faults import join, one_of
from controlplane.config.reading import Part
from controlplane.config.target_items import PrometheusItem, ThroughBlock
from controlplane.domain.errors import Fault
from controlplane.domain.sources import Through

_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def check_through(path: str, block: ThroughBlock | None, prometheus: Sequence[Part[PrometheusItem]]) -> Iterator[Fault]:
    """Faults of meaning of a `through` at `path`."""
    sources = tuple(part.item.name for part in prometheus)
    if block is None:
        return
    if block.prometheus not in sources:
        allowed = f"the name of an entry in prometheus: {one_of(block.prometheus, sources)}"
        yield Fault(join(path, "prometheus"), repr(block.prometheus), allowed)
    if not block.labels:
        yield Fault(join(path, "labels"), "nothing", "at least one label, such as job")
    for label in (label for label in block.labels if not _LABEL.fullmatch(label)):
        yield Fault(join(path, "labels", label), repr(label), "letters, digits and '_', not starting with a digit")


def to_through(block: ThroughBlock | None) -> Through | None:
    """The domain's value."""
    return None if block is None else Through(block.prometheus, tuple(sorted(block.labels.items())))

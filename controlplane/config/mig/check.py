"""What the form of `mig` alone cannot tell: names that must meet, and times."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.config.faults import join, one_of, shown
from controlplane.config.reading import Document
from controlplane.config.units import format_duration
from controlplane.domain.errors import Fault
from controlplane.domain.fleet import Mode


def check_mig(document: Document) -> Iterator[Fault]:
    """Faults of meaning."""
    mig = document.root.mig
    if mig is None:
        return
    if mig.dwell < mig.every:
        yield Fault("mig.dwell", format_duration(mig.dwell), f"at least mig.every ({format_duration(mig.every)})")
    if mig.mode is Mode.ACT:
        yield Fault("mig.mode", "act", "observe or recommend: plans are carried out by `controlplane mig apply` only")
    agents = tuple(part.item.name for part in document.agents)
    for i, name in enumerate(mig.agents or ()):
        if name not in agents:
            yield Fault(join("mig.agents", i), shown(name), f"the name of an agent: {one_of(name, agents)}")
    models = tuple(part.item.name for part in document.models)
    first: dict[str, int] = {}
    for i, item in enumerate(mig.models):
        path = join("mig.models", i, "name")
        if item.name not in models:
            yield Fault(path, shown(item.name), f"the name of a model: {one_of(item.name, models)}")
        elif first.setdefault(item.name, i) != i:
            yield Fault(path, shown(item.name), f"each model once; mig.models[{first[item.name]}] is the same")

"""What an objective asks of a Prometheus, as written: its checks, and the domain's value."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from controlplane.config.faults import join, one_of
from controlplane.config.model_items import ObjectiveItem, RatioBlock
from controlplane.config.reading import Part
from controlplane.config.target_items import PrometheusItem
from controlplane.domain.errors import Fault
from controlplane.domain.objectives import CounterRatio, IndicatorSource, ValueRatio

_FORMS = "total with good or bad, or value with at_least or at_most"


def source_of(ratio: RatioBlock) -> IndicatorSource:
    """Where its events are counted."""
    return IndicatorSource.PROMETHEUS if ratio.value is None else IndicatorSource.VALUE_SLICES


def to_ratio(item: ObjectiveItem) -> CounterRatio | ValueRatio | None:
    """The domain's value; None where the item has none, or lacks what one needs (its checks say what)."""
    ratio = item.ratio
    if ratio is None or item.name is None:
        return None
    if ratio.value is not None:
        return ValueRatio(item.name, ratio.prometheus, ratio.value, ratio.at_least, ratio.at_most)
    if ratio.total is None:
        return None
    return CounterRatio(item.name, ratio.prometheus, ratio.total, ratio.good, ratio.bad)


def check_ratio(
    part: Part[ObjectiveItem], ratio: RatioBlock, prometheus: Sequence[Part[PrometheusItem]]
) -> Iterator[Fault]:
    """Faults of meaning of a ratio."""
    path, sources = join(part.path, "ratio"), tuple(source.item.name for source in prometheus)
    if part.item.name is None:
        yield Fault(join(part.path, "name"), "nothing", "it is required with ratio: it names the objective")
    if ratio.prometheus not in sources:
        allowed = f"the name of an entry in prometheus: {one_of(ratio.prometheus, sources)}"
        yield Fault(join(path, "prometheus"), repr(ratio.prometheus), allowed)
    given = {key for key in ("total", "good", "bad", "value") if getattr(ratio, key) is not None}
    if given not in ({"total", "good"}, {"total", "bad"}, {"value"}):
        yield Fault(path, " and ".join(sorted(given)) or "nothing", _FORMS)
    bounds = {key for key in ("at_least", "at_most") if getattr(ratio, key) is not None}
    if given == {"value"} and len(bounds) != 1:
        yield Fault(path, " and ".join(sorted(bounds)) or "nothing", "exactly one of: at_least, at_most")
    elif "value" not in given:
        for key in sorted(bounds):
            yield Fault(join(path, key), "this key", "only with value; counters have their good or bad events")
    for key, text in (("source", part.item.source), ("gateway", part.item.gateway)):
        if text is not None:
            yield Fault(join(part.path, key), repr(str(text)), "not with ratio; leave it out")

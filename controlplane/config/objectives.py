"""One objective as written: its checks, and the domain's value."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from controlplane.config.faults import join, one_of
from controlplane.config.gateways import to_gateway
from controlplane.config.model_items import ModelItem, ObjectiveItem
from controlplane.config.probes import tells_ttft
from controlplane.config.ratios import check_ratio, source_of, to_ratio
from controlplane.config.reading import Part
from controlplane.config.target_items import GatewayItem, PrometheusItem
from controlplane.domain.errors import Fault
from controlplane.domain.fleet import COMPLETIONS, ServerKind
from controlplane.domain.mapping import MAPPED_INDICATORS, PageMapping
from controlplane.domain.objectives import NOMINAL_S, Calendar, Indicator, IndicatorSource, Objective, Period
from controlplane.domain.sources import GatewaySpec

_SOURCES = {
    (ServerKind.TRITON, Indicator.AVAILABILITY): (IndicatorSource.SERVER, IndicatorSource.GATEWAY),
    (ServerKind.TRITON, Indicator.LATENCY): (
        IndicatorSource.GATEWAY,
        IndicatorSource.PROBE,
        IndicatorSource.MEAN_SLICES,
    ),
    (ServerKind.TRITON, Indicator.TTFT): (IndicatorSource.SERVER,),
    (ServerKind.VLLM, Indicator.AVAILABILITY): (IndicatorSource.SERVER,),
    **{(ServerKind.VLLM, indicator): (IndicatorSource.SERVER,) for indicator in MAPPED_INDICATORS},
    (ServerKind.TRITON, Indicator.THROUGHPUT): (IndicatorSource.RATE_SLICES,),
    (ServerKind.VLLM, Indicator.THROUGHPUT): (IndicatorSource.RATE_SLICES,),
    (ServerKind.VLLM, Indicator.TOKEN_THROUGHPUT): (IndicatorSource.RATE_SLICES,),
}
_TIMED = frozenset({Indicator.LATENCY, *MAPPED_INDICATORS})
_FLOORS = frozenset({Indicator.THROUGHPUT, Indicator.TOKEN_THROUGHPUT})
PROBED_INDICATORS = frozenset({Indicator.LATENCY, Indicator.TTFT, Indicator.E2E})
"""What probes with completions measure: the time to the whole answer, by both its names, and to the first token."""
_OWN_READERS = frozenset({ServerKind.TRITON, ServerKind.VLLM})


@dataclass(frozen=True, slots=True)
class Where:
    """What decides which objectives a model can have: the kind of its servers, or what may be it, and the rest."""

    kinds: Collection[ServerKind]
    mappings: Sequence[PageMapping]
    gateways: Sequence[Part[GatewayItem]]
    prometheus: Sequence[Part[PrometheusItem]]


def to_objective(item: ObjectiveItem) -> Objective | None:
    """The domain's objective; None where the item lacks what one needs (its checks say what)."""
    given = _indicators(item)
    target = item.availability if item.availability is not None else item.target
    if len(given) != 1 or target is None:
        return None
    indicator = given[0]
    source, ratio = item.source or _usual_source(item, indicator), to_ratio(item)
    if source is None or (indicator is Indicator.RATIO and ratio is None):
        return None
    calendar = Calendar(item.window, item.timezone or ZoneInfo("UTC")) if isinstance(item.window, Period) else None
    return Objective(
        indicator,
        target,
        NOMINAL_S[item.window] if isinstance(item.window, Period) else item.window,
        source,
        calendar=calendar,
        threshold_s=getattr(item, indicator.value) if indicator in _TIMED else None,
        gateway=item.gateway or "",
        floor_per_s=getattr(item, indicator.value) if indicator in _FLOORS else None,
        ratio=ratio,
        model_version=item.version or "",
    )


def _usual_source(item: ObjectiveItem, indicator: Indicator) -> IndicatorSource | None:
    """The source where none is named; None where one has to be."""
    if indicator is Indicator.LATENCY:
        return None
    if item.ratio is not None:
        return source_of(item.ratio)
    return IndicatorSource.RATE_SLICES if indicator in _FLOORS else IndicatorSource.SERVER


def check_objective(part: Part[ObjectiveItem], model: ModelItem, where: Where) -> Iterator[Fault]:
    """Faults of meaning of one objective of a model."""
    item, given = part.item, _indicators(part.item)
    yield from _check_window(part)
    if len(given) != 1:
        value = " and ".join(i.value for i in given) or "nothing"
        yield Fault(part.path, value, f"exactly one of: {', '.join(i.value for i in Indicator)}")
        return
    indicator = given[0]
    if indicator is Indicator.AVAILABILITY and item.target is not None:
        yield Fault(join(part.path, "target"), f"{item.target:g}", "availability is its own target; leave it out")
    if indicator is not Indicator.AVAILABILITY and item.target is None:
        yield Fault(join(part.path, "target"), "nothing", "it is required, such as 99%")
    if indicator is not Indicator.RATIO and item.name is not None:
        yield Fault(join(part.path, "name"), repr(item.name), "only with ratio; leave it out")
    yield from _check_version(part, indicator, where)
    if item.ratio is not None:
        yield from check_ratio(part, item.ratio, where.prometheus)
        return
    allowed = _sources(indicator, where)
    if not allowed:
        known = ", ".join(i.value for i in Indicator if _sources(i, where))
        kinds = " or ".join(kind.value for kind in where.kinds)
        yield Fault(join(part.path, indicator.value), "this key", f"one of {known} for a model on {kinds}")
        return
    yield from _check_source(part, indicator, allowed, model, where.gateways)


def _check_window(part: Part[ObjectiveItem]) -> Iterator[Fault]:
    window, zone = part.item.window, part.item.timezone
    if isinstance(window, Period):
        return
    if zone is not None:
        periods = ", ".join(Period)
        yield Fault(
            join(part.path, "timezone"), repr(zone.key), f"only with a window of the calendar ({periods}); leave it out"
        )


def _check_version(part: Part[ObjectiveItem], indicator: Indicator, where: Where) -> Iterator[Fault]:
    version, path = part.item.version, join(part.path, "version")
    if version is None:
        return
    if ServerKind.TRITON not in where.kinds:
        yield Fault(path, repr(version), "only for models on Triton; other servers tell no versions")
    elif indicator is not Indicator.AVAILABILITY or part.item.source not in {None, IndicatorSource.SERVER}:
        yield Fault(path, repr(version), "only with availability by the server, which alone tells versions apart")


def _sources(indicator: Indicator, where: Where) -> tuple[IndicatorSource, ...]:
    """Where the events of an indicator can be counted."""
    if indicator is Indicator.RATIO:
        return (IndicatorSource.PROMETHEUS, IndicatorSource.VALUE_SLICES)
    found = [source for kind in where.kinds for source in _SOURCES.get((kind, indicator), ())]
    if not _OWN_READERS.issuperset(where.kinds):
        if where.mappings and all(_tells(mapping, indicator) for mapping in where.mappings):
            found.append(IndicatorSource.RATE_SLICES if indicator in _FLOORS else IndicatorSource.SERVER)
        if indicator in {Indicator.AVAILABILITY, Indicator.LATENCY}:
            found.append(IndicatorSource.GATEWAY)
    if indicator in PROBED_INDICATORS and COMPLETIONS & set(where.kinds):
        found.append(IndicatorSource.PROBE)
    return tuple(dict.fromkeys(found))


def _tells(mapping: PageMapping, indicator: Indicator) -> bool:
    if indicator is Indicator.AVAILABILITY:
        return mapping.tells_failures
    if indicator is Indicator.THROUGHPUT:
        return bool(mapping.outcomes.success) and mapping.pending is not None
    return indicator in dict(mapping.histograms)


def _check_source(
    part: Part[ObjectiveItem],
    indicator: Indicator,
    allowed: tuple[IndicatorSource, ...],
    model: ModelItem,
    gateways: Sequence[Part[GatewayItem]],
) -> Iterator[Fault]:
    path, source = join(part.path, "source"), part.item.source
    names = ", ".join(s.value for s in allowed)
    named = [to_gateway(gateway) for gateway in gateways if part.item.gateway in {None, gateway.item.name}]
    if source is None and indicator is Indicator.LATENCY:
        yield Fault(path, "nothing", f"one of {names}: the server itself exports no histogram of it")
    elif source is None and _usual_source(part.item, indicator) not in allowed:
        yield Fault(path, "nothing", f"one of {names}: the server itself does not tell it")
    elif source is not None and source not in allowed:
        yield Fault(path, repr(source.value), f"one of {names} for {indicator.value} on this kind of server")
    elif source is IndicatorSource.PROBE and model.probe is None:
        yield Fault(path, "'probe'", "needs the model's probe, such as probe: {every: 30s}")
    elif (
        source is IndicatorSource.PROBE and model.probe and indicator is Indicator.TTFT and not tells_ttft(model.probe)
    ):
        yield Fault(path, "'probe'", "needs a streamed answer: stream: true in the probe's body")
    elif source is IndicatorSource.GATEWAY and not gateways:
        yield Fault(path, "'gateway'", "needs an entry in gateways")
    elif source is IndicatorSource.GATEWAY:
        yield from _check_gateway(part, indicator, gateways, named)
    elif part.item.gateway is not None:
        yield Fault(join(part.path, "gateway"), repr(part.item.gateway), "only with source: gateway; leave it out")


def _check_gateway(
    part: Part[ObjectiveItem], indicator: Indicator, gateways: Sequence[Part[GatewayItem]], named: Sequence[GatewaySpec]
) -> Iterator[Fault]:
    path, names = join(part.path, "gateway"), tuple(gateway.item.name for gateway in gateways)
    if not named:
        yield Fault(path, repr(part.item.gateway), f"the name of a gateway: {one_of(part.item.gateway, names)}")
    elif indicator is Indicator.AVAILABILITY and not any(gateway.code_label for gateway in named):
        yield Fault(
            join(part.path, "source"), "'gateway'", "needs a gateway with code_label: without it no error is seen"
        )
    elif len({gateway.histogram for gateway in named}) > 1:
        allowed = f"one of {', '.join(names)}: they are of different kinds, and may count one request twice"
        yield Fault(path, "nothing", allowed)


def _indicators(item: ObjectiveItem) -> list[Indicator]:
    return [indicator for indicator in Indicator if getattr(item, indicator.value) is not None]

"""Schedules and announced events as they are written, their checks, and the domain's values."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from pydantic import Field

from controlplane.config.block import Block
from controlplane.config.bounds import WarmFor
from controlplane.config.faults import join, one_of
from controlplane.config.units import Cron, Moment, Name, Rate, Whole, Zone
from controlplane.domain.errors import Fault
from controlplane.domain.expected import Announced, Schedule
from controlplane.domain.fleet import MOST_REPLICAS

_UTC = ZoneInfo("UTC")


class ScheduleItem(Block):
    """A warm minimum: so many are there from each time of a cron schedule, for a while. Prepared ahead."""

    cron: Cron = Field(
        description="Minute, hour, day of month, month and day of week at which it begins; all of them must match."
    )
    timezone: Zone | None = Field(default=None, description="Where the times of `cron` are told; default: UTC.")
    lasts: WarmFor = Field(description="How long it holds.")
    min: Whole = Field(
        ge=1, le=MOST_REPLICAS, description="Fewest replicas, or instances per server; at most the max of the bounds."
    )


class EventItem(Block):
    """Demand that will come. Exactly one of `model` and `workload`, at least one of `factor` and `rate` is given."""

    name: Name = Field(description="Unique among events.")
    model: Name | None = Field(default=None, description="The model that it comes to.")
    workload: Name | None = Field(default=None, description="The workload that it comes to.")
    start: Moment = Field(description="When it begins.")
    end: Moment = Field(description="When it is over.")
    factor: float | None = Field(default=None, gt=1, le=1000, description="So many times what there was before it.")
    rate: Rate | None = Field(default=None, description="Requests that come then, on all servers together.")


def check_schedules(items: Sequence[ScheduleItem], path: str, most: int | None, bounds: str) -> Iterator[Fault]:
    """Faults of the schedules at `path`, over bounds called `bounds` whose max is `most`; None: there are none."""
    if items and most is None:
        yield Fault(path, "schedules", f"only together with {bounds}")
    for i, item in enumerate(items):
        if most is not None and item.min > most:
            yield Fault(join(path, i, "min"), str(item.min), f"at most {bounds}.max, {most}")


def check_events(
    events: Mapping[str, EventItem], models: Collection[str], workloads: Collection[str]
) -> Iterator[Fault]:
    """Faults of meaning of all events, which are by path."""
    first: dict[str, str] = {}
    for path, item in events.items():
        if item.name in first:
            allowed = f"a name that is unique among events; {first[item.name]} has it already"
            yield Fault(join(path, "name"), repr(item.name), allowed)
        first.setdefault(item.name, path)
        if (item.model is None) == (item.workload is None):
            given = "nothing" if item.model is None else "model and workload"
            yield Fault(path, given, "exactly one of: model, workload")
        for key, name, known in (("model", item.model, models), ("workload", item.workload, workloads)):
            if name is not None and name not in known:
                yield Fault(join(path, key), repr(name), f"the name of a {key}: {one_of(name, tuple(known))}")
        if item.factor is None and item.rate is None:
            yield Fault(path, "nothing", "at least one of: factor, rate")
        if item.end <= item.start:
            yield Fault(join(path, "end"), datetime.fromtimestamp(item.end, UTC).isoformat(), "later than start")


def to_schedules(items: Sequence[ScheduleItem]) -> tuple[Schedule, ...]:
    """The domain's schedules."""
    return tuple(Schedule(item.cron, item.timezone or _UTC, item.lasts, item.min) for item in items)


def to_announced(items: Iterable[EventItem]) -> tuple[Announced, ...]:
    """The domain's announced events."""
    return tuple(
        Announced(
            item.name,
            item.name,
            item.model or item.workload or "",
            item.start,
            item.end,
            item.factor or 1.0,
            item.rate or 0.0,
        )
        for item in items
    )

"""Between the readings and the store: which slices and minutes are closed now, each exactly once."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, replace
from operator import attrgetter

from controlplane.domain.fleet import Fleet, ModelSpec, Phase
from controlplane.domain.history import BUCKETS_S, BucketRow, SketchRow
from controlplane.domain.objectives import SLICE_S, Slice
from controlplane.domain.observation import FleetReading, Interval, LatencyInterval
from controlplane.domain.records import Trace, Unclosed
from controlplane.domain.signal import Known, Missing
from controlplane.slo.grace import Grace
from controlplane.slo.indicators import close_slices, gateways_in
from controlplane.slo.minutes import close_minutes
from controlplane.slo.pressure import Spans

# Readings do not reach further back: after a long sleep or a clock set forward there is nothing to be written.
_REACH_S = 3600.0


@dataclass(frozen=True, slots=True)
class Closed:
    """What was not given before: slices, and histograms of the minutes whose slices are all closed now."""

    slices: tuple[Slice, ...] = ()
    histograms: tuple[BucketRow | SketchRow, ...] = ()


class SliceWriter:
    """Closes 10 s slices once their readings are in: a grace after their end, each exactly once; minutes with them.

    Intervals must reach into a slice's last moment before it is closed, so the grace covers a scrape interval and
    timeout of the slowest source of a model.
    """

    def __init__(self, grace: Grace) -> None:
        self._grace = grace
        self._graces: tuple[Fleet, Mapping[str, float]] = (Fleet((), ()), {})
        self.closed_until: Mapping[str, float] = {}
        """By model: slices that end by then were given; to set it back has them given anew."""
        self._begun = 0.0
        self._before = Unclosed()

    def begin(self, now: float, before: Unclosed) -> None:
        """Go on after what an earlier run closed, with what it had read and not closed; the time between is unmeasured.

        Without one (or with one from the future, of a clock that was set back) start with the slice that `now` is in.
        """
        self._begun = math.floor(now / SLICE_S) * SLICE_S
        self._before = Unclosed({name: _not_ahead(trace, now) for name, trace in before.traces.items()})
        self.closed_until = {
            name: trace.closed_until for name, trace in before.traces.items() if 0.0 < trace.closed_until <= self._begun
        }

    def grace_s(self, fleet: Fleet) -> Mapping[str, float]:
        """How long after its end a slice is closed, by model."""
        if fleet is not self._graces[0]:
            self._graces = (fleet, self._grace.of_models(fleet))
        return self._graces[1]

    def part(self, fleet: Fleet, left: FleetReading) -> None:
        """Keep what was read of servers that leave until the slices it was read in are closed."""
        traces = dict(self._before.traces)
        for model in fleet.models:
            trace = _trace(model, tuple(left.servers), left)
            traces[model.name] = _open(_joined(traces.get(model.name, Trace()), trace), self._until(model.name))
        self._before = Unclosed(traces)

    def close(
        self, fleet: Fleet, reading: FleetReading, now: float, strained: Mapping[str, Spans] | None = None
    ) -> Closed:
        """The slices of every objective that ended at least its grace ago and were not given before, and the minutes.

        `strained` by model: times in which demand was near capacity.
        """
        ends = {name: math.floor((now - s) / SLICE_S) * SLICE_S for name, s in self.grace_s(fleet).items()}
        due = [model for model in fleet.models if ends[model.name] > self._until(model.name)]
        if not due:
            return Closed()
        traces = self._traces(fleet, reading)
        slices: list[Slice] = []
        minutes: list[BucketRow | SketchRow] = []
        for model in due:
            until = ends[model.name]
            since = max(self._until(model.name), until - _REACH_S)
            there, trace = _there(fleet, model, traces[model.name]), _since(traces[model.name], since)
            slices += close_slices(
                model,
                trace.servers,
                trace.latencies,
                trace.probes,
                since=since,
                until=until,
                there=there,
                strained=(strained or {}).get(model.name, ()),
                ratios=trace.ratios,
                gateways=dict(trace.gateways),
            )
            if _minute(since) < _minute(until):
                minutes += close_minutes(
                    model.name, trace.latencies, trace.probes, since=_minute(since), until=_minute(until)
                )
        self.closed_until = {**self.closed_until, **{model.name: ends[model.name] for model in due}}
        return Closed(tuple(slices), tuple(minutes))

    def unclosed(self, fleet: Fleet, reading: FleetReading) -> Unclosed:
        """What was read and is in no closed slice or minute yet, for whoever goes on after a crash."""
        self._before = Unclosed(self._opened(self._before.traces))
        return Unclosed(self._opened(self._traces(fleet, reading)))

    def _until(self, model: str) -> float:
        return self.closed_until.get(model, self._begun)

    def _opened(self, traces: Mapping[str, Trace]) -> dict[str, Trace]:
        """What is in no closed slice, with how far they are closed."""
        until = {name: self._until(name) for name in traces}
        return {name: replace(_open(trace, until[name]), closed_until=until[name]) for name, trace in traces.items()}

    def _traces(self, fleet: Fleet, reading: FleetReading) -> dict[str, Trace]:
        traces = {
            model.name: _joined(self._before.traces.get(model.name, Trace()), _trace(model, model.runs_on, reading))
            for model in fleet.models
        }
        names = {gateway.name for gateway in fleet.gateways}
        return {
            model: replace(trace, gateways=tuple(_counting(trace, names, reading))) for model, trace in traces.items()
        }


def _counting(trace: Trace, names: Container[str], reading: FleetReading) -> Iterator[tuple[str, float]]:
    """The gateways of the fleet that count requests of a model, each since when: also one that cannot be read now.

    One that can, and gives nothing of the model, was taken out of its way.
    """
    told = gateways_in(trace.latencies)
    for name, since in (told | dict(trace.gateways)).items():
        if name in names and (name in told or not isinstance(reading.gateways.get(name), Known)):
            yield name, since


def _trace(model: ModelSpec, servers: tuple[str, ...], reading: FleetReading) -> Trace:
    """What the reading holds of a model on these servers."""
    return Trace(
        _intervals(reading, model.name, servers),
        reading.latencies.get(model.name, ()),
        reading.probes.get(model.name, ()),
        tuple(interval for ratio in reading.ratios.get(model.name, {}).values() for interval in ratio.intervals),
    )


def _there(fleet: Fleet, model: ModelSpec, trace: Trace) -> dict[str, tuple[float, float]]:
    """From when to when each server was there for users, by name; those that always were are left out.

    A discovered one serves from when it was ready, or was read first. Of one that is not ready, that terminates or has
    left, only what was read counts.
    """
    there: dict[str, tuple[float, float]] = {}
    for server, intervals in trace.servers:
        member = fleet.members.get(server)
        if server in model.runs_on and member is None:
            continue
        first, last = (intervals[0].start, intervals[-1].end) if intervals else (math.inf, -math.inf)
        if server in model.runs_on and member is not None and member.phase is Phase.READY:
            begun = member.ready_at or member.created_at or -math.inf
            there[server] = (min(begun, first), math.inf)
        else:
            there[server] = (first, last)
    return there


def _joined(before: Trace, now: Trace) -> Trace:
    """What was read before, by an earlier run or of servers that have left, and what is read now."""
    servers = dict(now.servers)
    for server, intervals in before.servers:
        servers[server] = (*intervals, *servers.get(server, ()))
    return Trace(
        tuple(servers.items()),
        (*before.latencies, *now.latencies),
        (*before.probes, *now.probes),
        (*before.ratios, *now.ratios),
        before.gateways,
    )


def _not_ahead(trace: Trace, now: float) -> Trace:
    """A trace without what ends after `now`, and without all where slices are closed further than that."""
    gateways = tuple((name, min(at, now)) for name, at in trace.gateways)
    if trace.closed_until > now:
        return Trace(gateways=gateways)
    return Trace(
        tuple((server, tuple(i for i in intervals if i.end <= now)) for server, intervals in trace.servers),
        tuple(i for i in trace.latencies if i.end <= now),
        tuple(p for p in trace.probes if p.at <= now),
        tuple(r for r in trace.ratios if r.end <= now),
        gateways,
        trace.closed_until,
    )


def _since(trace: Trace, at: float) -> Trace:
    """The part of a trace that slices from `at` on, and the minute that holds `at`, are made of."""
    minute = _minute(at)
    return Trace(
        tuple((server, _newest(intervals, at)) for server, intervals in trace.servers),
        tuple(i for i in trace.latencies if i.end >= minute),
        tuple(p for p in trace.probes if p.at >= minute),
        tuple(r for r in trace.ratios if r.end >= at),
        trace.gateways,
    )


def _minute(at: float) -> float:
    return math.floor(at / BUCKETS_S) * BUCKETS_S


def _newest(intervals: tuple[Interval, ...], at: float) -> tuple[Interval, ...]:
    """Those of one server that end at `at` or later. They are in order, and most are in slices closed long ago."""
    return intervals[bisect_left(intervals, at, key=attrgetter("end")) :]


def _open(trace: Trace, at: float) -> Trace:
    """The part of a trace from `at` on, without servers of which nothing was read; the open minute before it summed."""
    kept = _since(trace, at)
    return Trace(
        tuple((server, intervals) for server, intervals in kept.servers if intervals),
        _summed(kept.latencies, at),
        kept.probes,
        kept.ratios,
        kept.gateways,
    )


def _summed(latencies: tuple[LatencyInterval, ...], at: float) -> tuple[LatencyInterval, ...]:
    """The same for the minute that holds `at`: one of each kind in place of all that ended before `at`."""
    alike: dict[tuple[object, ...], list[LatencyInterval]] = {}
    for new in latencies:
        if new.end < at:
            alike.setdefault((new.indicator, new.gateway, new.edges), []).append(new)
    sums = (
        replace(
            several[0],
            start=min(i.start for i in several),
            end=max(i.end for i in several),
            counts=tuple(map(sum, zip(*(i.counts for i in several), strict=True))),
            errors=sum(i.errors for i in several),
        )
        for several in alike.values()
    )
    return (*sums, *(new for new in latencies if new.end >= at))


def _intervals(
    reading: FleetReading, model: str, servers: tuple[str, ...]
) -> tuple[tuple[str, tuple[Interval, ...]], ...]:
    """The intervals of each server, also of those that went stale: what was measured stays measured."""
    found = []
    for name in servers:
        entry = reading.servers.get(name)
        signal = entry.models.get(model) if entry is not None else None
        found.append((name, () if signal is None or isinstance(signal, Missing) else signal.value.intervals))
    return tuple(found)

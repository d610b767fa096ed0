"""Between the readings and the judgement: which slices are closed now, and what the kept ones say."""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import replace
from operator import attrgetter

from controlplane.domain.fleet import Fleet, ModelSpec, Phase
from controlplane.domain.objectives import SLICE_S, Counts, Judgement, Objective, Slice
from controlplane.domain.observation import FleetReading, Interval
from controlplane.domain.ports import Store, Trace, Unclosed
from controlplane.domain.signal import Missing
from controlplane.slo.budget import judge
from controlplane.slo.indicators import close_slices

_BURN_WINDOWS_S = (300.0, 3600.0, 21600.0)
# Readings do not reach further back: after a long sleep or a clock set forward there is nothing to be written.
_REACH_S = 3600.0


class SliceWriter:
    """Closes 10 s slices once their readings are in: `grace_s` after their end, each exactly once.

    Intervals must reach into a slice's last moment before it is closed, so the grace covers a scrape interval and
    timeout.
    """

    def __init__(self, grace_s: float) -> None:
        self._grace_s = grace_s
        self._closed_until = 0.0
        self._before = Unclosed()

    def begin(self, now: float, before: Unclosed) -> None:
        """Go on after what an earlier run closed, with what it had read and not closed; the time between is unmeasured.

        Without one (or with one from the future) start with the slice that `now` is in.
        """
        here = math.floor(now / SLICE_S) * SLICE_S
        self._before = before
        self._closed_until = before.closed_until if 0.0 < before.closed_until <= here else here

    def part(self, fleet: Fleet, left: FleetReading) -> None:
        """Keep what was read of servers that leave until the slices it was read in are closed."""
        traces = dict(self._before.traces)
        for model in fleet.models:
            trace = _trace(model, tuple(left.servers), left)
            traces[model.name] = _read(_since(_joined(traces.get(model.name, Trace()), trace), self._closed_until))
        self._before = Unclosed(self._closed_until, traces)

    def close(self, fleet: Fleet, reading: FleetReading, now: float) -> tuple[Slice, ...]:
        """The slices of every objective that ended at least the grace ago and were not given before."""
        until = math.floor((now - self._grace_s) / SLICE_S) * SLICE_S
        if until <= self._closed_until:
            return ()
        since, traces = max(self._closed_until, until - _REACH_S), self._traces(fleet, reading)
        self._closed_until = until
        slices: list[Slice] = []
        for model in fleet.models:
            there, trace = _there(fleet, model, traces[model.name]), _since(traces[model.name], since)
            slices += close_slices(
                model, trace.servers, trace.latencies, trace.probes, since=since, until=until, there=there
            )
        return tuple(slices)

    def unclosed(self, fleet: Fleet, reading: FleetReading) -> Unclosed:
        """What was read and is in no closed slice yet, for whoever goes on after a crash."""
        after = self._closed_until
        self._before = Unclosed(
            after, {name: _read(_since(trace, after)) for name, trace in self._before.traces.items()}
        )
        traces = self._traces(fleet, reading)
        return Unclosed(after, {name: _read(_since(trace, after)) for name, trace in traces.items()})

    def _traces(self, fleet: Fleet, reading: FleetReading) -> dict[str, Trace]:
        return {
            model.name: _joined(self._before.traces.get(model.name, Trace()), _trace(model, model.runs_on, reading))
            for model in fleet.models
        }


def _trace(model: ModelSpec, servers: tuple[str, ...], reading: FleetReading) -> Trace:
    """What the reading holds of a model on these servers."""
    return Trace(
        _intervals(reading, model.name, servers),
        reading.latencies.get(model.name, ()),
        reading.probes.get(model.name, ()),
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
    )


def _since(trace: Trace, at: float) -> Trace:
    """The part of a trace that ends at `at` or later: what slices from `at` on are made of."""
    return Trace(
        tuple((server, _newest(intervals, at)) for server, intervals in trace.servers),
        tuple(i for i in trace.latencies if i.end >= at),
        tuple(p for p in trace.probes if p.at >= at),
    )


def _newest(intervals: tuple[Interval, ...], at: float) -> tuple[Interval, ...]:
    """Those of one server that end at `at` or later. They are in order, and most are in slices closed long ago."""
    return intervals[bisect_left(intervals, at, key=attrgetter("end")) :]


def _read(trace: Trace) -> Trace:
    """The same without servers of which nothing was read."""
    return replace(trace, servers=tuple((server, intervals) for server, intervals in trace.servers if intervals))


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


def judge_fleet(fleet: Fleet, store: Store, now: float) -> dict[str, tuple[Judgement, ...]]:
    """Every objective of every model, judged over its window by the slices kept."""
    windows_s = {objective.window_s for model in fleet.models for objective in model.objectives}
    counts = {window_s: store.all_counts(now - window_s, now) for window_s in windows_s.union(_BURN_WINDOWS_S)}

    def judged(model: str, objective: Objective) -> Judgement:
        window, *burns = (
            counts[window_s].get((model, objective.key), Counts())
            for window_s in (objective.window_s, *_BURN_WINDOWS_S)
        )
        return judge(model, objective, window, burn_5m=burns[0], burn_1h=burns[1], burn_6h=burns[2])

    return {model.name: tuple(judged(model.name, o) for o in model.objectives) for model in fleet.models}

"""A made-up fleet of many models under load, as one reading."""

from __future__ import annotations

import random
from dataclasses import replace

from controlplane.domain.decision import Decision
from controlplane.domain.fleet import Fleet, Mode, ModelSpec, ServerKind, ServerSpec, Wake
from controlplane.domain.history import BUCKETS_S, BucketRow
from controlplane.domain.objectives import SLICE_S, Counts, Indicator, IndicatorSource, Judgement, Objective, Slice
from controlplane.domain.observation import (
    BatchCount,
    ControlMode,
    FleetReading,
    Interval,
    LatencyInterval,
    ModelReading,
    ModelState,
    ServerReading,
)
from controlplane.domain.records import TickRecord, Trace, Unclosed
from controlplane.domain.signal import Known
from controlplane.domain.snapshot import Snapshot
from controlplane.domain.state import PolicyState

START = 1_700_000_000.0
SCRAPE_S = 5.0
_PER_SERVER = 10
_INTERVALS = 24
_GOAL = Objective(Indicator.LATENCY, 0.99, 28 * 86400.0, IndicatorSource.GATEWAY, 0.2)
_EDGES = tuple(0.005 * 1.5**i for i in range(16))
_UP = Objective(Indicator.AVAILABILITY, 0.999, 28 * 86400.0, IndicatorSource.SERVER)


def snapshot(models: int, now: float, seed: int = 1) -> Snapshot:
    """`models` models, ten on each server, each with two minutes of readings and two judged objectives."""
    source = random.Random(seed)
    names = [f"model-{i}" for i in range(models)]
    servers = [f"triton-{i}" for i in range(-(-models // _PER_SERVER))]
    specs = tuple(
        ModelSpec(name, name, (servers[i // _PER_SERVER],), Mode.ACT, (_GOAL, _UP), 1, 8, 1800.0, Wake(ensure=True))
        for i, name in enumerate(names)
    )
    fleet = Fleet(tuple(ServerSpec(s, ServerKind.TRITON, f"http://{s}:8000", "", f"{s}:8001") for s in servers), specs)
    readings = {
        s: ServerReading(
            s,
            Known(value=True, observed_at=now),
            Known(ControlMode.EXPLICIT, now),
            1,
            {m.name: Known(_reading(source, now), now) for m in specs if s in m.runs_on},
        )
        for s in servers
    }
    judged = {name: tuple(_judgement(name, o) for o in (_GOAL, _UP)) for name in names}
    return Snapshot(fleet, FleetReading(now, readings, {}, {}, Known((), now)), judged)


def tick_record(world: Snapshot, decisions: tuple[Decision, ...], state: PolicyState, now: float) -> TickRecord:
    """What a tick writes for that fleet: closed slices and minutes, the decisions, the state, and what is not closed.

    Two slices of each objective, a minute of each histogram.
    """
    newest = (now - 20.0) // SLICE_S * SLICE_S
    slices = tuple(
        Slice(m.name, o.key, start, 500, 2, 1, SLICE_S, SLICE_S, o.version)
        for m in world.fleet.models
        for o in m.objectives
        for start in (newest - SLICE_S, newest)
    )
    minute = now // BUCKETS_S * BUCKETS_S - BUCKETS_S
    histograms = tuple(
        BucketRow(m.name, Indicator.LATENCY, "gateway", minute, _EDGES, tuple(range(len(_EDGES) + 1)))
        for m in world.fleet.models
    )
    traces = {m.name: replace(_trace(m, world), closed_until=newest + SLICE_S) for m in world.fleet.models}
    return TickRecord(now, slices, decisions, (), state, Unclosed(traces), histograms)


def _trace(model: ModelSpec, world: Snapshot) -> Trace:
    """Of the last four rounds, and the sum of the open minute."""
    newest = world.reading.servers[model.runs_on[0]].models[model.name]
    intervals = newest.value.intervals[-4:] if isinstance(newest, Known) else ()
    counts = tuple(range(len(_EDGES) + 1))
    latencies = tuple(
        LatencyInterval(Indicator.LATENCY, i.start, i.end, _EDGES, counts, gateway="gateway") for i in intervals
    )
    return Trace(((model.runs_on[0], intervals),), (*latencies, *latencies[:1]))


def _reading(source: random.Random, now: float) -> ModelReading:
    instances, per_s = source.randint(1, 4), source.uniform(5, 200)
    intervals = tuple(
        _interval(now - (_INTERVALS - k) * SCRAPE_S, instances, per_s * source.uniform(0.9, 1.1))
        for k in range(_INTERVALS)
    )
    return ModelReading(
        ModelState.READY,
        instances=Known(instances, now),
        max_batch_size=8,
        dynamic_batching=True,
        pending=Known(0, now),
        intervals=intervals,
    )


def _interval(start: float, instances: int, per_s: float) -> Interval:
    done = int(per_s * SCRAPE_S)
    batches = tuple(
        BatchCount(b, max(1, done // (4 * b)), max(1, done // (4 * b)) * (0.003 + 0.014 * b)) for b in (1, 2, 4, 8)
    )
    return Interval(
        start, start + SCRAPE_S, done, 0, 0, 0, 0, done * 0.05, done * 0.01, 0, 0, 8 * instances, instances, batches
    )


def _judgement(model: str, objective: Objective) -> Judgement:
    return Judgement(model, objective, Counts(990, 10, 0, 600.0, 600.0), 0.99, 0.99, 0.5, 0.8, 0.9, 1.0)

"""A tick of a large fleet: what many servers did for each of a few models, closed and written."""

from __future__ import annotations

import time
from dataclasses import replace

from bench.history_fill import OBJECTIVES
from controlplane.domain.fleet import Fleet, Mode, ModelSpec, ServerKind, ServerSpec
from controlplane.domain.objectives import Indicator
from controlplane.domain.observation import (
    ControlMode,
    FleetReading,
    Interval,
    LatencyInterval,
    ModelReading,
    ModelState,
    ServerReading,
)
from controlplane.domain.records import TickRecord
from controlplane.domain.signal import Known, Missing
from controlplane.domain.state import PolicyState
from controlplane.loop.history import SliceWriter
from controlplane.slo.grace import Grace
from controlplane.store import SqlStore

SERVERS = 1000
MODELS = 20
START = 1_700_000_000.0
SCRAPE_S, TICK_S, TIMEOUT_S = 5.0, 15.0, 2.0
_KEPT = 60
_TICKS = 5
_EDGES = tuple(0.005 * 1.5**i for i in range(16))


def ingest_s(store: SqlStore) -> tuple[float, float]:
    """Seconds of closing slices and of writing them, of the fastest tick, with what is not closed yet."""
    names = [f"server-{i}" for i in range(SERVERS)]
    models = tuple(
        ModelSpec(f"model-{i}", f"model-{i}", tuple(names), Mode.OBSERVE, objectives=OBJECTIVES) for i in range(MODELS)
    )
    fleet = Fleet(tuple(ServerSpec(name, ServerKind.TRITON, "", "") for name in names), models)
    writer = SliceWriter(Grace(SCRAPE_S, TIMEOUT_S))
    best = (float("inf"), float("inf"))
    for tick in range(_TICKS):
        now = START + tick * TICK_S
        reading = _reading(fleet, now)
        if tick == 0:
            writer.begin(now, writer.unclosed(fleet, reading))
            continue
        began = time.perf_counter()
        closed = writer.close(fleet, reading, now)
        unclosed = writer.unclosed(fleet, reading)
        closed_at = time.perf_counter()
        record = TickRecord(now, closed.slices, (), (), PolicyState(), unclosed, closed.histograms)
        store.write_tick(record)
        best = min(best, (closed_at - began, time.perf_counter() - closed_at), key=sum)
    store.close()
    return best


def _reading(fleet: Fleet, now: float) -> FleetReading:
    """Five minutes of every model on every server. They are the same objects for all servers, to save memory."""
    times = [now - (_KEPT - k) * SCRAPE_S for k in range(_KEPT)]
    intervals = tuple(Interval(at, at + SCRAPE_S, 250, 1, 1, 0, 0, 12.5, 1.0, 0, 0, 8, 1) for at in times)
    latencies = [LatencyInterval(Indicator.E2E, at, at + SCRAPE_S, _EDGES, tuple(range(17))) for at in times]
    model = Known(ModelReading(ModelState.READY, intervals=intervals), now)
    live = Known(value=True, observed_at=now)
    models = {spec.name: model for spec in fleet.models}
    server = ServerReading("", live, Known(ControlMode.EXPLICIT, now), 1, models)
    servers = {spec.name: replace(server, name=spec.name) for spec in fleet.servers}
    of_all = tuple(latency for latency in latencies for _ in fleet.servers)
    return FleetReading(now, servers, {spec.name: of_all for spec in fleet.models}, {}, Missing("none"))

"""A newer Triton than the one we run, made up after its documentation: first responses of a decoupled model."""

from __future__ import annotations

import asyncio
import json
import time

from controlplane.collect.fleet import FleetCollector
from controlplane.domain.fleet import Fleet, Mode, ModelSpec, ServerKind, ServerSpec
from controlplane.domain.objectives import SLICE_S, Indicator, IndicatorSource, Objective
from controlplane.domain.signal import Known
from controlplane.slo.indicators import close_slices
from tests.integration.test_collect_misbehaving import answer, serving
from tests.unit.collect.pages import triton_page
from tests.unit.collect.test_triton_detail import first_responses, lines

wall_clock = time.time  # noqa: TID251 - real sockets live in real time
CONFIG = {"max_batch_size": 0, "instance_group": [{"kind": "KIND_CPU", "count": 1}]}


class NewTriton:
    """Answers as Triton 24.11 does; `counts` are the cumulative first responses under 100 ms, 500 ms and in all."""

    def __init__(self) -> None:
        self.counts = (1, 2, 3)

    def page(self) -> str:
        responses = first_responses(*self.counts) + lines("nv_model_load_duration_secs", 12.5)
        return triton_page(success=self.counts[-1]) + responses

    def body(self, path: str) -> str:
        if path.endswith("index"):
            return json.dumps([{"name": "m", "version": "1", "state": "READY"}])
        if path.endswith("stats"):
            return json.dumps({"model_stats": [{"name": "m", "version": "1"}]})
        return json.dumps(CONFIG) if path.endswith("config") else self.page()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write(answer(self.body(head.split(b" ", 2)[1].decode()).encode()))
        await writer.drain()


async def test_an_objective_on_the_first_response_is_measured_by_the_server_s_histogram() -> None:
    triton = NewTriton()
    objective = Objective(Indicator.TTFT, 0.99, 86400.0, IndicatorSource.SERVER, 0.5)
    model = ModelSpec("m", "m", ("t",), Mode.OBSERVE, (objective,))
    async with serving(triton.handle) as url:
        fleet = Fleet((ServerSpec("t", ServerKind.TRITON, url, f"{url}/metrics"),), (model,))
        collector = FleetCollector(fleet, timeout_s=2, max_age_s=15, clock=wall_clock, nvml=False)
        await collector.collect(0)
        triton.counts = (5, 8, 10)
        await collector.collect(0)
        reading = collector.reading(wall_clock())
        await collector.close()
    seen = reading.servers["t"].models["m"]
    assert isinstance(seen, Known)
    assert isinstance(seen.value.load_s, Known)
    assert seen.value.load_s.value == 12.5
    (latency,) = reading.latencies["m"]
    assert (latency.indicator, latency.edges, latency.counts) == (Indicator.TTFT, (0.1, 0.5), (4, 2, 1))
    since = latency.end // SLICE_S * SLICE_S
    servers = [("t", seen.value.intervals)]
    slices = close_slices(model, servers, reading.latencies["m"], (), since=since - SLICE_S, until=since + SLICE_S)
    assert sum(part.good for part in slices) == 6
    assert sum(part.bad for part in slices) == 1

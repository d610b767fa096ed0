"""Demand against a real Triton: what was asked lies inside it, also while instances are taken away under load."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request

import pytest
import tritonclient.grpc.aio as triton_aio

from controlplane.collect.fleet import FleetCollector
from controlplane.decide.demand import estimate
from controlplane.demo.rig import TritonRig
from controlplane.domain.fleet import Fleet, Mode, ModelSpec, ServerKind, ServerSpec
from controlplane.domain.observation import Interval
from controlplane.domain.signal import Known
from tests.integration.test_triton_facts import row, write_model
from tests.rig_fixtures import RigFactory

pytestmark = pytest.mark.triton

wall_clock = time.time  # noqa: TID251 - real servers live in real time
# A request is on its way and a page is made for so long at most.
UNSURE_S = 0.15
TAKES_S = 1.5


def configured(rig: TritonRig) -> int:
    with urllib.request.urlopen(f"{rig.http_url}/v2/models/narrow/config") as answer:
        return int(json.load(answer)["instance_group"][0]["count"])


async def set_count(rig: TritonRig, count: int) -> None:
    async with triton_aio.InferenceServerClient(rig.grpc_url) as client:
        config = await client.get_model_config("narrow", as_json=True)
        config["config"]["instance_group"][0]["count"] = count
        await client.load_model("narrow", config=json.dumps(config["config"]))


async def history(rig: TritonRig) -> tuple[list[float], list[Interval], list[int]]:
    """When requests were sent, what the collector saw, and the counts configured while all of them still executed."""
    spec = ServerSpec("t", ServerKind.TRITON, rig.http_url, rig.metrics_url, rig.grpc_url)
    model = ModelSpec("narrow", "narrow", ("t",), Mode.ACT)
    collector = FleetCollector(Fleet((spec,), (model,)), timeout_s=2.0, max_age_s=15.0, clock=wall_clock)
    sent: list[float] = []
    counts: list[int] = []

    async def ask() -> None:
        async with triton_aio.InferenceServerClient(rig.grpc_url) as client:
            sent.append(wall_clock())
            await client.infer("narrow", row())

    async def read(seconds: float) -> None:
        until = wall_clock() + seconds
        while wall_clock() < until:
            await collector.collect(wall_clock(), ("t",))  # reads the configuration too
            await asyncio.sleep(0.2)

    try:
        await read(0.5)
        asked = [asyncio.create_task(ask()) for _ in range(5)]
        await read(0.4)
        lowered = asyncio.create_task(set_count(rig, 1))
        await read(0.5)
        counts.append(await asyncio.to_thread(configured, rig))
        assert not any(task.done() for task in asked)
        await read(2 * TAKES_S)
        await asyncio.gather(*asked, lowered)
        await read(0.5)
        signal = collector.reading(wall_clock()).servers["t"].models["narrow"]
        assert isinstance(signal, Known)
        return sent, list(signal.value.intervals), counts
    finally:
        await collector.close()


def test_what_was_asked_lies_inside_the_demand_while_instances_are_taken_away(triton_rig: RigFactory) -> None:
    rig = triton_rig([], start=False, load=("narrow",))
    write_model(rig.repository, "narrow", takes_s=TAKES_S)
    config = rig.repository / "narrow" / "config.pbtxt"
    config.write_text(config.read_text().replace("count: 1", "count: 3"))
    (rig.repository / "narrow" / "1" / "__pycache__").touch()
    rig.start()
    sent, intervals, counts = asyncio.run(history(rig))
    assert counts == [1], "the configuration shows the lower count while three still execute"
    assert len(intervals) > 10
    assert sum(interval.completed for interval in intervals) == len(sent)
    for last in range(len(intervals)):
        for past in (intervals[last : last + 1], intervals[: last + 1]):
            demand = estimate(past, past[-1].end, 30.0, 1)
            assert demand is not None
            start, end = past[-1].end - demand.window_s, past[-1].end
            surely = sum(start + UNSURE_S < at <= end - UNSURE_S for at in sent)
            perhaps = sum(start - UNSURE_S < at <= end + UNSURE_S for at in sent)
            assert demand.high_per_s * demand.window_s >= surely - 1e-6
            assert demand.low_per_s * demand.window_s <= perhaps + 1e-6

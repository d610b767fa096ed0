"""The collector against a real Triton: what it counts is what was asked, through loads, unloads and kills."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from controlplane.collect import families
from controlplane.collect.exposition import parse
from controlplane.collect.fleet import FleetCollector
from controlplane.collect.triton.signals import TRITON
from controlplane.demo.rig import TritonRig
from controlplane.domain.fleet import Fleet, Mode, ModelSpec, ProbeSpec, ServerKind, ServerSpec
from controlplane.domain.observation import ControlMode, Interval, ModelReading, ModelState, ServerReading
from controlplane.domain.signal import Known, Missing, Signal, Stale
from tests.rig_fixtures import RigFactory

pytestmark = pytest.mark.triton
BERT, RESNET = "bert_classifier", "resnet50_detector"
BODY = {"inputs": [{"name": "X", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}

wall_clock = time.time  # noqa: TID251 - real servers live in real time


class Client:
    """A Triton as its users and operators see it, and a collector that watches it."""

    def __init__(self, rig: TritonRig, collector: FleetCollector, session: aiohttp.ClientSession) -> None:
        self.rig = rig
        self.collector = collector
        self._session = session

    async def post(self, path: str, body: dict[str, Any] | None = None) -> int:
        async with self._session.post(f"{self.rig.http_url}/v2/{path}", json=body or {}) as response:
            await response.read()
            return response.status

    async def infer(self, count: int, model: str = BERT, body: dict[str, Any] | None = None) -> list[int]:
        """Statuses of so many requests at once; returns when they are counted, which is just after their answers."""
        before = await self._counted(model)
        asked = (self.post(f"models/{model}/infer", body or BODY) for _ in range(count))
        statuses = list(await asyncio.gather(*asked))
        expected = before + sum(status != 400 for status in statuses)
        async with asyncio.timeout(10):
            while await self._counted(model) < expected:  # noqa: ASYNC110 - polled
                await asyncio.sleep(0.01)
        return statuses

    async def _counted(self, model: str) -> float:
        async with self._session.get(self.rig.metrics_url) as response:
            page = parse(await response.text(), TRITON.wanted)
        counted = page.get(families.TRITON_SUCCESS, []) + page.get(families.TRITON_FAILURE, [])
        return sum(value for labels, value in counted if labels["model"] == model)

    async def load(self, model: str = BERT) -> None:
        assert await self.post(f"repository/models/{model}/load") == 200

    async def unload(self, model: str = BERT) -> None:
        assert await self.post(f"repository/models/{model}/unload") == 200
        await self.until(model, ModelState.UNLOADED)

    async def until(self, model: str, state: ModelState) -> None:
        async with asyncio.timeout(20):
            while (reading := await self.read(model)) is None or reading.state is not state:  # noqa: ASYNC110 - polled
                await asyncio.sleep(0.1)

    async def server(self) -> ServerReading:
        await self.collector.collect(0)
        return self.collector.reading(wall_clock()).servers["t"]

    async def read(self, model: str = BERT) -> ModelReading | None:
        signal: Signal[ModelReading] = (await self.server()).models[model]
        return signal.value if isinstance(signal, Known) else None

    async def intervals(self, model: str = BERT) -> tuple[Interval, ...]:
        reading = await self.read(model)
        assert reading is not None
        return reading.intervals


@pytest.fixture
async def client(triton_rig: RigFactory, request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    rig = await asyncio.to_thread(triton_rig, [BERT, RESNET], repository={"time_scale": 0.2})
    probe: ProbeSpec | None = getattr(request, "param", None)
    fleet = Fleet(
        servers=(ServerSpec("t", ServerKind.TRITON, rig.http_url, rig.metrics_url, rig.grpc_url),),
        models=tuple(
            ModelSpec(name, served, ("t",), Mode.ACT, probe=probe)
            for name, served in ((BERT, BERT), (RESNET, RESNET), ("nowhere", "nowhere"))
        ),
    )
    collector = FleetCollector(fleet, timeout_s=2, max_age_s=15, clock=wall_clock, nvml=False)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:
        yield Client(rig, collector, session)
    await collector.close()


def completed(intervals: tuple[Interval, ...]) -> list[int]:
    return [interval.completed for interval in intervals]


async def test_requests_are_counted_exactly_through_load_unload_and_reload(client: Client) -> None:
    first = await client.read()
    absent = await client.read("nowhere")
    assert first is not None
    assert absent is not None
    assert isinstance(first.instances, Known)
    assert (first.state, first.instances.value) == (ModelState.UNLOADED, 0)
    assert isinstance(first.pending, Missing)
    assert absent.state is ModelState.ABSENT

    await client.load()
    assert set(await client.infer(7)) == {200}
    loaded = await client.read()
    assert loaded is not None
    assert (loaded.state, loaded.max_batch_size, loaded.dynamic_batching) == (ModelState.READY, 8, True)
    assert loaded.max_queue_delay_s == 0.002
    assert isinstance(loaded.instances, Known)
    assert isinstance(loaded.pending, Known)
    assert (loaded.instances.value, loaded.pending.value) == (1, 0)
    (interval,) = loaded.intervals
    assert (interval.completed, interval.failed, interval.instances) == (7, 0, 1)
    assert sum(batch.size * batch.executions for batch in interval.batches) == 7
    assert 0 < interval.queue_s < interval.request_s
    assert interval.running_seen_max == max(batch.size for batch in interval.batches)
    assert interval.running_max == 8

    await client.infer(5)
    assert await client.infer(3, body={"inputs": [{**BODY["inputs"][0], "shape": [2, 2]}]}) == [400] * 3
    assert completed(await client.intervals()) == [7, 5]  # what is refused for its shape is counted nowhere

    await client.unload()
    before = completed(await client.intervals())
    await client.load()
    await client.infer(4)
    after = await client.intervals()
    assert completed(after) == [*before, 4]
    assert (await client.server()).incarnation == 0


async def test_a_batch_is_charged_once_to_the_instance_that_computed_it(client: Client) -> None:
    await client.load()
    await client.server()
    begun = time.monotonic()
    await client.infer(40)
    took_s = time.monotonic() - begun
    (interval,) = [interval for interval in await client.intervals() if interval.completed]
    busy_s = sum(batch.compute_s for batch in interval.batches)
    assert sum(batch.size * batch.executions for batch in interval.batches) == 40
    assert max(batch.size for batch in interval.batches) > 1
    assert 0 < busy_s <= took_s * 1.05


async def test_a_dead_backend_shows_as_failures_of_a_ready_model(client: Client) -> None:
    await client.load()
    await client.infer(2)
    await client.server()
    (stub,) = client.rig.stub_pids(BERT)
    os.kill(stub, signal.SIGKILL)
    assert set(await client.infer(3)) == {500}
    reading = await client.read()
    assert reading is not None
    assert reading.state is ModelState.READY
    assert (reading.intervals[-1].completed, reading.intervals[-1].failed_backend) == (3, 3)

    # The unload never ends, since the dead stub keeps its requests; a load in the midst of it serves again.
    assert await client.post(f"repository/models/{BERT}/unload") == 200
    await client.until(BERT, ModelState.UNLOADING)
    await client.load()
    await client.server()
    await client.infer(2)
    (last, *_) = reversed(await client.intervals())
    assert (last.completed, last.failed) == (2, 0)  # the failures before are still on the page, and not counted again
    await asyncio.to_thread(client.rig.kill)  # with a dead stub it would not stop before its exit timeout


async def test_a_kill_and_a_restart_are_noticed_and_cost_only_what_was_not_read(client: Client) -> None:
    await client.server()
    await client.load()
    await client.infer(6)
    before = await client.server()
    client.collector.set_control("t", Known(ControlMode.EXPLICIT, 0))
    await asyncio.to_thread(client.rig.kill)
    down = await client.server()
    assert isinstance(down.live, Known)
    assert down.live.value is False
    assert isinstance(down.control, Missing)
    assert isinstance(down.models[BERT], Known)  # what was read a moment ago is not too old yet
    aged = client.collector.reading(wall_clock() + 60).servers["t"].models[BERT]
    assert isinstance(aged, Stale)
    assert aged.value.state is ModelState.READY
    assert "connection refused" in aged.why

    await asyncio.to_thread(client.rig.restart)
    restarted = await client.server()
    reading = await client.read()
    assert reading is not None
    assert restarted.incarnation == before.incarnation + 1
    assert reading.state is ModelState.UNLOADED
    await client.load()
    await client.infer(5)
    assert completed(await client.intervals()) == [6, 5]
    assert (await client.server()).incarnation == before.incarnation + 1


async def test_a_quick_restart_that_loads_by_itself_is_noticed_by_its_counters(triton_rig: RigFactory) -> None:
    rig = await asyncio.to_thread(triton_rig, [BERT], load=[BERT])
    fleet = Fleet(
        servers=(ServerSpec("t", ServerKind.TRITON, rig.http_url, rig.metrics_url, rig.grpc_url),),
        models=(ModelSpec(BERT, BERT, ("t",), Mode.ACT),),
    )
    collector = FleetCollector(fleet, timeout_s=2, max_age_s=15, clock=wall_clock, nvml=False)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:
        client = Client(rig, collector, session)
        await client.server()
        await client.infer(6)
        await client.server()
        await asyncio.to_thread(rig.restart)
        await client.infer(2)
        assert (await client.server()).incarnation == 1
        assert completed(await client.intervals()) == [6, 2, 0]
    await collector.close()


@pytest.mark.parametrize("client", [ProbeSpec(every_s=0.05, timeout_s=2)], indirect=True)
async def test_probes_are_real_inferences_and_are_told_from_use(client: Client) -> None:
    await client.load()
    await client.until(BERT, ModelState.READY)
    await asyncio.sleep(1)
    await client.infer(9)
    for _ in range(4):
        await asyncio.sleep(0.25)
        await client.server()
    intervals = await client.intervals()
    used = sum(interval.completed - interval.probes for interval in intervals)
    results = client.collector.reading(wall_clock()).probes
    assert used == 9
    assert sum(interval.probes for interval in intervals) >= 10
    assert len(results[BERT]) >= 10
    assert all(result.error == "" and 0 < result.latency_s < 2 for result in results[BERT])
    assert not results[RESNET]  # not loaded, and a probe would not be answered


@pytest.mark.parametrize("client", [ProbeSpec(every_s=0.1, timeout_s=2)], indirect=True)
async def test_a_probe_tells_a_dead_backend_in_the_server_s_words(client: Client) -> None:
    await client.load()
    await client.until(BERT, ModelState.READY)
    (stub,) = client.rig.stub_pids(BERT)
    os.kill(stub, signal.SIGKILL)
    async with asyncio.timeout(20):
        while (reading := await client.read()) is None or not reading.recent_failures:  # noqa: ASYNC110 - polled
            await asyncio.sleep(0.1)
    assert "Stub process" in reading.recent_failures[-1]
    await asyncio.to_thread(client.rig.kill)  # with a dead stub it would not stop before its exit timeout


async def test_a_wrong_metrics_port_leaves_the_state_known_and_the_counts_missing(client: Client) -> None:
    await client.load()
    spec = ServerSpec("t", ServerKind.TRITON, client.rig.http_url, f"{client.rig.http_url}/metrics")
    fleet = Fleet(servers=(spec,), models=(ModelSpec(BERT, BERT, ("t",), Mode.ACT),))
    collector = FleetCollector(fleet, timeout_s=2, max_age_s=15, clock=wall_clock, nvml=False)
    for _ in range(3):
        await collector.collect(0)
    reading = collector.reading(wall_clock()).servers["t"].models[BERT]
    await collector.close()
    assert isinstance(reading, Known)
    assert reading.value.state is ModelState.READY
    assert isinstance(reading.value.instances, Known)
    assert isinstance(reading.value.pending, Missing)
    assert "t metrics page: answered HTTP 40" in reading.value.pending.why
    assert reading.value.intervals == ()

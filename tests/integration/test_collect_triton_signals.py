"""What a real Triton's page tells beside its requests: batches, phases, the response cache, the machine, refusals."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from controlplane.collect.fleet import FleetCollector
from controlplane.collect.triton.detail import REFUSED
from controlplane.demo.rig import TritonRig
from controlplane.demo.rig_setup import RigEnvironment
from controlplane.domain.fleet import Fleet, Mode, ModelSpec, ServerKind, ServerSpec
from controlplane.domain.observation import Counter, HostGauge, HostReading, ModelReading, ModelState
from controlplane.domain.signal import Known, Missing
from tests.integration.test_collect_triton import BERT, Client
from tests.rig_fixtures import RigFactory

pytestmark = pytest.mark.triton
wall_clock = time.time  # noqa: TID251 - real servers live in real time


def request(*values: float) -> dict[str, Any]:
    """An inference of as many items as values."""
    data = [[value] * 4 for value in values]
    return {"inputs": [{"name": "X", "shape": [len(values), 4], "datatype": "FP32", "data": data}]}


@asynccontextmanager
async def watched(rig: TritonRig) -> AsyncIterator[Client]:
    fleet = Fleet(
        servers=(ServerSpec("t", ServerKind.TRITON, rig.http_url, rig.metrics_url, rig.grpc_url),),
        models=(ModelSpec(BERT, BERT, ("t",), Mode.ACT),),
    )
    collector = FleetCollector(fleet, timeout_s=2, max_age_s=15, clock=wall_clock, nvml=False)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:
        yield Client(rig, collector, session)
    await collector.close()


async def read(client: Client) -> tuple[ModelReading, Mapping[tuple[Counter, str], float]]:
    reading = await client.read()
    assert reading is not None
    assert isinstance(reading.counters, Known), reading.counters
    return reading, reading.counters.value


async def get(client: Client, path: str) -> dict[str, Any]:
    async with aiohttp.ClientSession() as session, session.get(f"{client.rig.http_url}/v2/{path}") as answer:
        found: dict[str, Any] = await answer.json()
    return found


async def statistics(client: Client) -> dict[str, Any]:
    found: dict[str, Any] = (await get(client, f"models/{BERT}/stats"))["model_stats"][0]
    return found


async def machine(client: Client) -> HostReading:
    host = (await client.server()).host
    return host.value if isinstance(host, Known) else {}


def memory_of_the_machine() -> int:
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("MemTotal:")).split()[1])


async def test_batches_and_phases_of_the_page_agree_with_the_statistics(triton_rig: RigFactory) -> None:
    rig = await asyncio.to_thread(triton_rig, [BERT], repository={"time_scale": 0.2})
    async with watched(rig) as client:
        await client.load()
        await read(client)
        await client.infer(12, body=request(1.0))
        await client.infer(3, body=request(1.0, 2.0, 3.0))
        reading, counters = await read(client)
        (interval,) = reading.intervals
        stats = await statistics(client)
        executions = sum(batch.executions for batch in interval.batches)
        assert counters[Counter.INFERENCES, ""] == stats["inference_count"] == 12 + 3 * 3
        assert counters[Counter.EXECUTIONS, ""] == stats["execution_count"] == executions < 15
        assert counters[Counter.INFERENCES, ""] == sum(batch.size * batch.executions for batch in interval.batches)
        assert (counters[Counter.REQUESTS, "success"], counters[Counter.REQUESTS, "backend"]) == (15, 0)
        timed = {f"compute_{phase}": counters[Counter.COMPUTE_S, phase] for phase in ("input", "infer", "output")}
        timed["queue"] = counters[Counter.QUEUE_S, ""]
        for name, seconds in timed.items():  # the page counts whole microseconds of each request
            assert seconds == pytest.approx(stats["inference_stats"][name]["ns"] / 1e9, abs=16e-6), name
        assert counters[Counter.REQUEST_S, ""] == pytest.approx(interval.request_s)
        assert (reading.refused, reading.gpu_uuids) == (REFUSED, ())
        assert reading.load_s == Missing("not exported: Triton before 24.11, or not loaded")


async def test_counters_go_with_an_unload_and_go_on_over_a_hot_reload(triton_rig: RigFactory) -> None:
    rig = await asyncio.to_thread(triton_rig, [BERT], repository={"time_scale": 0.1})
    async with watched(rig) as client:
        await client.load()
        await client.infer(4)
        config = await get(client, f"models/{BERT}/config")
        config["parameters"]["slowed"]["string_value"] = "0.5"
        override = {"parameters": {"config": json.dumps(config)}}
        assert await client.post(f"repository/models/{BERT}/load", override) == 200
        await client.infer(2)
        _, counters = await read(client)
        assert (counters[Counter.INFERENCES, ""], counters[Counter.REQUESTS, "success"]) == (6, 6)
        assert (await statistics(client))["inference_count"] == 2  # these begin anew with a hot reload

        await client.unload()
        unloaded = await client.read()
        assert unloaded is not None
        assert unloaded.state is ModelState.UNLOADED
        assert unloaded.counters == Missing("not loaded: nothing is counted")
        await client.load()
        await client.infer(3)
        _, counters = await read(client)
        assert counters[Counter.INFERENCES, ""] == 3


async def test_the_response_cache_is_counted_by_result_and_its_answers_are_no_inferences(
    triton_rig: RigFactory, rig_environment: RigEnvironment
) -> None:
    caches = rig_environment.server.parents[1] / "caches"
    if not (caches / "local").is_dir():
        pytest.skip(f"this Triton comes without a local response cache in {caches}")
    cached = [f"--cache-directory={caches}", "--cache-config=local,size=1048576"]
    rig = await asyncio.to_thread(triton_rig, [BERT], repository={"time_scale": 0.1}, extra_args=cached, start=False)
    config = rig.repository / BERT / "config.pbtxt"
    config.write_text(config.read_text() + "response_cache { enable: true }\n")
    await asyncio.to_thread(rig.start)
    async with watched(rig) as client:
        await client.load()
        for value in (1.0, 1.0, 2.0, 1.0):
            await client.infer(1, body=request(value))
        _, counters = await read(client)
        assert (counters[Counter.RESPONSE_CACHE, "hit"], counters[Counter.RESPONSE_CACHE, "miss"]) == (2, 2)
        assert counters[Counter.REQUESTS, "success"] == 4
        assert (counters[Counter.INFERENCES, ""], counters[Counter.EXECUTIONS, ""]) == (2, 2)


async def test_requests_that_find_the_queue_full_are_in_no_counter(triton_rig: RigFactory) -> None:
    rig = await asyncio.to_thread(triton_rig, [BERT], repository={"time_scale": 3}, start=False)
    config = rig.repository / BERT / "config.pbtxt"
    limited = "dynamic_batching { max_queue_delay_microseconds: 2000, default_queue_policy { max_queue_size: 2 } }"
    config.write_text(config.read_text().replace("dynamic_batching { max_queue_delay_microseconds: 2000 }", limited))
    await asyncio.to_thread(rig.start)
    async with watched(rig) as client:
        await client.load()
        await read(client)
        asked = [client.post(f"models/{BERT}/infer", request(*[1.0] * 8)) for _ in range(10)]
        statuses = list(await asyncio.gather(*asked))
        answered, refused = statuses.count(200), statuses.count(503)
        assert refused > 0
        assert answered + refused == 10
        async with asyncio.timeout(10):
            while (seen := await read(client))[1][Counter.REQUESTS, "success"] < answered:  # noqa: ASYNC110 - polled
                await asyncio.sleep(0.05)
        reading, counters = seen
        assert sum(interval.completed for interval in reading.intervals) == answered
        assert sum(count for (counter, _), count in counters.items() if counter is Counter.REQUESTS) == answered
        assert isinstance(reading.refused, Missing)


async def test_the_machine_is_told_as_the_kernel_tells_it(triton_rig: RigFactory) -> None:
    rig = await asyncio.to_thread(triton_rig, [BERT], extra_args=["--metrics-config=summary_latencies=true"])
    async with watched(rig) as client:
        async with asyncio.timeout(10):  # Triton looks at the machine every two seconds
            while not (gauges := await machine(client)).get((HostGauge.CPU_MEMORY_TOTAL, "")):  # noqa: ASYNC110 - polled
                await asyncio.sleep(0.1)
        total = memory_of_the_machine()
        assert gauges[HostGauge.CPU_MEMORY_TOTAL, ""] == total
        assert 0 < gauges[HostGauge.CPU_MEMORY_USED, ""] < total
        assert 0 <= gauges[HostGauge.CPU_UTILISATION, ""] <= 1
        assert gauges[HostGauge.PINNED_MEMORY_USED, ""] <= gauges[HostGauge.PINNED_MEMORY_TOTAL, ""]
        assert not [gpu for _, gpu in gauges if gpu]

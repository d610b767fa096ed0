"""Two versions of one model on a real Triton: an objective on one counts nothing of the other."""

from __future__ import annotations

import asyncio
import shutil
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from controlplane.collect.fleet import FleetCollector
from controlplane.config import parse_settings
from controlplane.demo.rig import TritonRig
from controlplane.domain.objectives import SLICE_S
from controlplane.domain.observation import Interval, ModelReading
from controlplane.domain.signal import Known
from controlplane.slo.indicators import close_slices
from tests.rig_fixtures import RigFactory

pytestmark = pytest.mark.triton
BERT = "bert_classifier"
wall_clock = time.time  # noqa: TID251 - real servers live in real time


def body(first: float = 1.0) -> dict[str, Any]:
    return {"inputs": [{"name": "X", "shape": [1, 4], "datatype": "FP32", "data": [first, 2, 3, 4]}]}


def two_versions(rig: TritonRig) -> Path:
    """Gives the model's folder, with all of its versions served."""
    folder = rig.repository / BERT
    shutil.copytree(folder / "1", folder / "2")
    with (folder / "config.pbtxt").open("a", encoding="utf-8") as config:
        config.write("version_policy: { all: {} }\n")
    return folder


class Served:
    """The model as its users see it, and what a collector reads of it."""

    def __init__(self, rig: TritonRig, session: aiohttp.ClientSession, collector: FleetCollector) -> None:
        self._rig = rig
        self._session = session
        self._collector = collector
        self.answered = 0

    async def infer(self, version: str, count: int, first: float = 1.0) -> None:
        """So many requests of a version; empty: none is named."""
        path = f"{self._rig.http_url}/v2/models/{BERT}{f'/versions/{version}' if version else ''}/infer"
        for _ in range(count):
            async with self._session.post(path, json=body(first)) as response:
                await response.read()
                assert response.status == (200 if first > 0 else 500)
        self.answered += count

    async def intervals(self) -> tuple[Interval, ...]:
        """The intervals as soon as every request asked for is counted."""
        async with asyncio.timeout(20):
            while True:
                await self._collector.collect(0)
                reading = self._collector.reading(wall_clock()).servers["t"].models[BERT]
                if isinstance(reading, Known) and counted(reading.value) >= self.answered:
                    return reading.value.intervals
                await asyncio.sleep(0.05)

    async def load(self) -> None:
        async with self._session.post(f"{self._rig.http_url}/v2/repository/models/{BERT}/load", json={}) as response:
            assert response.status == 200, await response.text()


def counted(reading: ModelReading) -> int:
    return sum(interval.completed for interval in reading.intervals)


async def test_an_objective_on_a_version_counts_that_version_only(triton_rig: RigFactory) -> None:
    rig = triton_rig([BERT], load=[BERT], repository={"time_scale": 0.1, "fail_if_input_negative": True}, start=False)
    folder = two_versions(rig)
    await asyncio.to_thread(rig.start)
    urls = f"http: '{rig.http_url}', grpc: '{rig.grpc_url}', metrics: '{rig.metrics_url}'"
    wanted = "{availability: 99%}, {availability: 99%, version: 1}, {availability: 99%, version: '2'}"
    written = f"models: [{{name: {BERT}, runs_on: [t], objectives: [{wanted}]}}]"
    fleet = parse_settings(f"servers: [{{name: t, kind: triton, {urls}}}]\n{written}", {}).fleet
    (model,) = fleet.models
    collector = FleetCollector(fleet, timeout_s=5, max_age_s=15, clock=wall_clock, nvml=False)
    async with aiohttp.ClientSession() as session:
        served = Served(rig, session, collector)
        await served.intervals()
        await served.infer("1", 6)
        await served.infer("1", 2, first=-1.0)
        await served.infer("2", 3)
        await served.infer("2", 1, first=-1.0)
        await served.infer("", 4)  # as our own probes ask: the newest answers
        intervals = await served.intervals()

        since = intervals[0].start // SLICE_S * SLICE_S
        until = since + 6 * SLICE_S
        slices = close_slices(model, [("t", intervals)], (), (), since=since, until=until)
        found = {
            key: (
                sum(s.good for s in slices if s.objective == key),
                sum(s.bad for s in slices if s.objective == key),
                sum(s.measured_s for s in slices if s.objective == key),
            )
            for key in (objective.key for objective in model.objectives)
        }
        assert {key: (good, bad) for key, (good, bad, _) in found.items()} == {
            "availability_server": (13, 3),
            "availability_server_version_1": (6, 2),
            "availability_server_version_2": (7, 1),
        }
        read_s = intervals[-1].end - intervals[0].start
        assert [measured_s for _, _, measured_s in found.values()] == pytest.approx([read_s] * 3)

        # a version that is taken away is measured no longer, and nothing is expected of it
        text = (folder / "config.pbtxt").read_text(encoding="utf-8")
        only = text.replace("version_policy: { all: {} }", "version_policy: { specific: { versions: [2] } }")
        (folder / "config.pbtxt").write_text(only, encoding="utf-8")
        await served.load()
        async with asyncio.timeout(30):
            while {count.version for count in (await served.intervals())[-1].versions} != {"2"}:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        await served.infer("2", 5)
        newest = (await served.intervals())[-1]
        await collector.close()
    cut = newest.start // SLICE_S * SLICE_S
    later = close_slices(model, [("t", (newest,))], (), (), since=cut, until=cut + 3 * SLICE_S)
    one = [s for s in later if s.objective == "availability_server_version_1"]
    assert all((s.good, s.bad, s.measured_s) == (0, 0, 0.0) for s in one)
    assert sum(s.measured_s for s in later if s.objective == "availability_server_version_2") > 0

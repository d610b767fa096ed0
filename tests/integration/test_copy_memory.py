"""What a copy takes by its instances, learned of a real Triton whose memory NVML tells through an agent's page."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import tritonclient.grpc as triton

from controlplane.collect.fleet import FleetCollector
from controlplane.decide.memory import GpuMemory, copy_sizes, learn_memory
from controlplane.decide.placing import PlacementQuestion, Short, Unplaced, place
from controlplane.decide.placing.question import question
from controlplane.demo.rig import TritonRig
from controlplane.domain.decision import Step
from controlplane.domain.fleet import Fleet, Mode, ModelSpec, RoutesSpec, ServerKind, ServerSpec
from controlplane.domain.instructions import Override, OverrideKind
from controlplane.domain.observation import ControlMode, FleetReading, ModelReading, ModelState, ServerReading
from controlplane.domain.signal import Known
from controlplane.domain.snapshot import Snapshot
from controlplane.domain.sources import AgentSpec
from controlplane.domain.state import MemorySample, PolicyState
from controlplane.loop.clock import wall_clock
from tests.e2e.traffic import set_instances, write_model
from tests.integration.test_agent import Running, agent
from tests.nvml_shim.drive import GPU, answer, build, environment
from tests.rig_fixtures import RigFactory

pytestmark = pytest.mark.triton

GIB = 2**30


@pytest.fixture
def rig(triton_rig: RigFactory) -> TritonRig:
    made = triton_rig([], start=False)
    write_model(made.repository, "m", start_s=0.0, execute_s=0.01)
    made.start()
    return made


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    return tmp_path / "answers"


@pytest.fixture
def node(answers: Path, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Iterator[Running]:
    answer(answers, GPU)
    with agent(environment(build(tmp_path_factory.mktemp("nvml")), answers), tmp_path) as started:
        yield started


class Learning:
    """The collector over a Triton and the agent of its node, and what is learned of its readings."""

    def __init__(self, rig: TritonRig, node: Running, answers: Path) -> None:
        server = ServerSpec("t0", ServerKind.TRITON, rig.http_url, rig.metrics_url, rig.grpc_url)
        model = ModelSpec("m", "m", ("t0", "t1"), Mode.ACT, instances_max=8)
        self.fleet = Fleet((server,), (model,), agents=(AgentSpec("node-1", node.url),))
        self.collector = FleetCollector(self.fleet, timeout_s=5, max_age_s=60, clock=wall_clock, nvml=False)
        self.state, self._pid, self._answers = PolicyState(), rig.server_pid, answers

    def has(self, gib: float) -> None:
        """From now on NVML tells that the Triton has so much."""
        used = int(gib * GIB)
        answer(self._answers, GPU | {"procs.0": f"{self._pid}:{used}", "used.0": str(used)})

    async def samples(self, count: int) -> tuple[MemorySample, ...]:
        """What was learned, once it is so much; a tick after each round of reading."""
        deadline = time.monotonic() + 60
        while len(found := self._samples()) < count or not self._is_marked():
            assert time.monotonic() < deadline, (self.state, self.collector.reading(wall_clock()))
            await self.collector.collect(wall_clock(), ["t0"])  # anew, as after a step
            await self.collector.collect(wall_clock())
            reading = self.collector.reading(wall_clock())
            gpu = GpuMemory(self.fleet, reading.gpus)
            self.state = learn_memory(Snapshot(self.fleet, reading), gpu, self.state, reading.at)
        return found

    def _is_marked(self) -> bool:
        """Whether it is known what there was before the next change."""
        marks = self.state.marks.get("t0", ())
        return len(marks) == 1 and marks[0].used_bytes is not None

    def _samples(self) -> tuple[MemorySample, ...]:
        unit = self.state.units.get("m@t0")
        return () if unit is None else unit.memory

    def asked(self, gib: int) -> PlacementQuestion:
        """Where a person wants the model on a second server that has so much memory."""
        reading = self.collector.reading(wall_clock())
        at = reading.at
        gone = {"m": Known(ModelReading(ModelState.UNLOADED, instances=Known(0, at)), at)}
        other = ServerReading("t1", Known(value=True, observed_at=at), Known(ControlMode.EXPLICIT, at), 0, gone)
        servers = (*self.fleet.servers, replace(self.fleet.servers[0], name="t1", memory_bytes=gib * GIB))
        routes = RoutesSpec("edge", "http://x", ("t0", "t1"))
        told = Override("o", "m", OverrideKind.LOADED, "me", "by hand", at - 1, at + 3600, server="t1")
        seen: FleetReading = replace(reading, servers={**reading.servers, "t1": other})
        snapshot = Snapshot(replace(self.fleet, servers=servers, routes=(routes,)), seen, overrides=(told,))
        found = question(snapshot, self.state, routes)
        assert isinstance(found, Known), found
        return found.value


@pytest.fixture
async def world(rig: TritonRig, node: Running, answers: Path) -> AsyncIterator[Learning]:
    made = Learning(rig, node, answers)
    yield made
    await made.collector.close()


async def test_a_copy_of_several_instances_is_moved_only_to_where_there_is_room_for_all_of_them(
    rig: TritonRig, world: Learning
) -> None:
    world.has(0.5)
    assert await world.samples(0) == ()
    with triton.InferenceServerClient(rig.grpc_url) as client:
        await asyncio.to_thread(client.load_model, "m")
    world.has(1.5)
    assert await world.samples(1) == (MemorySample(0, 1, GIB),)
    await asyncio.to_thread(set_instances, rig, "m", 4)
    world.has(3.75)
    assert await world.samples(2) == (MemorySample(0, 1, GIB), MemorySample(1, 4, 9 * GIB // 4))
    size = copy_sizes(world.fleet, world.state.units)["m"]
    assert [size.of(count) for count in (1, 4, 8)] == [GIB, 13 * GIB // 4, 25 * GIB // 4]

    tight = place(world.asked(2))
    assert tight.moves == ()
    assert tight.unplaced == (Unplaced("m", 1, Short.MEMORY, 5 * GIB // 4),)
    load, unload = place(world.asked(4)).moves
    assert (load.step, load.server, load.instances) == (Step.LOAD, "t1", 4)
    assert (unload.step, unload.server) == (Step.UNLOAD, "t0")

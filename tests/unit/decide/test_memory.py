"""Memory of models and servers, as NVML tells it of the servers' processes."""

from __future__ import annotations

from dataclasses import replace

from controlplane.decide.memory import GpuMemory, Sizes, copy_sizes, free_bytes, learn_memory
from controlplane.domain.decision import Action, Step, Target
from controlplane.domain.fleet import Fleet, Mode, ModelSpec, ServerKind, ServerSpec
from controlplane.domain.gpu import GpuProcess
from controlplane.domain.observation import ControlMode, FleetReading, ModelReading, ModelState, ServerReading
from controlplane.domain.signal import Known, Missing, Signal
from controlplane.domain.snapshot import Snapshot
from controlplane.domain.state import PolicyState
from tests.unit.agent.readings import WHOLE

GIB = 2**30
SERVER = ServerSpec("t", ServerKind.TRITON, "http://127.0.0.1:8000", "http://127.0.0.1:8002/m", "127.0.0.1:8001")
MODELS = tuple(ModelSpec(name, name, ("t",), Mode.ACT) for name in "abc")
UNTOLD: Signal[int] = Missing("not told")


class World:
    """One server on one GPU of 80 GiB, of which others have 10."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.state = PolicyState()
        self.fleet = Fleet((SERVER,), MODELS)
        self.incarnation = 0

    def snapshot(self, gib: float | None, **states: ModelState) -> Snapshot:
        used: Signal[int] = UNTOLD if gib is None else Known(int(gib * GIB), self.now)
        process = GpuProcess(1, used, "", Known((8001,), self.now), Missing("no pod"))
        gpu = replace(
            WHOLE,
            processes=Known((process,), self.now),
            memory_total_bytes=Known(80 * GIB, self.now),
            memory_used_bytes=Known(int(((gib or 0) + 10) * GIB), self.now),
        )
        models = {
            name: Known(ModelReading(states.get(name, ModelState.UNLOADED), instances=Known(1, self.now)), self.now)
            for name in "abc"
        }
        live = Known(value=True, observed_at=self.now)
        seen = ServerReading("t", live, Known(ControlMode.EXPLICIT, self.now), self.incarnation, models)
        return Snapshot(self.fleet, FleetReading(self.now, {"t": seen}, {}, {}, Known((gpu,), self.now)))

    def see(self, gib: float | None, **states: ModelState) -> None:
        """The same for two ticks."""
        for _ in range(2):
            self.now += 15.0
            self.state = learn_memory(self.snapshot(gib, **states), self.state, self.now)

    @property
    def sizes(self) -> Sizes:
        return copy_sizes(self.fleet, self.state.units)

    def learned(self, model: str) -> int | None:
        return self.sizes[model]


READY, LOADING = ModelState.READY, ModelState.LOADING


def test_the_difference_of_a_load_is_what_the_model_takes_and_of_an_unload_too() -> None:
    world = World()
    world.see(1)
    assert world.learned("a") is None, "unknown is unknown"
    world.see(3, a=LOADING)
    world.see(5, a=READY)
    assert world.learned("a") == 4 * GIB
    world.see(7, a=READY, b=READY)
    world.see(2, b=READY)
    assert (world.learned("a"), world.learned("b")) == (5 * GIB, 2 * GIB)


def test_two_that_came_together_a_restart_and_memory_that_is_not_told_teach_nothing() -> None:
    world = World()
    world.see(1)
    world.see(9, a=READY, b=READY)
    world.incarnation = 1
    world.see(4, b=READY)
    world.see(None, b=READY, c=READY)
    world.see(6, b=READY)
    assert [world.learned(name) for name in "abc"] == [None, None, None]


def test_what_is_compared_with_goes_with_its_server() -> None:
    world = World()
    world.see(1)
    assert world.state.marks.keys() == {"t"}
    world.fleet = Fleet((), ())
    world.see(1)
    assert world.state.marks == {}


def test_less_memory_after_a_load_is_no_size() -> None:
    world = World()
    world.see(4)
    world.see(3, a=READY)
    assert world.learned("a") is None


def test_room_is_what_models_have_and_nobody_has_or_what_is_declared() -> None:
    world = World()
    world.see(1)
    world.see(5, a=READY)
    snapshot = world.snapshot(5, a=READY)
    assert free_bytes(snapshot, world.sizes) == {"t": 65 * GIB}
    coming = Action("d", "b", "t", Step.LOAD, Target(loaded=True, instances=1), world.now)
    assert free_bytes(replace(snapshot, in_flight=(coming,)), world.sizes) == {"t": None}, "what comes is not known"
    world.fleet = Fleet((replace(SERVER, memory_bytes=6 * GIB),), MODELS)
    assert free_bytes(world.snapshot(5, a=READY), world.sizes) == {"t": 2 * GIB}
    assert free_bytes(world.snapshot(5, a=READY, c=READY), world.sizes) == {"t": None}


def test_a_server_without_a_process_on_a_gpu_has_unknown_memory() -> None:
    gpu = GpuMemory(Fleet((SERVER,), MODELS), Missing("no driver"))
    assert isinstance(gpu.used("t"), Missing)
    assert isinstance(gpu.free("t"), Missing)


def test_an_ensemble_takes_what_its_components_take() -> None:
    parts = tuple(replace(model, memory_bytes=size) for model, size in zip(MODELS, (GIB, 2 * GIB, None), strict=True))
    whole = ModelSpec("e", "e", ("t",), Mode.ACT, components=("a", "b"))
    fleet = Fleet((SERVER,), (*parts, whole))
    assert copy_sizes(fleet, {})["e"] == 3 * GIB
    other = replace(whole, name="f", components=("a", "c"))
    assert copy_sizes(replace(fleet, models=(*parts, whole, other)), {})["f"] is None

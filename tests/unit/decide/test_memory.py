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
from controlplane.domain.state import MemorySample, PolicyState, UnitState
from tests.unit.agent.readings import WHOLE

GIB = 2**30
SERVER = ServerSpec("t", ServerKind.TRITON, "http://127.0.0.1:8000", "http://127.0.0.1:8002/m", "127.0.0.1:8001")
MODELS = tuple(ModelSpec(name, name, ("t",), Mode.ACT) for name in "abc")
UNTOLD: Signal[int] = Missing("not told")


def gpu_memory(snapshot: Snapshot) -> GpuMemory:
    return GpuMemory(snapshot.fleet, snapshot.reading.gpus)


def left(snapshot: Snapshot, sizes: Sizes) -> dict[str, int | None]:
    return free_bytes(snapshot, gpu_memory(snapshot), sizes)


class World:
    """One server on one GPU of 80 GiB, of which others have 10."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.state = PolicyState()
        self.fleet = Fleet((SERVER,), MODELS)
        self.incarnation = 0
        self.counts: dict[str, int] = {}
        self.in_flight: tuple[Action, ...] = ()

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
            name: Known(
                ModelReading(
                    states.get(name, ModelState.UNLOADED), instances=Known(self.counts.get(name, 1), self.now)
                ),
                self.now,
            )
            for name in "abc"
        }
        live = Known(value=True, observed_at=self.now)
        seen = ServerReading("t", live, Known(ControlMode.EXPLICIT, self.now), self.incarnation, models)
        reading = FleetReading(self.now, {"t": seen}, {}, {}, Known((gpu,), self.now))
        return Snapshot(self.fleet, reading, in_flight=self.in_flight)

    def see(self, gib: float | None, **states: ModelState) -> None:
        """The same for two ticks."""
        for _ in range(2):
            self.now += 15.0
            snapshot = self.snapshot(gib, **states)
            self.state = learn_memory(snapshot, gpu_memory(snapshot), self.state, self.now)

    @property
    def sizes(self) -> Sizes:
        return copy_sizes(self.fleet, self.state.units)

    def learned(self, model: str, instances: int = 1) -> int | None:
        return self.sizes[model].of(instances)


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
    assert left(snapshot, world.sizes) == {"t": 65 * GIB}
    coming = Action("d", "b", "t", Step.LOAD, Target(loaded=True, instances=1), world.now)
    assert left(replace(snapshot, in_flight=(coming,)), world.sizes) == {"t": None}, "what comes is not known"
    world.fleet = Fleet((replace(SERVER, memory_bytes=6 * GIB),), MODELS)
    assert left(world.snapshot(5, a=READY), world.sizes) == {"t": 2 * GIB}
    assert left(world.snapshot(5, a=READY, c=READY), world.sizes) == {"t": None}


def test_a_server_without_a_process_on_a_gpu_has_unknown_memory() -> None:
    gpu = GpuMemory(Fleet((SERVER,), MODELS), Missing("no driver"))
    assert isinstance(gpu.used("t"), Missing)
    assert isinstance(gpu.free("t"), Missing)


def test_an_ensemble_takes_what_its_components_take() -> None:
    parts = tuple(replace(model, memory_bytes=size) for model, size in zip(MODELS, (GIB, 2 * GIB, None), strict=True))
    whole = ModelSpec("e", "e", ("t",), Mode.ACT, components=("a", "b"))
    fleet = Fleet((SERVER,), (*parts, whole))
    assert copy_sizes(fleet, {})["e"].of(1) == 3 * GIB
    other = replace(whole, name="f", components=("a", "c"))
    assert copy_sizes(replace(fleet, models=(*parts, whole, other)), {})["f"].of(1) is None
    several = UnitState(wanted=True, instances=3, memory=(MemorySample(0, 1, GIB),))
    assert copy_sizes(replace(fleet, models=(*parts, whole, other)), {"c@t": several})["f"].of(1) == 4 * GIB


def test_a_raise_teaches_what_an_instance_takes_and_a_copy_with_any_number_of_them() -> None:
    world = World()
    world.see(1)
    world.see(3, a=READY)
    assert world.learned("a", 4) == 8 * GIB, "of one count it is not known what of it is the copy's own"
    world.counts["a"] = 4
    world.see(6, a=READY)
    assert [world.learned("a", n) for n in (1, 4, 8)] == [2 * GIB, 5 * GIB, 9 * GIB]
    assert world.sizes["a"].between(4, 6) == 2 * GIB


def test_instances_that_go_and_free_little_make_the_others_no_smaller() -> None:
    world = World()
    world.counts["a"] = 4
    world.see(1)
    world.see(9, a=READY)
    world.counts["a"] = 1
    world.see(6, a=READY)
    assert world.learned("a", 8) == 16 * GIB
    assert world.learned("a", 1) == 5 * GIB, "as it was seen"
    assert world.sizes["a"].between(1, 2) == 2 * GIB


def test_while_a_step_is_under_way_nothing_is_learned_of_half_of_it() -> None:
    world = World()
    world.see(1)
    world.see(3, a=READY)
    world.in_flight = (Action("d", "a", "t", Step.SET_INSTANCES, Target(loaded=True, instances=4), world.now),)
    world.see(5, a=READY)
    world.counts["a"] = 4
    world.see(6, a=READY)
    world.in_flight = ()
    world.see(9, a=READY)
    assert world.learned("a", 4) == 8 * GIB


def test_the_newest_few_of_loads_and_of_raises_count_each_for_themselves() -> None:
    world = World()
    world.see(1)
    world.see(9, a=READY)
    for count in (2, 1) * 6:
        world.counts["a"] = count
        world.see(9 + count, a=READY)
    assert world.learned("a") == 8 * GIB
    for gib in (1, 3) * 6:
        world.see(gib, **({"a": READY} if gib == 3 else {}))
    assert world.learned("a") == 2 * GIB


def test_what_a_raise_or_a_reload_under_way_will_take_is_not_free() -> None:
    world = World()
    world.see(1)
    world.see(3, a=READY)
    free = left(world.snapshot(3, a=READY), world.sizes)["t"]
    assert free == 67 * GIB
    four = Target(loaded=True, instances=4)
    for step, takes in ((Step.SET_INSTANCES, 6), (Step.RELOAD, 8), (Step.CONFIGURE, 8), (Step.UNLOAD, 0)):
        world.in_flight = (Action("d", "a", "t", step, four, world.now),)
        assert left(world.snapshot(3, a=READY), world.sizes)["t"] == free - takes * GIB, step


def test_of_what_is_being_loaded_all_is_still_to_come() -> None:
    world = World()
    world.see(1)
    world.see(3, a=READY)
    assert left(world.snapshot(2, a=LOADING), world.sizes)["t"] == 68 * GIB - 2 * GIB

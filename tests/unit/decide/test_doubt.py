"""One odd measurement of memory is no limit for ever, and what really does not fit is not tried every few minutes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controlplane.decide.explain import headline, reason_text
from controlplane.decide.policy import Policy
from controlplane.decide.resume import resumed
from controlplane.domain.decision import Action, ActionStatus, Decision, Outcome, ReasonCode, Step, Target
from controlplane.domain.failures import FailureClass
from controlplane.domain.instructions import Override, OverrideKind
from controlplane.domain.observation import ModelReading
from controlplane.domain.signal import Known, Signal, known
from controlplane.domain.snapshot import Snapshot
from controlplane.domain.state import MemoryMark, MemorySample, UnitState
from tests.unit.decide.placed_world import GIB, NOW, SERVICE_S, PlacedWorld, a_model

BELIEVED_S = Policy().ceiling_s
TICK_S = 15.0
COPY = MemorySample(0, 1, GIB)
ODD = MemorySample(1, 2, 20 * GIB)
"""An instance takes 1 GiB; somebody else came to the server in the same seconds."""


class MeasuredWorld(PlacedWorld):
    """A model that wants eight instances on a server with room for `holds` of 1 GiB each.

    A step to more fails for want of memory, and where it `dies` so the server restarts; what one takes is measured.
    """

    def __init__(self, *samples: MemorySample, holds: int = 8, loaded: bool = True, dies: bool = False) -> None:
        super().__init__({"t0": 8}, [a_model("a", None, ["t0"], instances_max=16)], **({"t0": ["a"]} if loaded else {}))
        self.fleet = replace(self.fleet, routes=())
        self.per_s = {"a": 6.4 / SERVICE_S}
        self.state = replace(self.state, units={"a@t0": UnitState(wanted=True, instances=1, memory=samples)})
        self.holds = holds
        self.dies = dies
        self.failed_at: list[float] = []
        self._results: tuple[Outcome, ...] = ()

    @property
    def count(self) -> int:
        return self.counts.get(("a", "t0"), 1) if "a" in self.held["t0"] else 0

    def snapshot(self) -> Snapshot:
        return replace(super().snapshot(), results=self._results)

    def tick(self) -> tuple[Decision, ...]:
        before, at = self.count, self.now
        decisions = super().tick()
        decision, self._results = decisions[0], ()
        if not decision.actionable or decision.target is None:
            return decisions
        action = Action(decision.id, "a", "t0", decision.step, decision.target, at)
        self._results = (Outcome(action, ActionStatus.SUCCEEDED, at),)
        if self.count > self.holds:
            self.failed_at.append(at)
            if before and not self.dies:
                self.counts["a", "t0"] = before
            else:
                self.held["t0"].clear()
                self.counts.clear()
            lack = ("CUDA out of memory", FailureClass.OUT_OF_MEMORY, "fewer instances")
            if self.dies:
                lack = ("connection reset by peer", FailureClass.UNREACHABLE, "look whether it runs")
            self._results = (Outcome(action, ActionStatus.FAILED, at, *lack),)
        elif self.count > before:
            unit = self.state.units["a@t0"]
            sample = MemorySample(before, self.count, (self.count - before) * GIB)
            self.state = replace(
                self.state, units={"a@t0": replace(unit, memory=(*unit.memory, sample))}
            )  # as seen at the next reading
        return decisions

    def run_for(self, seconds: float) -> None:
        self.run(int(seconds / TICK_S) + 1)


def test_a_raise_that_one_odd_measurement_refuses_is_tried_after_a_while_and_what_it_takes_counts_then() -> None:
    world = MeasuredWorld(COPY, ODD)
    world.run_for(BELIEVED_S - 60)
    assert world.count == 1, "believed for now"
    refused = world.of("a", "t0")
    assert headline(refused).endswith("2 instances would take 20 GiB more, and 7 GiB are left on the server")
    assert [reason_text(r) for r in refused.reasons if r.code is ReasonCode.ROOM_DOUBTED] == [
        "what it takes was only measured: one step is tried in 60 s"
    ]
    world.run(7)
    assert world.count > 1
    world.run(20)
    assert world.count == 8
    assert ODD not in world.state.units["a@t0"].memory


def test_one_step_is_tried_and_says_why() -> None:
    world = MeasuredWorld(COPY, ODD)
    for _ in range(200):
        if world.count > 1:
            break
        world.tick()
    tried = world.of("a", "t0")
    assert (tried.step, tried.binding, world.count) == (Step.SET_INSTANCES, ReasonCode.ROOM_DOUBTED, 2)
    assert headline(tried).endswith("what it takes was only measured: in spite of that a try with 2 instances")


def test_what_really_does_not_fit_is_tried_ever_later() -> None:
    world = MeasuredWorld(COPY, ODD, holds=1)
    world.run_for(12 * 3600)
    waits = [after - before for before, after in zip(world.failed_at, world.failed_at[1:], strict=False)]
    assert world.failed_at[0] - NOW == pytest.approx(BELIEVED_S, abs=2 * TICK_S)
    assert waits[:3] == pytest.approx([2 * BELIEVED_S, 4 * BELIEVED_S, 8 * BELIEVED_S], abs=2 * TICK_S)
    assert waits[3] >= 8 * BELIEVED_S


def test_the_more_often_it_was_measured_the_longer_it_is_believed() -> None:
    world = MeasuredWorld(COPY, *(replace(ODD, size_bytes=n * GIB) for n in (9, 10, 11)), holds=1)
    world.run_for(4 * BELIEVED_S - 60)
    assert world.failed_at == []
    world.run_for(120)
    assert len(world.failed_at) == 1


def test_a_load_that_one_odd_measurement_refuses_is_tried_too() -> None:
    world = MeasuredWorld(replace(COPY, size_bytes=20 * GIB), loaded=False)
    world.run_for(BELIEVED_S - 60)
    assert world.count == 0
    world.run(7)
    assert (world.count > 0, world.failed_at) == (True, [])
    assert replace(COPY, size_bytes=20 * GIB) not in world.state.units["a@t0"].memory


def test_a_load_that_fails_for_want_of_memory_is_not_tried_every_few_minutes() -> None:
    world = MeasuredWorld(replace(COPY, size_bytes=20 * GIB), loaded=False, holds=0)
    world.run_for(4 * 3600)
    assert [round((at - NOW) / BELIEVED_S) for at in world.failed_at] == [1, 3, 7]


@pytest.mark.parametrize("loaded", [True, False])
def test_a_try_by_which_the_server_dies_is_not_made_every_few_minutes(loaded: bool) -> None:
    samples = (COPY, ODD) if loaded else (replace(COPY, size_bytes=20 * GIB),)
    world = MeasuredWorld(*samples, holds=int(loaded), loaded=loaded, dies=True)
    world.run_for(4 * 3600)
    assert [round((at - NOW) / BELIEVED_S) for at in world.failed_at] == [1, 3, 7]


def test_a_raise_that_a_person_wants_is_tried_whole() -> None:
    world = MeasuredWorld(COPY, ODD)
    world.overrides = (
        Override("o", "a", OverrideKind.INSTANCES, "me", "by hand", NOW, NOW + 9 * BELIEVED_S, instances=5),
    )
    world.run_for(BELIEVED_S - 60)
    assert world.count == 1
    world.run(7)
    assert world.count == 5


def test_one_is_tried_at_a_time_on_a_server_so_that_what_it_takes_can_be_measured() -> None:
    world = PlacedWorld(
        {"t0": 12}, [a_model(name, None, ["t0"], instances_max=2) for name in "abc"], t0=["a", "b", "c"]
    )
    world.fleet = replace(world.fleet, routes=())
    world.per_s = dict.fromkeys("abc", 6.4 / SERVICE_S)
    unit = UnitState(wanted=True, instances=1, memory=(COPY, ODD))
    world.state = replace(world.state, units=dict.fromkeys(("a@t0", "b@t0", "c@t0"), unit))
    mark = MemoryMark(0, {}, NOW)
    tried = []
    for _ in range(int(BELIEVED_S / TICK_S) + 6):
        begun = [d.model for d in world.tick() if d.actionable]
        tried += [begun] if begun else []
        if tried == [["a"], ["b"]]:
            world.state = replace(world.state, marks={"t0": (mark, mark)})
    assert tried == [["a"], ["b"]], "and not before what the last one took is measured"
    assert [reason_text(r) for r in world.of("c", "t0").reasons if r.code is ReasonCode.ROOM_DOUBTED] == [
        "what it takes was only measured: one step is tried once nothing else changes on t0"
    ]
    world.state = replace(world.state, marks={})
    world.tick()
    assert world.of("c", "t0").step is Step.SET_INSTANCES


def test_a_new_version_is_not_tried_in_spite_of_what_was_measured_and_goes_first() -> None:
    class Versioned(MeasuredWorld):
        def _reading(self, model: str, server: str) -> Signal[ModelReading]:
            reading = known(super()._reading(model, server))
            assert reading is not None
            return Known(replace(reading, versions=("1",)), self.now)

    world = Versioned(COPY, ODD)
    world.run_for(BELIEVED_S - 60)
    world.overrides = (
        Override("o", "a", OverrideKind.ROLLOUT, "me", "new", world.now, world.now + 3600, version="2", verify_s=60.0),
    )
    world.now += 60
    world.tick()
    begun = world.of("a", "t0")
    assert (begun.step, begun.target) == (Step.SET_VERSIONS, Target(loaded=True, instances=1, versions=("1", "2")))


def test_what_was_declared_is_not_doubted() -> None:
    world = MeasuredWorld(loaded=False)
    world.fleet = replace(world.fleet, models=(replace(world.fleet.models[0], memory_bytes=20 * GIB),))
    world.run_for(9 * BELIEVED_S)
    assert world.count == 0


def test_where_room_comes_the_measurements_stay() -> None:
    world = MeasuredWorld(COPY, ODD)
    world.run(4)
    world.fleet = replace(world.fleet, servers=(replace(world.fleet.servers[0], memory_bytes=64 * GIB),))
    world.run(4)
    assert world.count > 1
    assert ODD in world.state.units["a@t0"].memory


def test_a_restart_with_a_clock_that_is_behind_waits_no_longer() -> None:
    world = MeasuredWorld(COPY, ODD)
    world.tick()
    earlier = NOW - 1e6
    full = resumed(world.state, Policy(), earlier).units["a@t0"].full
    assert full is not None
    assert full.until == earlier + BELIEVED_S

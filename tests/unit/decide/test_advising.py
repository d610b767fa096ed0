"""When advice on batching is told, and how it stands in decisions."""

from __future__ import annotations

from dataclasses import replace

from controlplane.decide.explain import explain, headline
from controlplane.decide.plan import decide
from controlplane.decide.policy import Policy
from controlplane.domain.batching import BatchingCase, BatchingKnobs
from controlplane.domain.decision import Decision, DecisionRecord, Reason, ReasonCode, Step, Target
from controlplane.domain.fleet import Fleet, Mode, ModelSpec, ServerKind, ServerSpec
from controlplane.domain.observation import (
    BatchCount,
    ControlMode,
    FleetReading,
    ModelReading,
    ModelState,
    ServerReading,
)
from controlplane.domain.signal import Known, Missing
from controlplane.domain.snapshot import Snapshot
from controlplane.domain.state import PolicyState
from tests.unit.decide.values import an_interval, executed

NOW = 1_700_000_000.0
TICK_S = 15.0
SPEC = ModelSpec("m", "m", ("t0",), Mode.RECOMMEND, instances_max=3)
SERVER = ServerSpec("t0", ServerKind.TRITON, "http://x", "http://x", "x:1")
UNBATCHED = ModelReading(ModelState.READY, max_batch_size=8)
BATCHES = (executed(1, 190, 0.020, 0.002), executed(4, 10, 0.020, 0.002))


class Told:
    """A unit from tick to tick."""

    def __init__(self, reading: ModelReading = UNBATCHED) -> None:
        self.state = PolicyState()
        self.now = NOW
        self.reading = reading
        self.decision: Decision | None = None
        self.executed: tuple[BatchCount, ...] = BATCHES

    def tick(self) -> Reason | None:
        """One more, after three more readings."""
        newest = tuple(
            an_interval(
                start, start + 5, 200 if self.executed else 0, batches=self.executed, queue_s=10, request_s=14.46
            )
            for start in (self.now + 5.0 * i for i in range(3))
        )
        self.now += TICK_S
        kept = tuple(i for i in self.reading.intervals if i.end > self.now - 300)
        count = Known(1, self.now)
        self.reading = replace(self.reading, instances=count, intervals=(*kept, *newest))
        models = {"m": Known(self.reading, self.now)}
        server = ServerReading("t0", Known(True, self.now), Known(ControlMode.EXPLICIT, self.now), 0, models)  # noqa: FBT003
        fleet = FleetReading(self.now, {"t0": server}, {}, {}, Missing("no driver"))
        plan, self.state = decide(Snapshot(Fleet((SERVER,), (SPEC,)), fleet), self.state, Policy(), self.now)
        self.decision = plan.decisions[0]
        return next((r for r in self.decision.reasons if r.code is ReasonCode.BATCHING), None)

    def after(self, seconds: float) -> Reason | None:
        """The newest reason once so much has passed."""
        reason = None
        for _ in range(int(seconds // TICK_S)):
            reason = self.tick()
        return reason


def test_advice_is_told_after_minutes_of_load_and_neither_binds_nor_changes_a_target() -> None:
    unit = Told()
    assert unit.after(180.0) is None
    reason = unit.after(120.0)
    assert reason is not None
    assert unit.decision is not None
    assert unit.decision.binding is not ReasonCode.BATCHING
    assert unit.decision.reasons[-1] == reason
    assert "batching" not in headline(unit.decision)
    others = tuple(r for r in unit.decision.reasons if r is not reason)
    assert unit.decision.target is not None
    assert unit.decision.step in (Step.HOLD, Step.SET_INSTANCES)
    lines = explain(DecisionRecord(unit.decision, NOW, 0))
    assert lines[:-1] == explain(DecisionRecord(replace(unit.decision, reasons=others), NOW, 0))
    assert lines[-1].startswith(
        "advice:  turn on dynamic_batching, without a queue delay (max_batch_size is 8): each request runs alone, and "
        "the instances are 89% busy; expected: 35.9 -> 15"
    )


def test_it_is_told_on_while_the_load_lasts_and_no_longer() -> None:
    unit = Told()
    unit.after(300.0)
    assert all(unit.tick() is not None for _ in range(40))
    unit.executed = ()
    assert unit.after(300.0) is None


def test_a_breathing_space_does_not_make_it_flicker() -> None:
    unit = Told()
    unit.after(300.0)
    unit.executed = ()
    told = [unit.tick() is not None for _ in range(6)]
    unit.executed = BATCHES
    told += [unit.tick() is not None for _ in range(20)]
    assert all(told)


def test_another_configuration_is_judged_by_what_it_does_itself() -> None:
    unit = Told()
    assert unit.after(300.0) is not None
    unit.reading = replace(unit.reading, max_batch_size=16)
    assert unit.after(180.0) is None
    memory = unit.state.units["m@t0"].batching
    assert memory is not None
    assert (memory.knobs, memory.told) == (BatchingKnobs(16, dynamic=False), None)
    assert unit.after(120.0) is not None


def test_sequences_and_ensembles_are_not_advised_what_they_cannot_have() -> None:
    assert Told(replace(UNBATCHED, other_scheduler=True)).after(330.0) is None


def test_what_is_no_more_loaded_is_forgotten() -> None:
    unit = Told()
    unit.after(300.0)
    memory = unit.state.units["m@t0"].batching
    assert memory is not None
    assert memory.told is BatchingCase.UNBATCHED
    unit.reading = replace(unit.reading, state=ModelState.UNLOADED, intervals=())
    unit.executed = ()
    assert unit.tick() is None
    assert unit.decision is not None
    assert unit.decision.current == Target(loaded=False, instances=0)
    assert unit.state.units["m@t0"].batching is None

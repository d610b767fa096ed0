"""A Triton in values whose batching is set as advised: it answers as fast as its batching lets it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from controlplane.decide.plan import decide
from controlplane.decide.policy import Policy
from controlplane.domain.batching import BatchingKnobs, BatchingUse
from controlplane.domain.decision import Action, ActionStatus, Decision, Effect, Outcome, Reason, ReasonCode, Step
from controlplane.domain.failures import FailureClass
from controlplane.domain.fleet import Fleet, Mode, ModelSpec, ServerKind, ServerSpec
from controlplane.domain.instructions import Freeze, Override
from controlplane.domain.observation import (
    BatchCount,
    ControlMode,
    FleetReading,
    Interval,
    ModelReading,
    ModelState,
    ServerReading,
)
from controlplane.domain.signal import Known, Missing
from controlplane.domain.snapshot import Snapshot
from controlplane.domain.state import PolicyState, UnitState
from tests.unit.decide.values import an_interval, executed

NOW = 1_700_000_000.0
TICK_S = 30.0
ALONE = BatchingKnobs(8, dynamic=False)
BATCHED = BatchingKnobs(8)
SPEC = ModelSpec("m", "m", ("t0",), Mode.ACT, batching=BatchingUse.ACT)
SERVER = ServerSpec("t0", ServerKind.TRITON, "http://x", "http://x", "x:1")
_POLICY = Policy()


@dataclass
class Tuned:
    """One model under load, from tick to tick; its steps are carried out unless `fails` says otherwise."""

    spec: ModelSpec = SPEC
    file: BatchingKnobs = ALONE
    batched_per_s: float = 100.0
    batched_s: float = 0.2
    waiting: int = 40
    fails: FailureClass | None = None
    takes: bool = True
    freezes: tuple[Freeze, ...] = ()
    overrides: tuple[Override, ...] = ()
    versions: tuple[str, ...] = ()
    server: ServerSpec = SERVER
    state: PolicyState = field(default_factory=PolicyState)
    now: float = NOW
    steps: list[Decision] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    knobs: BatchingKnobs = ALONE
    _intervals: tuple[Interval, ...] = ()
    _results: tuple[Outcome, ...] = ()

    def __post_init__(self) -> None:
        self.knobs = self.file

    @property
    def unit(self) -> UnitState:
        return self.state.units["m@t0"]

    def restart(self) -> None:
        """The server forgets what it was told."""
        self.knobs = self.file

    def tick(self) -> Decision:
        """One more, after three more readings; a step is done by the next one."""
        newest = tuple(self._interval(self.now + 10.0 * n) for n in range(3))
        self.now += TICK_S
        self._intervals = (*(i for i in self._intervals if i.end > self.now - 300.0), *newest)
        plan, self.state = decide(self._snapshot(), self.state, _POLICY, self.now)
        decision = plan.decisions[0]
        self.effects += plan.effects
        self._results = self._done(decision)
        return decision

    def run(self, seconds: float) -> Decision:
        """The newest decision once so much has passed."""
        decision = self.tick()
        for _ in range(int(seconds // TICK_S) - 1):
            decision = self.tick()
        return decision

    def said(self, seconds: float) -> Reason | None:
        """Why the advice is not carried out, after so long."""
        return next((r for r in self.run(seconds).reasons if r.code is ReasonCode.BATCHING_WAITS), None)

    def _interval(self, start: float) -> Interval:
        counted: tuple[BatchCount, ...] = (executed(1, 380, 0.020, 0.002), executed(4, 20, 0.020, 0.002))
        completed, request_s = 400, 1.0
        if self.knobs.dynamic:
            completed, request_s = round(10.0 * self.batched_per_s), self.batched_s
            counted = (executed(4, completed // 80, 0.020, 0.002), executed(8, completed // 8, 0.020, 0.002))
        if self.knobs.max_queue_delay_s > 0:
            counted, request_s = (executed(1, 20, 0.020, 0.002), executed(2, 10, 0.020, 0.002)), 0.1
            completed = 40
        queue_s = 0.8 * request_s * completed
        return an_interval(
            start,
            start + 10.0,
            completed,
            batches=counted,
            request_s=request_s * completed,
            queue_s=queue_s,
            pending_start=self.waiting,
            pending_end=self.waiting,
        )

    def _snapshot(self) -> Snapshot:
        reading = ModelReading(
            ModelState.READY,
            versions=self.versions,
            instances=Known(1, self.now),
            max_batch_size=self.knobs.max_batch_size,
            dynamic_batching=self.knobs.dynamic,
            max_queue_delay_s=self.knobs.max_queue_delay_s,
            preferred_batch_sizes=self.knobs.preferred_sizes or ((8,) if self.knobs.dynamic else ()),
            intervals=self._intervals,
        )
        server = ServerReading(
            "t0",
            Known(value=True, observed_at=self.now),
            Known(ControlMode.EXPLICIT, self.now),
            0,
            {"m": Known(reading, self.now)},
        )
        fleet = FleetReading(self.now, {"t0": server}, {}, {}, Missing("no driver"))
        return Snapshot(
            Fleet((self.server,), (self.spec,)),
            fleet,
            freezes=self.freezes,
            overrides=self.overrides,
            results=self._results,
        )

    def _done(self, decision: Decision) -> tuple[Outcome, ...]:
        if not decision.actionable or decision.target is None:
            return ()
        self.steps.append(decision)
        action = Action(decision.id, "m", "t0", decision.step, decision.target, self.now, decision.current)
        if self.fails is not None:
            return (Outcome(action, ActionStatus.FAILED, self.now, failure=self.fails),)
        if decision.step is Step.CONFIGURE and self.takes and decision.target.batching is not None:
            self.knobs = replace(decision.target.batching, max_batch_size=self.knobs.max_batch_size)
        return (Outcome(action, ActionStatus.SUCCEEDED, self.now),) if self.takes else ()

"""Whatever is decided: one step at a time turns a knob, few at a time a server, and no decision is done twice."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.decide.limits import Restraint
from controlplane.decide.policy import Policy
from controlplane.domain.decision import OF_REPLICAS, Action, ActionStatus, Decision, Outcome, ReasonCode, Step, Target
from controlplane.domain.fleet import (
    Fleet,
    KubernetesQuery,
    Mode,
    ModelSpec,
    Ports,
    ServerKind,
    ServerSpec,
    WorkloadSpec,
    workload_of,
)
from controlplane.domain.observation import FleetReading, ModelReading, ModelState, ServerReading
from controlplane.domain.signal import Known, Missing
from controlplane.domain.snapshot import Snapshot
from controlplane.loop.executor import Executor
from tests.discovery_fake import member

NOW, LIMIT = 1_700_000_000.0, 2
MODELS, SERVERS = ("a", "b", "c"), ("t0", "t1")
SPEC = WorkloadSpec("w", ServerKind.TRITON, KubernetesQuery("ml", kind="Deployment", name="w"), Ports(8000, 8001, 8002))
FLEET = Fleet(
    tuple(ServerSpec(name, ServerKind.TRITON, "http://x", "http://x") for name in SERVERS),
    tuple(ModelSpec(name, name, SERVERS, Mode.ACT, workloads=("w",)) for name in MODELS),
    workloads=(SPEC,),
).with_members([member("0", of=SPEC)])
ONE = Target(loaded=True, instances=1)
_SEEN = Known(ModelReading(ModelState.READY, instances=Known(1, NOW)), NOW)
READING = FleetReading(
    NOW,
    {
        name: ServerReading(name, Known(value=True, observed_at=NOW), Missing("-"), 0, dict.fromkeys(MODELS, _SEEN))
        for name in SERVERS
    },
    {},
    {},
    Missing("no driver"),
)

steps = st.one_of(
    st.tuples(st.sampled_from([Step.SET_INSTANCES, Step.RELOAD]), st.sampled_from(MODELS), st.sampled_from(SERVERS)),
    st.tuples(st.sampled_from([Step.SCALE, Step.TRAFFIC]), st.sampled_from(MODELS), st.just("w")),
)
plans = st.lists(st.lists(steps, max_size=6), min_size=1, max_size=6)


def turned(step: Action | Decision) -> str:
    """The one thing that a step turns: whatever model asks, a workload has one number of replicas."""
    return step.server if step.step in OF_REPLICAS else f"{step.model} on {step.server}"


class NoJournal:
    """A journal that takes everything; in place of the store's thread."""

    def __init__(self) -> None:
        self.begun: Counter[str] = Counter()
        self.ended: Counter[str] = Counter()

    async def call(self, work: Callable[[Any], Any]) -> None:
        await asyncio.sleep(0)
        work(self)

    def start_action(self, action: Action) -> None:
        self.begun[action.id] += 1

    def finish_action(self, outcome: Outcome) -> None:
        self.ended[outcome.action.id] += 1


@dataclass
class Watched:
    """An actuator that watches what is under way at a time; each step takes as many turns as it is told."""

    turns: list[int]
    under_way: Counter[str] = field(default_factory=Counter)
    most: Counter[str] = field(default_factory=Counter)
    applied: Counter[str] = field(default_factory=Counter)

    async def control_mode(self, server: str) -> Any:
        raise NotImplementedError(server)

    async def apply(self, action: Action) -> Outcome:
        self.applied[action.id] += 1
        watched = (f"knob {turned(action)}", f"server {action.server}")
        for name in watched:
            self.under_way[name] += 1
            self.most[name] = max(self.most[name], self.under_way[name])
        for _ in range(self.turns[sum(self.applied.values()) % len(self.turns)]):
            await asyncio.sleep(0)
        self.under_way.subtract(watched)
        return Outcome(action, ActionStatus.SUCCEEDED, NOW + 1)

    def follow(self, fleet: Fleet) -> None: ...

    async def close(self) -> None: ...


def a_decision(number: int, step: Step, model: str, server: str) -> Decision:
    target = Target(loaded=True, instances=2)
    return Decision(f"d-{number}", NOW, model, server, Mode.ACT, step, ONE, target, (), ReasonCode.DEMAND)


changes = st.builds(
    Decision,
    id=st.just("d"),
    at=st.just(NOW),
    model=st.sampled_from(MODELS),
    server=st.sampled_from(("t0", "t1", "w", "w/0", "w/1", "w/2", "w/3")),
    mode=st.sampled_from((Mode.ACT, Mode.ACT, Mode.RECOMMEND)),
    step=st.sampled_from(Step),
    current=st.builds(Target, loaded=st.just(value=True), instances=st.integers(0, 9)),
    target=st.builds(Target, loaded=st.just(value=True), instances=st.integers(0, 9)),
    reasons=st.just(()),
    binding=st.just(ReasonCode.DEMAND),
    by_person=st.booleans(),
).filter(lambda d: (d.step in OF_REPLICAS) == (d.server == "w"))
WIDE = FLEET.with_members([member(str(n), of=SPEC) for n in range(4)])


def takes_back(decision: Decision) -> bool:
    """Whether it puts replicas back into traffic."""
    return decision.step is Step.TRAFFIC and not decision.lowers


@given(st.lists(changes, max_size=12), st.integers(1, 6), st.floats(0.05, 0.95), st.integers(0, 4))
@settings(max_examples=200, deadline=None)
def test_no_plan_takes_more_than_its_share_or_changes_more_than_a_minute_may(
    wished: list[Decision], per_min: int, share: float, lately: int
) -> None:
    policy = Policy(changes_per_min=per_min, max_share=share)
    wished = list({(d.model, d.server): d for d in wished}.values())
    restraint = Restraint(WIDE, {}, (NOW - 5,) * lately, (), policy, NOW)
    plan = restraint.plan(wished)
    begun = [d for d in plan if d.actionable and not d.by_person and not takes_back(d)]
    assert len(begun) <= max(0, per_min - lately)
    assert len(restraint.changes) == lately + len(begun)
    # what a server loses that loses some already, by a person's word too, is no more servers
    by_people = {d.server for d in plan if d.actionable and d.by_person and d.lowers}
    losing: dict[str, set[str]] = {}
    for decision in begun:
        if decision.lowers and decision.step not in OF_REPLICAS and decision.server not in by_people:
            losing.setdefault(workload_of(decision.server), set()).add(decision.server)
    assert all(
        len(names) <= max(1, int(share * size)) for group, size in (("", 2), ("w", 4)) if (names := losing.get(group))
    )
    for before, after in zip(wished, plan, strict=True):
        assert (before.model, before.server) == (after.model, after.server)
        if before.by_person or takes_back(before) or not before.actionable:
            assert after == before, "people are not held back, nor what takes back; what is told only is told as it is"
        if not before.lowers:
            assert after.binding is not ReasonCode.BLAST_RADIUS
        if after != before:
            assert after.reasons[-1].code is after.binding


async def _nothing(*_: str) -> None: ...


@given(plans, st.lists(st.integers(0, 9), min_size=1, max_size=8), st.integers(0, 12))
@settings(max_examples=100, deadline=None)
def test_a_knob_has_one_step_at_a_time_and_a_decision_at_most_one(
    told: list[list[tuple[Step, str, str]]], turns: list[int], between: int
) -> None:
    async def run() -> tuple[Watched, NoJournal, set[str], list[Outcome]]:
        actuator, journal = Watched(turns), NoJournal()
        executor = Executor(
            actuator,
            journal,  # type: ignore[arg-type]
            lambda: NOW,
            refresh=_nothing,
            announce=_nothing,
            limit=LIMIT,
        )
        number, free = 0, set[str]()
        for plan in told:
            busy = {turned(action) for action in executor.in_flight}
            decisions = [a_decision(number + n, *step) for n, step in enumerate(plan)]
            number += len(plan)
            free |= {d.id for d in {turned(d): d for d in reversed(decisions)}.values() if turned(d) not in busy}
            executor.start(decisions, look)
            for _ in range(between):
                await asyncio.sleep(0)
            executor.start([d for d in decisions if d.id in free], look)  # to give a plan again changes nothing
        assert await executor.idle(5.0)
        return actuator, journal, free, list(executor.take_results())

    def look() -> Snapshot:
        return Snapshot(FLEET, READING)

    actuator, journal, free, results = asyncio.run(run())
    assert all(most <= (1 if name.startswith("knob") else LIMIT) for name, most in actuator.most.items())
    assert set(actuator.applied.values()) <= {1}
    assert set(actuator.applied) == free, "the first for each knob that was free"
    assert actuator.applied == journal.begun == journal.ended
    assert {outcome.action.id for outcome in results} == free

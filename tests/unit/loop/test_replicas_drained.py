"""The loop takes replicas out of traffic, waits, and lets them go; under its limits, and through a restart."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest

from controlplane.decide.policy import Policy
from controlplane.domain.decision import Action, ActionStatus, Decision, Outcome, Step, Target
from controlplane.domain.decision import ReasonCode as Code
from controlplane.domain.fleet import KubernetesQuery, Member, Phase
from controlplane.domain.instructions import Freeze, FreezeDirection
from controlplane.domain.observation import FleetReading, ServerReading
from controlplane.domain.signal import Known, Missing
from controlplane.domain.snapshot import Snapshot
from controlplane.loop.recheck import objection
from tests.unit.decide.draining import DRAIN
from tests.unit.decide.replicas import MODEL, NOW, SPEC, STEP_S, a_member, a_reading, loaded
from tests.unit.loop.test_replicas_carried_out import OLD, Deployment, Loop, seen

DRAINED = replace(SPEC, query=KubernetesQuery("default", kind="Deployment", name="llm", drain=DRAIN))


class Traffic(Deployment):
    """An actuator that takes the last replicas out of traffic too; `out`: how many are."""

    def __init__(self, replicas: int) -> None:
        super().__init__(replicas)
        self.out = 0
        self.told: list[tuple[Step, int]] = []

    async def apply(self, action: Action) -> Outcome:
        self.told.append((action.step, action.target.instances))
        if action.step is not Step.TRAFFIC:
            self.out = max(0, self.out - max(0, self.replicas - action.target.instances))
            return await super().apply(action)
        self.out = max(0, self.replicas - action.target.instances)
        return Outcome(action, ActionStatus.SUCCEEDED, action.issued_at)


class DrainingLoop(Loop):
    """Four replicas under a load that one can hold; who is out of traffic holds so many requests."""

    def __init__(self) -> None:
        super().__init__(DRAINED)
        self.traffic = self.deployment = Traffic(4)
        self.per_s, self.holds = 4.0, 0

    def members(self) -> list[Member]:
        taking = self.traffic.replicas - self.traffic.out
        phases = [Phase.READY] * taking + [Phase.DRAINING] * self.traffic.out
        return [a_member(n, phase, created_at=OLD) for n, phase in enumerate(phases)]

    def reading(self, members: list[Member]) -> FleetReading:
        told = super().reading(members)
        out = [member for member in self.members() if member.phase is Phase.DRAINING]
        live = Known(value=True, observed_at=self.now)
        quiet = (loaded(self.now - STEP_S, self.now, 0.0, running_start=self.holds, running_end=self.holds),)
        held = Known(a_reading(quiet, running=Known(self.holds, self.now)), self.now)
        servers = {m.server.name: ServerReading(m.server.name, live, Missing("-"), 0, {MODEL.name: held}) for m in out}
        return replace(told, servers={**told.servers, **servers})

    async def until(self, is_so: Callable[[Decision], bool], ticks: int = 12) -> Decision:
        for _ in range(ticks):
            decision = await self.look()
            if is_so(decision):
                return decision
        raise AssertionError(decision)


@pytest.fixture
async def loop() -> AsyncIterator[DrainingLoop]:
    made = DrainingLoop()
    await made.begin()
    yield made
    if made.executor is not None:
        await made.executor.close(0.01)
    made.thread.close()


async def test_half_of_them_leave_end_what_they_have_and_go_then_the_next(loop: DrainingLoop) -> None:
    loop.holds = 2
    await loop.until(lambda d: d.step is Step.TRAFFIC)
    waiting = [await loop.look() for _ in range(3)]
    assert {one.binding for one in waiting} == {Code.DRAINING}
    assert loop.traffic.told == [(Step.TRAFFIC, 2)], "no more than half of them lose capacity at a time"
    loop.holds = 0
    await loop.until(lambda d: d.step is Step.SCALE, ticks=1)
    await loop.until(lambda _: loop.traffic.replicas == 1)
    assert loop.traffic.told == [(Step.TRAFFIC, 2), (Step.SCALE, 2), (Step.TRAFFIC, 1), (Step.SCALE, 1)]
    assert (await loop.look()).step is Step.HOLD


async def test_while_it_waits_the_next_look_comes_soon(loop: DrainingLoop) -> None:
    loop.holds = 2
    await loop.until(lambda d: d.binding is Code.DRAINING)
    assert (await loop.tick.run()).look_again_s == 5.0


async def test_one_that_is_started_anew_goes_on_where_the_other_was(loop: DrainingLoop) -> None:
    loop.holds = 2
    await loop.until(lambda d: d.step is Step.TRAFFIC)
    await loop.look()
    since = loop.tick._state.workloads["fleet"].leaving
    await loop.begin()
    loop.now += 5.0
    assert (await loop.look()).binding is Code.DRAINING
    assert loop.tick._state.workloads["fleet"].leaving == since, "it counts from when they were seen to leave"
    loop.holds = 0
    await loop.until(lambda d: d.step is Step.SCALE, ticks=2)
    assert loop.traffic.told == [(Step.TRAFFIC, 2), (Step.SCALE, 2)]


@pytest.mark.parametrize("what", ["load", "freeze"])
async def test_who_need_not_go_is_put_back_at_the_next_tick_whatever_was_changed_within_the_minute(
    loop: DrainingLoop, what: str
) -> None:
    loop.policy = Policy(changes_per_min=1)
    await loop.begin()
    loop.holds = 2
    await loop.until(lambda d: d.step is Step.TRAFFIC)
    assert loop.traffic.out == 2
    if what == "load":
        loop.per_s = 60.0
    else:
        frozen = Freeze("f", "", FreezeDirection.ALL, "ann", "an incident", loop.now, loop.now + 3600.0)
        await loop.thread.call(lambda s: s.add_freeze(frozen))
    decision = await loop.look()
    assert (decision.step, decision.binding, loop.traffic.out) == (Step.TRAFFIC, Code.PUT_BACK, 0)
    if what == "load":
        await loop.until(lambda d: d.step is Step.SCALE)
        assert loop.traffic.replicas > 4
    else:
        assert (await loop.look()).step is Step.HOLD


async def test_over_the_changes_of_a_minute_nobody_leaves_and_nothing_is_forgotten(loop: DrainingLoop) -> None:
    loop.policy = Policy(changes_per_min=0)
    await loop.begin()
    held = await loop.until(lambda d: d.binding is Code.CHANGE_RATE)
    assert (held.step, loop.traffic.told) == (Step.HOLD, [])
    loop.tick._policy = Policy()
    await loop.until(lambda d: d.step is Step.TRAFFIC, ticks=1)


def a_step(step: Step, before: int, to: int) -> Decision:
    now, wanted = Target(loaded=True, instances=before), Target(loaded=to > 0, instances=to)
    return Decision("d", NOW, "llm", "fleet", MODEL.mode, step, now, wanted, (), Code.DRAINED)


def test_the_recheck_looks_at_who_is_in_traffic() -> None:
    def now(*phases: Phase) -> Snapshot:
        members = [a_member(n, phase) for n, phase in enumerate(phases)]
        return replace(seen(0), fleet=replace(seen(0).fleet, workloads=(DRAINED,)).with_members(members))

    two_out = now(Phase.READY, Phase.DRAINING, Phase.DRAINING)
    assert objection(a_step(Step.SCALE, 3, 1), two_out) == ""
    assert objection(a_step(Step.SCALE, 3, 0), two_out) == "replicas that would go take requests again"
    assert objection(a_step(Step.TRAFFIC, 1, 3), two_out) == ""
    assert objection(a_step(Step.TRAFFIC, 3, 1), two_out) == "3 replicas became 1 replica"
    one_starts = now(Phase.READY, Phase.STARTING, Phase.DRAINING)
    assert objection(a_step(Step.SCALE, 3, 1), one_starts) == ""

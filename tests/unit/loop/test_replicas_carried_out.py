"""Replicas are set by the loop: once, in turn, and again after a failure or a crash."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from controlplane.decide.policy import Policy
from controlplane.domain.decision import Action, ActionStatus, Decision, Outcome, ReasonCode, Step, Target
from controlplane.domain.failures import FailureClass
from controlplane.domain.fleet import Fleet, KubernetesQuery, Member, Mode, Phase, WorkloadSpec
from controlplane.domain.instructions import Freeze, FreezeDirection, Override, OverrideKind
from controlplane.domain.observation import FleetReading, ServerReading
from controlplane.domain.signal import Known, Missing
from controlplane.domain.snapshot import Snapshot
from controlplane.loop.executor import Executor
from controlplane.loop.recheck import objection
from controlplane.loop.roster import Roster
from controlplane.loop.store_thread import StoreThread
from controlplane.loop.tick import Tick
from controlplane.slo.grace import Grace
from controlplane.store import open_store
from tests.discovery_fake import ToldDiscovery
from tests.unit.decide.replicas import MODEL, NOW, SPEC, STEP_S, a_member, a_reading, steady
from tests.unit.loop.worlds import FixedCollector

OBJECT = replace(SPEC, query=KubernetesQuery("default", pods="app=llm", kind="Deployment", name="llm"))
OLD = NOW - 9000.0


class Deployment:
    """An actuator that sets the replicas of one object; refuses while `refuses`, and does not answer while `hangs`."""

    def __init__(self, replicas: int) -> None:
        self.replicas = replicas
        self.asked: list[int] = []
        self.refuses = False
        self.hangs = False
        self.begun = asyncio.Event()

    async def control_mode(self, server: str) -> None:
        raise NotImplementedError(server)

    async def apply(self, action: Action) -> Outcome:
        assert (action.step, action.server) == (Step.SCALE, OBJECT.name)
        self.asked.append(action.target.instances)
        self.begun.set()
        if self.refuses:
            remedy = "grant patch on deployments/scale"
            return Outcome(action, ActionStatus.FAILED, action.issued_at + 1.0, "403", FailureClass.UNKNOWN, remedy)
        self.replicas = action.target.instances
        if self.hangs:
            await asyncio.Event().wait()
        return Outcome(action, ActionStatus.SUCCEEDED, action.issued_at)

    def follow(self, fleet: Fleet) -> None: ...

    async def close(self) -> None: ...


class Loop:
    """The production tick over a workload of `serving` replicas that share the load; those that are set start."""

    def __init__(self, spec: WorkloadSpec = OBJECT, mode: Mode = Mode.ACT, serving: int = 4) -> None:
        self.now = NOW
        self.per_s, self.serving, self.follows = 20.0, serving, True
        self.policy = Policy()
        self.deployment = Deployment(serving)
        self.discovery = ToldDiscovery(spec)
        self.fleet = Fleet((), (replace(MODEL, mode=mode),), workloads=(spec,))
        self.thread = StoreThread(open_store("sqlite://"))
        self.collector = FixedCollector(FleetReading(NOW, {}, {}, {}, Missing("-")))
        self.executor: Executor | None = None

    async def begin(self) -> None:
        """A control plane on what the store holds."""
        self.roster = Roster(self.fleet, [self.discovery])
        self.executor = Executor(
            self.deployment,  # type: ignore[arg-type]
            self.thread,
            lambda: self.now,
            refresh=self._no_server,
            announce=self._nothing,
        )
        self.tick = Tick(
            self.roster,
            self.policy,
            self.collector,
            self.thread,
            self.executor,
            lambda: self.now,
            grace=Grace(5.0, 5.0),
            decide_s=STEP_S,
        )
        await self.tick.resume()

    async def look(self) -> Decision:
        """One tick, with what came of it."""
        assert self.executor is not None
        members = self.members()
        self.discovery.find(OBJECT.name, members, self.now)
        self.roster.update(self.now)
        self.collector.fixed = self.reading([m for m in members if m.phase is Phase.READY])
        plan = await self.tick.run()
        if not self.deployment.hangs:
            assert await self.executor.idle(30.0)
        self.now += STEP_S
        return next(d for d in plan.decisions if d.server == OBJECT.name)

    def members(self) -> list[Member]:
        """Those that are there."""
        members = [a_member(n, created_at=OLD) for n in range(self.serving)]
        if self.follows:
            starting = range(self.serving, self.deployment.replicas)
            members = [a_member(n, Phase.STARTING, self.now - 1.0) for n in starting] + members
            members = members[: self.deployment.replicas]
        return members

    def reading(self, members: list[Member]) -> FleetReading:
        """What those that are ready tell."""
        told = [
            replace(
                i,
                completed=round(i.completed),
                running_start=round(i.running_start or 0),
                running_end=round(i.running_end or 0),
            )
            for i in steady(self.now, self.per_s / len(members))
        ]
        seen = Known(a_reading(told), self.now)
        live = Known(value=True, observed_at=self.now)
        servers = {
            m.server.name: ServerReading(m.server.name, live, Missing("-"), 0, {MODEL.name: seen}) for m in members
        }
        return FleetReading(self.now, servers, {}, {}, Missing("-"))

    async def _nothing(self) -> None: ...

    async def _no_server(self, server: str) -> None:
        raise AssertionError(server)


@pytest.fixture
async def loop() -> AsyncIterator[Loop]:
    made = Loop()
    await made.begin()
    yield made
    if made.executor is not None:
        await made.executor.close(0.01)
    made.thread.close()


async def test_replicas_are_set_once_and_what_starts_counts(loop: Loop) -> None:
    decision = await loop.look()
    assert (decision.step, decision.current) == (Step.SCALE, Target(loaded=True, instances=4))
    assert loop.deployment.replicas == 5
    for _ in range(4):
        assert (await loop.look()).step is Step.HOLD
    assert loop.deployment.asked == [5]
    record = await loop.thread.call(lambda s: s.decision(decision.id))
    assert [outcome.status for outcome in record.outcomes] == [ActionStatus.SUCCEEDED]


async def test_what_was_set_and_does_not_show_yet_is_not_set_again_each_tick(loop: Loop) -> None:
    loop.follows = False
    first = await loop.look()
    then = [await loop.look() for _ in range(4)]
    assert loop.deployment.asked == [5]
    assert {d.binding for d in then} == {ReasonCode.IN_FLIGHT}
    assert first.actionable


async def test_while_a_step_is_under_way_no_other_begins(loop: Loop) -> None:
    loop.deployment.hangs, loop.follows = True, False
    await loop.look()
    await loop.deployment.begun.wait()
    loop.per_s = 60.0
    decision = await loop.look()
    assert (decision.step, decision.binding, loop.deployment.asked) == (Step.HOLD, ReasonCode.IN_FLIGHT, [5])


async def test_a_step_that_is_refused_is_tried_again_after_its_back_off(loop: Loop) -> None:
    loop.deployment.refuses = True
    bindings = [(await loop.look()).binding for _ in range(8)]
    assert bindings[1] is ReasonCode.BACK_OFF
    assert len(loop.deployment.asked) == 3, "15, 30 and 60 s apart"
    assert [o.remedy for o in loop.tick.picture().failed] == ["grant patch on deployments/scale"]
    loop.deployment.refuses = False
    for _ in range(10):
        await loop.look()
    assert loop.deployment.replicas == 5
    assert loop.tick.picture().failed == ()


async def test_one_killed_in_the_middle_goes_on_and_sets_the_same(loop: Loop) -> None:
    loop.deployment.hangs = True
    await loop.look()
    await loop.deployment.begun.wait()
    assert loop.executor is not None
    for _, task in loop.executor._flying.values():
        task.cancel()
    loop.deployment.hangs = False
    await loop.begin()
    for _ in range(3):
        assert (await loop.look()).step is Step.HOLD
    assert (loop.deployment.asked, loop.deployment.replicas) == ([5], 5)
    ended = await loop.thread.call(lambda s: s.outcomes(0.0))
    assert [outcome.status for outcome in ended] == [ActionStatus.INTERRUPTED]


@pytest.mark.parametrize(
    ("spec", "mode"),
    [(SPEC, Mode.ACT), (replace(OBJECT, publish_only=True), Mode.ACT), (OBJECT, Mode.RECOMMEND)],
)
async def test_what_others_see_to_is_only_told(spec: WorkloadSpec, mode: Mode) -> None:
    loop = Loop(spec, mode)
    try:
        await loop.begin()
        assert (await loop.look()).step is Step.SCALE
        assert (await loop.look()).step is Step.SCALE
        assert loop.deployment.asked == []
    finally:
        loop.thread.close()


def scale(to: int, *, by_person: bool = False) -> Decision:
    now, wanted = Target(loaded=True, instances=4), Target(loaded=True, instances=to)
    return Decision(
        "d", NOW, "llm", "fleet", Mode.ACT, Step.SCALE, now, wanted, (), ReasonCode.DEMAND_AHEAD, by_person=by_person
    )


def seen(replicas: int, **more: object) -> Snapshot:
    members = [a_member(n) for n in range(replicas)] + [a_member(90, Phase.TERMINATING)]
    fleet = Fleet((), (MODEL,), workloads=(OBJECT,)).with_members(members)
    return replace(Snapshot(fleet, FleetReading(NOW, {}, {}, {}, Missing("-"))), **more)  # type: ignore[arg-type]


def frozen(direction: FreezeDirection, at: float, model: str = "") -> dict[str, object]:
    return {"freezes": (Freeze("f", model, direction, "ann", "a release", at, NOW + 600),)}


def test_the_recheck_of_replicas_drops_what_is_so_or_is_no_longer_so() -> None:
    assert objection(scale(5), seen(4)) == ""
    assert objection(scale(5), seen(5)) == "it is so already"
    assert objection(scale(5), seen(3)) == "4 replicas became 3 replicas"
    gone = replace(seen(4).fleet, workloads=())
    assert objection(scale(5), seen(4, fleet=gone)) == "the workload is no longer configured"
    unlisted = replace(seen(4).fleet, unlisted=frozenset({"fleet"}))
    assert objection(scale(5), seen(4, fleet=unlisted)) == "the servers of fleet are no longer known"


@pytest.mark.parametrize("model", ["", "llm"])
def test_what_a_person_said_since_the_decision_wins(model: str) -> None:
    said = "frozen since by ann: a release"
    assert objection(scale(5), seen(4, **frozen(FreezeDirection.NO_UP, NOW + 1, model))) == said
    assert objection(scale(3), seen(4, **frozen(FreezeDirection.ALL, NOW + 1, model))) == said
    assert objection(scale(3), seen(4, **frozen(FreezeDirection.NO_UP, NOW + 1, model))) == ""
    assert objection(scale(5), seen(4, **frozen(FreezeDirection.ALL, NOW - 1, model))) == "", "the decision knew it"
    assert objection(scale(5), seen(4, **frozen(FreezeDirection.ALL, NOW + 1, "another"))) == ""
    assert objection(scale(5, by_person=True), seen(4, **frozen(FreezeDirection.ALL, NOW + 1, model))) == ""


def test_a_newer_instruction_replaces_an_older_one() -> None:
    pin = Override("o", "", OverrideKind.PIN, "bob", "an incident", NOW + 1, NOW + 600, 1, workload="fleet")
    assert objection(scale(5, by_person=True), seen(4, overrides=(pin,))) == "bob has said pin since: an incident"
    elsewhere = replace(pin, workload="other")
    assert objection(scale(5), seen(4, overrides=(elsewhere,))) == ""

"""Decisions become actions: one in flight per unit, journalled, contained."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from controlplane.domain.batching import BatchingKnobs
from controlplane.domain.decision import Action, ActionStatus, Outcome, Step, Target
from controlplane.domain.errors import StoreBusyError
from controlplane.domain.failures import FailureClass
from controlplane.domain.fleet import Fleet, Mode, Phase
from controlplane.domain.instructions import Freeze, FreezeDirection
from controlplane.domain.observation import FleetReading
from controlplane.domain.records import TickRecord
from controlplane.domain.snapshot import Snapshot
from controlplane.domain.state import PolicyState
from controlplane.loop.executor import Executor
from controlplane.loop.recheck import objection
from controlplane.loop.store_thread import StoreThread
from controlplane.store import SqlStore, open_store
from tests.discovery_fake import member
from tests.unit.loop.worlds import FLEET, NOW, GatedActuator, a_decision, a_reading


class Bench:
    """An executor with its surroundings."""

    def __init__(self, limit: int = 4) -> None:
        self.store = open_store("sqlite://")
        self.thread = StoreThread(self.store)
        self.actuator = GatedActuator()
        self.fleet = FLEET
        self.reading: FleetReading = a_reading()
        self.leads = True
        self.refreshed: list[str] = []
        self.refresh_error: Exception | None = None
        self.executor = Executor(
            self.actuator,
            self.thread,
            lambda: self.actuator.now,
            refresh=self._refresh,
            announce=self._announce,
            limit=limit,
            may_act=lambda: self.leads,
        )

    async def _refresh(self, server: str) -> None:
        self.refreshed.append(server)
        if self.refresh_error is not None:
            raise self.refresh_error

    async def _announce(self) -> None:
        pass

    def start(self, *decisions: object) -> None:
        self.executor.start(decisions, self.look)  # type: ignore[arg-type]

    def look(self) -> Snapshot:
        return Snapshot(self.fleet, self.reading)

    async def done(self) -> tuple[Outcome, ...]:
        self.actuator.gate.set()
        assert await self.executor.idle(30.0)
        return self.executor.take_results()


def seen(reading: FleetReading) -> Snapshot:
    return Snapshot(FLEET, reading)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    yield made
    made.actuator.gate.set()
    await made.executor.close(1.0)
    made.thread.close()


async def test_what_came_of_a_step_is_journalled_and_told_once(bench: Bench) -> None:
    bench.store.write_tick(TickRecord(NOW, (), (a_decision(),), (), PolicyState()))
    bench.start(a_decision())
    (outcome,) = await bench.done()
    assert outcome.status is ActionStatus.SUCCEEDED
    assert [o.status for o in bench.store.decision("d-1").outcomes] == [ActionStatus.SUCCEEDED]
    assert bench.refreshed == ["t0"]
    assert bench.executor.last_outcome("a", "t0") == outcome
    assert bench.executor.take_results() == ()


async def test_one_step_is_in_flight_per_unit_and_others_go_on(bench: Bench) -> None:
    bench.start(a_decision("d-1"), a_decision("d-2"), a_decision("d-3", model="b"))
    bench.start(a_decision("d-4"))
    assert {a.id for a in bench.executor.in_flight} == {"d-1", "d-3"}
    await bench.done()
    assert sorted(a.id for a in bench.actuator.applied) == ["d-1", "d-3"]
    assert bench.executor.in_flight == ()


async def test_a_step_is_issued_when_its_turn_comes_so_that_the_wait_is_not_taken_for_a_slow_start() -> None:
    bench = Bench(limit=1)
    bench.actuator.gate.set()
    bench.actuator.takes_s = 10.0
    bench.start(*(a_decision(f"d-{model}", model=model) for model in ("a", "b")))
    assert [action.waits for action in bench.executor.in_flight] == [True, True]
    outcomes = await bench.done()
    assert [(o.action.waits, o.took_s) for o in outcomes] == [(False, 10.0)] * 2
    assert [a.issued_at for a in bench.actuator.applied] == [NOW, NOW + 10.0]
    bench.thread.close()


@pytest.mark.parametrize(
    "decision",
    [
        a_decision(mode=Mode.RECOMMEND),
        a_decision(mode=Mode.OBSERVE, by_person=True),
        a_decision(step=Step.HOLD),
        a_decision(target=None),
    ],
)
async def test_what_is_not_to_be_carried_out_is_not(bench: Bench, decision: object) -> None:
    bench.start(decision)
    assert bench.executor.in_flight == ()


async def test_a_decision_that_the_world_has_overtaken_is_dropped_unjournalled(bench: Bench) -> None:
    bench.reading = a_reading(instances=4)
    bench.start(a_decision())
    (outcome,) = await bench.done()
    assert (outcome.status, outcome.detail) == (ActionStatus.DROPPED, "1 instance became 4 instances")
    assert bench.actuator.applied == []
    assert bench.store.interrupt_actions(NOW) == ()


async def test_an_actuator_that_raises_is_a_failed_action(bench: Bench) -> None:
    bench.actuator.error = RuntimeError("boom")
    bench.start(a_decision())
    (outcome,) = await bench.done()
    assert (outcome.status, outcome.failure) == (ActionStatus.FAILED, FailureClass.UNKNOWN)
    assert outcome.detail == "RuntimeError: boom"


async def test_a_reading_that_fails_after_the_step_loses_no_outcome(bench: Bench) -> None:
    bench.refresh_error = RuntimeError("boom")
    bench.start(a_decision())
    (outcome,) = await bench.done()
    assert outcome.status is ActionStatus.SUCCEEDED
    assert bench.store.interrupt_actions(NOW) == ()


async def test_without_a_journal_nothing_is_done(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(_self: SqlStore, _action: Action) -> None:
        raise StoreBusyError("the database is away")

    monkeypatch.setattr(SqlStore, "start_action", away)
    bench.start(a_decision())
    (outcome,) = await bench.done()
    assert (outcome.status, bench.actuator.applied) == (ActionStatus.DROPPED, [])
    assert "away" in outcome.detail


async def test_closing_gives_a_hanging_step_its_time_and_no_more(bench: Bench) -> None:
    bench.start(a_decision())
    await bench.actuator.begun.wait()
    async with asyncio.timeout(30.0):
        await bench.executor.close(0.05)
    assert bench.executor.in_flight == ()
    assert bench.actuator.closed
    assert [a.id for a in bench.store.interrupt_actions(NOW)] == ["d-1"]


@pytest.mark.parametrize(
    ("step", "target", "instances", "expected"),
    [
        (Step.SET_INSTANCES, Target(loaded=True, instances=2), 1, ""),
        (Step.SET_INSTANCES, Target(loaded=True, instances=2), 2, "it is so already"),
        (Step.SET_INSTANCES, Target(loaded=True, instances=3), 2, "1 instance became 2 instances"),
        (Step.RELOAD, Target(loaded=True, instances=1), 5, ""),
        (Step.UNLOAD, Target(loaded=False, instances=0), 1, ""),
    ],
)
def test_recheck_objects_to_what_has_changed(step: Step, target: Target, instances: int, expected: str) -> None:
    assert objection(a_decision(step=step, target=target), seen(a_reading(instances))) == expected


def test_other_batching_is_dropped_where_it_is_so_already_and_where_scaling_was_frozen_since() -> None:
    there = Target(loaded=True, instances=1, batching=BatchingKnobs(0, dynamic=False))
    wanted = Target(loaded=True, instances=1, batching=BatchingKnobs(8))
    one = seen(a_reading(1))
    assert objection(a_decision(step=Step.CONFIGURE, target=there), one) == "it is so already"
    decision = a_decision(step=Step.CONFIGURE, target=wanted)
    assert objection(decision, one) == ""
    assert objection(decision, seen(a_reading(2))) == "1 instance became 2 instances"
    freeze = Freeze("f", "", FreezeDirection.NO_UP, "ada", "incident", decision.at + 1, decision.at + 60)
    assert objection(decision, replace(one, freezes=(freeze,))) == "frozen since by ada: incident"


def test_recheck_does_not_act_blind() -> None:
    whole = a_reading()
    blind = seen(replace(whole, servers={"t0": replace(whole.servers["t0"], models={})}))
    assert objection(a_decision(), blind) == "what is on t0 is no longer known"
    assert objection(a_decision(step=Step.RELOAD), blind) == ""
    assert objection(a_decision(target=None), seen(whole)) == "the decision names no target"


def test_nothing_is_done_on_a_server_that_has_left() -> None:
    without = seen(replace(a_reading(), servers={}))
    assert objection(a_decision(), without) == "the server has left"
    assert objection(a_decision(step=Step.RELOAD), without) == "the server has left"


async def test_what_waits_for_its_turn_is_not_done_once_its_server_terminates(bench: Bench) -> None:
    leaving = replace(member("0", Phase.TERMINATING), server=FLEET.servers[0])
    bench.start(a_decision())
    bench.fleet = Fleet((), FLEET.models).with_members([leaving])
    (outcome,) = await bench.done()
    assert (outcome.status, outcome.detail) == (ActionStatus.DROPPED, "the server is terminating")
    assert not bench.actuator.applied


async def test_what_is_remembered_of_servers_goes_with_them_but_not_what_is_under_way(bench: Bench) -> None:
    bench.start(a_decision())
    await bench.done()
    bench.actuator.gate.clear()
    bench.start(a_decision("d-2", model="b"))
    empty = Fleet((), FLEET.models)
    bench.executor.follow(empty)
    assert bench.actuator.fleet == empty
    assert bench.executor.last_outcome("a", "t0") is None
    assert [action.id for action in bench.executor.in_flight] == ["d-2"]
    (outcome,) = await bench.done()
    assert outcome.status is ActionStatus.SUCCEEDED
    bench.executor.follow(empty)
    assert not bench.executor._slots


async def test_who_may_not_lead_any_more_when_a_step_is_due_takes_it_not(bench: Bench) -> None:
    bench.leads = False  # it was paused while the step was journalled
    bench.start(a_decision())
    (outcome,) = await bench.done()
    assert (outcome.status, outcome.detail) == (ActionStatus.DROPPED, "another control plane may lead by now")
    assert bench.actuator.applied == []


async def test_what_is_let_go_of_is_waited_for_no_more_and_what_waits_is_not_begun(bench: Bench) -> None:
    bench.executor._limit = 1
    bench.start(a_decision(), a_decision(model="b"))
    await bench.actuator.begun.wait()
    await bench.executor.let_go()
    assert bench.executor.in_flight == ()
    bench.actuator.gate.set()
    await asyncio.sleep(0.01)
    assert [action.model for action in bench.actuator.applied] == ["a"]


async def test_what_is_let_go_of_before_it_ran_at_all_can_be_begun_again(bench: Bench) -> None:
    bench.start(a_decision())
    await bench.executor.let_go()  # the lease was lost right after the tick
    assert bench.executor.in_flight == ()
    bench.start(a_decision())
    (outcome,) = await bench.done()
    assert outcome.status is ActionStatus.SUCCEEDED

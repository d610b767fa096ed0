"""What holds a change of MIG layouts, before it and in the middle; and what is told of one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from controlplane.config.mig.boards import boards
from controlplane.decide.mig import Gpu, MigModel, MigQuestion, Slice
from controlplane.decide.mig.proposal import MigAsk, propose
from controlplane.decide.mig.rest import outdated
from controlplane.domain.errors import StoreError
from controlplane.domain.fleet import Fleet
from controlplane.domain.instructions import Freeze, FreezeDirection
from controlplane.domain.layouts import (
    ChangeState,
    LayoutChange,
    LayoutPlan,
    LayoutStep,
    MigMemory,
    MigPicture,
    StepEnd,
    StepKind,
)
from controlplane.domain.mig import LayoutState, NodeOutcome
from controlplane.domain.observation import FleetReading
from controlplane.domain.signal import Known, Missing, Signal, Stale, known
from controlplane.domain.snapshot import Snapshot
from controlplane.domain.sources import AgentSpec
from controlplane.loop.mig_changer import MigChanger, Note
from controlplane.loop.mig_going import Hands, moved
from controlplane.loop.mig_hands import ByAgents
from controlplane.loop.mig_nodes import ByNodes, Held, Stopped
from controlplane.loop.mig_one_change import OneChange
from controlplane.publish.alerting.mig import change_failed
from tests.property.test_mig_changes import anew
from tests.unit.loop.cut_gpus import CUT, FLEET, a_gpu, a_reading, process
from tests.unit.loop.mig_node import OFF, Free, Nodes

H100 = boards()["h100-80gb"]
NOW = 1000.0
EMPTY = Snapshot(Fleet((), ()), FleetReading(NOW, {}, {}, {}, Missing("none")))


def question(demand: float = 10.0) -> MigQuestion:
    """One GPU whole under a model that slices would do for, one cut and idle."""
    gpus = (
        Gpu("GPU-a", H100, (OFF,), 1.0, {OFF: ("small",)}),
        Gpu("GPU-b", H100, (Slice("3g.40gb", 4),)),
    )
    small = MigModel("small", demand, {"1g.10gb": 5.0, "whole": 5.0}, 6.0)
    large = MigModel("large", 8.0, {"4g.40gb": 8.0}, 30.0)
    return MigQuestion(gpus, (small, large))


def freeze(model: str = "", direction: FreezeDirection = FreezeDirection.ALL, until: float = NOW + 60) -> Snapshot:
    return replace(EMPTY, freezes=(Freeze("f", model, direction, "ann", "incident 7", NOW, until),))


def seen_on(node_of: Mapping[str, str]) -> Snapshot:
    """GPUs on which nothing computes."""
    gpus = tuple(replace(a_gpu(uuid), node=node) for uuid, node in node_of.items())
    return Snapshot(FLEET, replace(EMPTY.reading, gpus=Known(gpus, NOW)))


class Bench:
    """A changer on nodes in memory. `leads`, what people said and the time are set by the test."""

    def __init__(
        self,
        asked: MigQuestion | None = None,
        *,
        max_share: float = 1.0,
        plan_share: float = 1.0,
        operator: bool = False,
    ) -> None:
        asked = asked or question()
        self.now, self.leads, self.snapshot = NOW, True, EMPTY
        self.nodes = Nodes.of(asked.gpus)
        self.plan: LayoutPlan = propose(MigAsk(asked, 3600.0, max_share=max_share))
        self.after: Callable[[int], None] = lambda _: None
        self.operator = Operator()
        self.hands: Hands = ByAgents(
            self.nodes, self.nodes, serves=self.nodes.serves, start_s=0.0, plan_share=plan_share
        )
        if operator:
            self.snapshot = seen_on(self.nodes.node_of)
            self.hands = ByNodes(self.operator, self.nodes, plan_share=plan_share)
        self.noted: list[tuple[str, str]] = []
        self.kept: list[MigMemory] = []
        self.store_away = ""
        self.changer = MigChanger(
            self.hands, lambda: self.now, may_act=lambda: self.leads, rest_s=600.0, most_s=3600.0, noting=self.noting
        )
        did = self.changer.did
        self.done = 0

        def told(steps: int) -> None:
            did(steps)
            self.done += steps
            self.after(self.done)

        self.changer.did = told  # type: ignore[method-assign]

    def noting(self) -> Note:
        return self.note

    async def note(self, verb: str, detail: str, kept: MigMemory) -> None:
        if self.store_away:
            raise StoreError(self.store_away)
        self.noted.append((verb, detail))
        self.kept.append(kept)

    def held(self, said: Snapshot, at: float) -> str:
        return self.changer.held(self.plan, self.nodes.node_of, said, at)

    async def change(self) -> LayoutChange:
        begun = MigMemory(self.plan, frozenset({"GPU-x"}))
        self.changer.begin(self.plan, self.nodes.node_of, lambda: self.snapshot, begun)
        await self.changer.ended()
        assert self.changer.change is not None
        return self.changer.change


async def test_a_plan_is_carried_out_and_told() -> None:
    bench = Bench()
    assert bench.held(EMPTY, NOW) == ""
    done = await bench.change()
    assert done == LayoutChange(ChangeState.DONE, NOW, len(bench.plan.steps), len(bench.plan.steps), "", NOW, NOW)
    assert {name for name, _, _ in bench.nodes.copies} == {"small", "large"}
    await bench.changer.close()


async def test_what_is_begun_and_how_it_ended_is_written_down_and_what_cannot_be_is_not_begun() -> None:
    bench = Bench()
    bench.store_away = "database is locked"
    held = await bench.change()
    assert (held.state, held.why) == (ChangeState.HELD, "it cannot be written down: database is locked")
    assert bench.nodes.calls == []
    bench.store_away = ""
    await bench.change()
    (begun, reasons), (ended, how) = bench.noted
    assert (begun, ended) == ("mig change begun", "mig change ended")
    assert reasons.startswith(f"{len(bench.plan.steps)} steps on ")
    assert "it pays after" in reasons
    assert how == f"done, {len(bench.plan.steps)} of {len(bench.plan.steps)} steps"


async def test_who_does_not_lead_begins_nothing_and_who_loses_the_lead_no_further_step() -> None:
    bench = Bench()
    bench.leads = False
    assert "may lead" in bench.held(EMPTY, NOW)
    bench.leads = True

    def lose(_: int) -> None:
        bench.leads = False

    bench.after = lose
    held = await bench.change()
    assert (held.state, held.done, held.again_at) == (ChangeState.HELD, bench.done, NOW)
    assert 0 < held.done < held.steps


async def test_a_halt_lets_the_step_under_way_end_and_begins_no_other() -> None:
    bench = Bench()

    def halted(_: int) -> None:
        bench.changer.halt()
        bench.changer.resume(
            lambda: bench.snapshot
        )  # it leads again before the step is over: the plan is of another term all the same

    bench.after = halted
    held = await bench.change()
    assert (held.state, held.done) == (ChangeState.HELD, bench.done)
    assert held.done < held.steps
    bench.after = lambda _: None
    assert (await bench.change()).why.startswith("GPU GPU-"), "the layouts are those that it left"


async def test_a_freeze_of_everything_or_of_a_model_that_moves_holds_it_until_it_ends() -> None:
    bench = Bench()
    held = bench.held
    assert held(freeze(), NOW) == "everything is frozen by ann: incident 7"
    assert held(freeze("small"), NOW) == "small is frozen by ann: incident 7"
    assert held(freeze("another"), NOW) == ""
    assert held(freeze(direction=FreezeDirection.NO_DOWN), NOW) == ""
    assert held(freeze(), NOW + 61) == ""

    def said(_: int) -> None:
        bench.snapshot = freeze("small")

    bench.after = said
    change = await bench.change()
    assert (change.state, change.why) == (ChangeState.HELD, "small is frozen by ann: incident 7")
    assert change.done < change.steps


async def test_after_failures_the_next_one_waits_longer_each_time() -> None:
    bench = Bench()
    for waits in (600.0, 1200.0, 2400.0, 3600.0, 3600.0):
        bench.nodes.fail_at = len(bench.nodes.calls) + 1
        failed = await bench.change()
        assert (failed.state, failed.again_at) == (ChangeState.FAILED, bench.now + waits)
        assert "no room" in failed.why
        assert "the next is not before" in bench.held(EMPTY, bench.now + waits - 1)
        assert bench.held(EMPTY, bench.now + waits) == ""
        bench.snapshot = freeze("small")
        assert (await bench.change()).again_at == bench.now, "a person's word is no failure, and mends none"
        bench.snapshot = EMPTY
    done = await bench.change()
    assert done.state is ChangeState.DONE
    assert bench.held(EMPTY, bench.now) == ""


async def test_a_gpu_that_somebody_else_cut_meanwhile_is_left_alone() -> None:
    bench = Bench()
    bench.nodes.slices["GPU-b"].add(Slice("1g.10gb", 0))
    held = await bench.change()
    assert held.state is ChangeState.HELD
    assert "is no longer cut as the plan supposes: 1g.10gb at 0, 3g.40gb at 4" in held.why
    assert bench.nodes.calls == []
    assert held.again_at == NOW + 600
    assert bench.changer.left_out(NOW + 599) == {"GPU-b": held.why}, "so that the others can be planned without it"
    assert bench.changer.left_out(NOW + 600) == {}


async def test_a_gpu_that_may_not_be_changed_is_left_alone_with_the_reason() -> None:
    bench = Bench()
    bench.nodes.why = "its geometry is another"
    held = await bench.change()
    assert (held.state, bench.nodes.calls) == (ChangeState.HELD, [])
    assert held.why.endswith("its geometry is another")


async def test_a_node_that_does_not_answer_is_a_failure_before_anything_is_done() -> None:
    bench = Bench()
    bench.nodes.away = {"node-0"}
    failed = await bench.change()
    assert (failed.state, failed.why) == (ChangeState.FAILED, "agent node-0: connection refused")
    assert bench.nodes.calls == []


async def test_nothing_is_drained_before_what_was_started_in_its_place_answers() -> None:
    bench = Bench()
    bench.nodes.silent = {"small"}
    failed = await bench.change()
    assert failed.state is ChangeState.FAILED
    assert "start of small on 1g.10gb" in failed.why
    assert "it does not answer after 0 s" in failed.why
    assert ("small", "GPU-a", OFF) in bench.nodes.copies, "the old copy serves on"


async def taken_over(kept: MigMemory, bench: Bench | None = None) -> Bench:
    """A process that goes on from what was kept."""
    bench = bench or Bench()
    bench.now = NOW + 100
    bench.changer.resume(lambda: bench.snapshot, kept)
    await bench.changer.ended()
    return bench


async def test_before_anything_is_begun_the_plan_is_kept_and_at_its_end_what_came_of_it() -> None:
    bench = Bench()
    touched: list[int] = []
    note = bench.note

    async def noted(verb: str, detail: str, kept: MigMemory) -> None:
        touched.append(len(bench.nodes.calls))
        await note(verb, detail, kept)

    bench.changer._noting = lambda: noted
    done = await bench.change()
    begun, ended = bench.kept
    assert touched[0] == 0
    assert begun.plan == ended.plan == bench.plan
    assert begun.out == ended.out == {"GPU-x"}
    assert begun.change == LayoutChange(ChangeState.UNDER_WAY, NOW, len(bench.plan.steps))
    assert ended.change == done


async def test_a_change_that_failed_is_told_by_the_next_process_which_waits_as_long() -> None:
    bench = Bench()
    bench.nodes.fail_at = 1
    failed = await bench.change()
    again = await taken_over(bench.kept[-1])
    assert again.changer.change == failed
    (alert,) = change_failed(MigPicture(change=again.changer.change))
    assert alert.detail == failed.why
    assert again.changer.ended_in == {}, "it is no second failure"
    assert again.held(EMPTY, NOW + 599) == "the last change came to nothing; the next is not before 1 s are over"
    again.nodes.fail_at = 1
    assert (await again.change()).again_at == NOW + 100 + 1200, "and it is the second"


async def test_a_change_whose_process_ended_is_told_as_held() -> None:
    bench = Bench()
    await bench.change()
    again = await taken_over(bench.kept[0])
    change = again.changer.change
    assert change is not None
    assert (change.state, change.ended_at, change.again_at) == (ChangeState.HELD, NOW + 100, 0.0)
    assert change.why == "the control plane that carried it out ended"
    assert list(change_failed(MigPicture(change=change))) == []


async def test_of_two_changes_the_newer_is_told_by_who_leads_again() -> None:
    bench = Bench()
    bench.nodes.fail_at = 1
    failed = await bench.change()
    older = replace(failed, began_at=NOW - 1, state=ChangeState.DONE)
    await taken_over(MigMemory(change=older), bench)
    assert bench.changer.change == failed
    newer = replace(failed, began_at=NOW + 50, why="of another leader")
    await taken_over(MigMemory(change=newer), bench)
    assert bench.changer.change == newer


async def test_a_node_that_was_left_as_failed_is_told_also_where_nothing_was_kept_of_it() -> None:
    bench = Bench(operator=True)
    bench.operator.left = (NodeOutcome("node-1", LayoutState.FAILED, "mig-manager says failed"),)
    await taken_over(MigMemory(), bench)
    (alert,) = change_failed(MigPicture(change=bench.changer.change))
    assert (alert.node, alert.detail) == ("node-1", "node node-1: mig-manager says failed")
    assert bench.held(bench.snapshot, bench.now) == "", "it is left to a person, and holds nothing else"
    assert bench.changer.ended_in == {}
    await taken_over(MigMemory(), bench)
    assert not bench.changer.resume_is_due(NOW + 9999)


async def again(bench: Bench, asked: MigQuestion) -> LayoutChange:
    """The next plan, of what there is by now, carried out."""
    copies = bench.changer.copies
    resting = copies.resting(bench.now)
    bench.plan = propose(MigAsk(anew(asked, bench.nodes), 3600.0, resting=resting, behind=copies.models(bench.now)))
    return await bench.change()


async def test_a_copy_that_never_starts_holds_up_no_other_and_is_tried_again_ever_later() -> None:
    free = tuple(Gpu(f"GPU-{n}", H100) for n in "ab")
    models = (MigModel("bad", 10.0, {"3g.40gb": 10.0}, 6.0), MigModel("good", 40.0, {"2g.20gb": 10.0}, 6.0))
    asked = MigQuestion(free, models)
    bench = Bench(asked)
    bench.nodes.broken = {("bad", uuid) for uuid in ("GPU-a", "GPU-b")}
    failed = await bench.change()
    assert (failed.state, "start of bad" in failed.why) == (ChangeState.FAILED, True)
    bench.now += 599
    done = await again(bench, asked)
    assert done.state is ChangeState.DONE
    assert sum(name == "good" for name, _, _ in bench.nodes.copies) == 4
    assert any("wait in part for a copy of bad, of which a start failed: others go" in r for r in bench.plan.reasons)
    assert bench.plan.short_then_per_s["bad"] > 0, "and it is told that it is short meanwhile"
    for waits in (1200.0, 2400.0, 3600.0, 3600.0):
        assert (await again(bench, asked)).steps == 0, "it rests, and nothing else is to do"
        bench.now = max(one.retry_at for one in bench.changer.copies.kept)
        failed = await again(bench, asked)
        assert failed.state is ChangeState.FAILED
        assert max(one.retry_at for one in bench.changer.copies.kept) == bench.now + waits
        assert bench.kept[-1].failing == bench.changer.copies.kept, "the next process knows it too"
    bench.nodes.broken, bench.now = set(), bench.now + 3600
    assert (await again(bench, asked)).state is ChangeState.DONE
    assert bench.changer.copies.kept == ()
    assert sum(name == "bad" for name, _, _ in bench.nodes.copies) == 1


async def test_a_copy_that_starts_and_never_answers_is_one_whose_start_failed() -> None:
    bench = Bench()
    bench.nodes.silent = {"small"}
    await bench.change()
    assert {one.model for one in bench.changer.copies.kept} == {"small"}
    over = await taken_over(bench.kept[-1])
    assert over.changer.copies.kept == bench.changer.copies.kept


def four() -> MigQuestion:
    """Four GPUs, of two nodes, each whole under a copy where a slice would do: three are to be given up."""
    gpus = tuple(Gpu(f"GPU-{n}", H100, (OFF,), 1.0, {OFF: ("small",)}) for n in range(4))
    return MigQuestion(gpus, (MigModel("small", 20.0, {"1g.10gb": 5.0, "whole": 5.0}, 6.0),))


def cut_so_far(bench: Bench) -> set[str]:
    return {uuid for _, uuid, _, _ in bench.nodes.done}


async def test_a_plan_over_the_bound_goes_in_rounds_with_few_gpus_out_of_service() -> None:
    bench = Bench(four(), max_share=0.25)
    assert bench.plan.rounds > 1
    assert f"in {bench.plan.rounds} rounds: 1 of 4 GPUs at most are out of service at a time" in bench.plan.reasons
    whole: list[int] = []

    def look(_: int) -> None:
        idle = {uuid for uuid in bench.nodes.slices if not any(uuid == at for _, at, _ in bench.nodes.copies)}
        given_up = {uuid for uuid in idle if all(step.uuid != uuid for step in bench.plan.steps[bench.done :])}
        whole.append(len(idle - given_up))

    bench.after = look
    done = await bench.change()
    assert (done.state, done.done) == (ChangeState.DONE, len(bench.plan.steps))
    assert max(whole) == 1


async def test_before_a_round_what_is_left_is_looked_at_anew_and_dropped_where_it_changed() -> None:
    bench = Bench(four(), max_share=0.25)
    first = {step.uuid for step in bench.plan.steps if step.round == 0}
    last = max(bench.plan.steps, key=lambda step: step.round).uuid

    def cut(done: int) -> None:
        if done == sum(step.round == 0 for step in bench.plan.steps):
            bench.nodes.slices[last] = {Slice("1g.10gb", 6)}

    bench.after = cut
    held = await bench.change()
    assert held.state is ChangeState.HELD
    assert held.why == f"GPU {last} of {bench.nodes.node_of[last]} is no longer cut as the plan supposes: 1g.10gb at 6"
    assert cut_so_far(bench) == first, "nothing of a later round was begun"


async def test_a_copy_that_stops_answering_ends_it_before_the_next_round() -> None:
    bench = Bench(four(), max_share=0.25)
    first = {step.uuid for step in bench.plan.steps if step.round == 0}
    starts = iter([step for step in bench.plan.steps if step.round == 0 and step.action == "start"])
    assert isinstance(bench.hands, ByAgents)
    bench.hands._serves = lambda *_: next(starts, None) is not None  # each answers once, and then no more
    failed = await bench.change()
    assert (failed.state, failed.done) == (ChangeState.FAILED, sum(s.round == 0 for s in bench.plan.steps))
    assert "it does not answer after 0 s" in failed.why
    assert cut_so_far(bench) == first


async def test_a_round_that_does_not_pay_any_more_is_not_begun_and_the_next_plan_may_be_at_once() -> None:
    bench = Bench(four(), max_share=0.25)
    ask, first = MigAsk(four(), 3600.0, max_share=0.25), sum(step.round == 0 for step in bench.plan.steps)
    demand = {"small": 20.0}

    def rises(done: int) -> None:
        if done == first:
            demand["small"] = 30.0

    bench.after = rises
    bench.changer.begin(
        bench.plan,
        bench.nodes.node_of,
        lambda: bench.snapshot,
        MigMemory(bench.plan),
        lambda left: outdated(ask, bench.plan, left, demand),
    )
    await bench.changer.ended()
    held = bench.changer.change
    assert held is not None
    assert (held.state, held.done, held.again_at) == (ChangeState.HELD, first, NOW)
    assert "30/s are asked of small by now, not 20/s; short of 0/s now" in held.why
    assert bench.noted[-1][1].endswith(held.why)


async def test_under_the_operator_a_node_is_not_begun_where_that_does_not_pay_any_more() -> None:
    bench = Bench(replace(four(), models=(MigModel("small", 140.0, {"1g.10gb": 5.0}, 6.0),)), operator=True)
    asked: list[set[str]] = []

    def told(left: Sequence[LayoutStep]) -> str:
        asked.append({bench.nodes.node_of[step.uuid] for step in left})
        return "it does not pay any more"

    bench.changer.begin(bench.plan, bench.nodes.node_of, lambda: bench.snapshot, MigMemory(), told)
    await bench.changer.ended()
    assert (asked, [node for node, _ in bench.operator.asked]) == ([{"node-1"}], ["node-0"])
    assert bench.changer.change is not None
    assert (bench.changer.change.why, bench.changer.change.again_at) == ("it does not pay any more", NOW)


async def test_one_plan_takes_no_more_gpus_out_of_service_than_it_may() -> None:
    bench = Bench(four(), max_share=0.25, plan_share=0.5)
    held = await bench.change()
    assert held.state is ChangeState.HELD
    assert held.why == (
        "one plan takes 2 of 4 GPUs out of service at most, and this one did 2; the next goes on from here"
    )
    assert held.again_at == NOW, "which may be at once"
    assert len(cut_so_far(bench)) == 2


async def test_a_freeze_between_two_rounds_holds_the_next() -> None:
    bench = Bench(four(), max_share=0.25)

    def said(done: int) -> None:
        if done == sum(step.round == 0 for step in bench.plan.steps):
            bench.snapshot = freeze("small")

    bench.after = said
    held = await bench.change()
    assert (held.state, held.why) == (ChangeState.HELD, "small is frozen by ann: incident 7")
    assert held.done == sum(step.round == 0 for step in bench.plan.steps)


async def test_under_the_operator_one_plan_takes_no_more_nodes_than_it_may() -> None:
    all_of_them = replace(four(), models=(MigModel("small", 140.0, {"1g.10gb": 5.0}, 6.0),))
    bench = Bench(all_of_them, plan_share=0.5, operator=True)
    held = await bench.change()
    assert held.state is ChangeState.HELD
    assert held.why.startswith("one plan takes 2 of 4 GPUs out of service at most, and this one did 2")
    assert [node for node, _ in bench.operator.asked] == ["node-0"]


class Operator:
    """Cuts nodes in one go; adapts NodeCutter. `ends`: of each call in turn, then DONE; `begun` before, by models."""

    def __init__(self, *ends: LayoutState, begun: tuple[str, ...] | None = None) -> None:
        self.ends, self.begun = list(ends), begun
        self.left: tuple[NodeOutcome, ...] = ()
        self.meanwhile: Callable[[], None] = lambda: None
        self.asked: list[tuple[str, dict[str, list[Slice]]]] = []
        self.touched: list[tuple[str, ...] | None] = []

    async def cut(
        self,
        node: str,
        layouts: Mapping[str, Collection[Slice]],
        models: tuple[str, ...] | None,
        held: Held,
        stopped: Stopped,
    ) -> NodeOutcome:
        self.asked.append((node, {uuid: list(layout) for uuid, layout in layouts.items()}))
        self.touched.append(models)
        self.meanwhile()
        return self._came(node, stopped() or held(models))

    async def go_on(self, held: Held, stopped: Stopped) -> tuple[NodeOutcome, ...]:
        self.meanwhile()
        return (self._came("node-0", stopped() or held(self.begun)),)

    async def failed(self) -> tuple[NodeOutcome, ...]:
        return self.left

    async def close(self) -> None:
        """Nothing."""

    def _came(self, node: str, why: str) -> NodeOutcome:
        state = LayoutState.HELD if why else self.ends.pop(0) if self.ends else LayoutState.DONE
        return NodeOutcome(node, state, why or "no room" if state is not LayoutState.DONE else "")


async def test_under_the_operator_a_node_is_cut_in_one_go_and_only_gpus_that_change() -> None:
    bench, operator = Bench(), Operator()
    free = Free()
    await ByNodes(operator, bench.nodes).carry_out(bench.plan, bench.nodes.node_of, free)
    ((node, layouts),) = operator.asked
    assert node == "node-0"
    for uuid, layout in layouts.items():
        assert {(p.profile, p.start) for p in layout} == {(p.profile, p.start) for p in bench.plan.layouts[uuid]}
    assert free.done == len(bench.plan.steps)
    assert free.ends == {(StepKind.NODE, StepEnd.DONE): 1}


async def test_a_freeze_that_comes_while_a_node_is_drained_holds_it_and_is_told() -> None:
    bench = Bench(operator=True)

    def said() -> None:
        bench.snapshot = replace(bench.snapshot, freezes=freeze("small").freezes)

    bench.operator.meanwhile = said
    held = await bench.change()
    assert (held.state, held.why) == (ChangeState.HELD, "node node-0: small is frozen by ann: incident 7")
    assert held.again_at == NOW + 600, "pods are not evicted again at once for what may be held again"
    assert bench.changer.resume_is_due(NOW), "what was left half done, if anything was, is gone on with"
    assert bench.operator.touched == [("large", "small")], "all that is on the node's GPUs, or is to be"
    assert bench.changer.steps == {(StepKind.NODE, StepEnd.HELD): 1}


async def resumed(operator: Operator, said: Snapshot) -> Bench:
    bench = Bench(operator=True)
    bench.hands._cutter = operator  # type: ignore[attr-defined]
    bench.snapshot = said
    bench.changer.resume(lambda: bench.snapshot)
    await bench.changer.ended()
    return bench


@pytest.mark.parametrize(
    ("begun", "said", "why"),
    [
        (("small",), freeze(), "everything is frozen by ann: incident 7"),
        (("small",), freeze("small"), "small is frozen by ann: incident 7"),
        (None, freeze("another"), "another is frozen by ann: incident 7"),
        (("small",), freeze("another"), ""),
        (("small",), freeze(until=NOW), ""),
        ((), freeze("another"), ""),
    ],
)
async def test_what_an_earlier_process_began_is_held_by_what_people_said_since(
    begun: tuple[str, ...] | None, said: Snapshot, why: str
) -> None:
    bench = await resumed(Operator(begun=begun), said)
    assert bench.noted == ([("mig change held", f"of an earlier process: node node-0: {why}")] if why else [])
    assert bench.changer.steps == {(StepKind.NODE, StepEnd.HELD if why else StepEnd.DONE): 1}


async def test_what_an_earlier_process_began_and_fails_now_is_told_as_any_change_that_failed() -> None:
    bench = await resumed(Operator(LayoutState.UNREACHABLE), EMPTY)
    assert bench.changer.steps == {(StepKind.NODE, StepEnd.UNREACHABLE): 1}
    assert bench.noted == [("mig change failed", "of an earlier process: node node-0: no room")]
    assert bench.changer.ended_in == {ChangeState.FAILED: 1}
    (alert,) = change_failed(MigPicture(change=bench.changer.change))
    assert (alert.node, alert.detail) == ("node-0", "node node-0: no room")
    assert not bench.changer.resume_is_due(NOW + 599)
    assert bench.changer.resume_is_due(NOW + 600), "or a node would stay drained until somebody starts us anew"
    bench.changer.resume(lambda: EMPTY)
    assert not bench.changer.resume_is_due(NOW + 600), "it is under way"
    await bench.changer.ended()
    assert not bench.changer.resume_is_due(NOW + 9999)
    assert bench.changer.steps[StepKind.NODE, StepEnd.DONE] == 1


async def test_after_a_change_that_failed_what_it_left_half_done_is_due_again() -> None:
    bench = Bench(operator=True)
    assert not bench.changer.resume_is_due(NOW + 9999)
    bench.operator.ends = [LayoutState.UNREACHABLE]
    assert (await bench.change()).state is ChangeState.FAILED
    assert bench.changer.resume_is_due(NOW + 600)


def test_a_node_that_is_drained_touches_every_model_seen_on_its_gpus() -> None:
    going = OneChange(Bench().changer, lambda: Snapshot(FLEET, a_reading(CUT)))
    assert going.touched("node-a") == ("small",)


@pytest.mark.parametrize(
    "gpus",
    [
        Missing("agents away"),
        Stale((CUT,), NOW, 300.0, "agents away"),
        Known((replace(CUT, node="node-b"),), NOW),
        Known((CUT, a_gpu("GPU-b", processes=Missing("driver hangs"))), NOW),
        Known((CUT, a_gpu("GPU-b", processes=Known((process("", port=7),), NOW))), NOW),
    ],
    ids=["none is read", "none is read any more", "those of another node are read", "no processes", "a stranger"],
)
def test_where_not_all_that_computes_on_a_node_is_known_a_freeze_of_any_model_holds_it(gpus: Signal[Any]) -> None:
    bench = Bench(operator=True)
    now = Snapshot(FLEET, replace(a_reading(CUT), gpus=gpus), freezes=freeze("another").freezes)
    going = OneChange(bench.changer, lambda: now)
    assert going.touched("node-a") is None
    assert going.forbidden(going.touched("node-a")) == "another is frozen by ann: incident 7"
    assert bench.changer.held(bench.plan, dict.fromkeys(bench.plan.layouts, "node-a"), now, NOW) != ""


async def test_a_freeze_of_a_model_that_only_shares_the_node_holds_a_plan_before_it_is_begun() -> None:
    bench = Bench(operator=True)
    computing = a_gpu("GPU-c", processes=Known((process("", port=9000),), NOW))
    gpus = (*known(bench.snapshot.reading.gpus), replace(computing, node="node-0"))  # type: ignore[misc]
    agents = (AgentSpec("node-0", FLEET.agents[0].url),)
    fleet = replace(FLEET, agents=agents, models=(replace(FLEET.models[0], name="shares"),))
    bench.snapshot = Snapshot(fleet, replace(bench.snapshot.reading, gpus=Known(gpus, NOW)))
    assert bench.held(bench.snapshot, NOW) == ""
    frozen = replace(bench.snapshot, freezes=freeze("shares").freezes)
    assert bench.held(frozen, NOW) == "shares is frozen by ann: incident 7"
    assert "shares" not in (moved(bench.plan) or ())


@pytest.mark.parametrize("halted", [False, True], ids=["in doubt", "halted"])
async def test_who_loses_the_lead_while_a_node_is_changed_does_nothing_more_there(*, halted: bool) -> None:
    bench = Bench(operator=True)

    def lose() -> None:
        bench.leads = halted
        if halted:
            bench.changer.halt()

    bench.operator.meanwhile = lose
    held = await bench.change()
    assert (held.state, held.why) == (ChangeState.HELD, "node node-0: another control plane may lead by now")
    bench.leads = True
    bench.operator.meanwhile = lambda: None
    assert bench.changer.resume_is_due(NOW), "where it was in doubt for that moment only, nobody else goes on"
    bench.operator.begun, bench.operator.meanwhile = ("small",), lose
    bench.changer.resume(lambda: bench.snapshot)
    await bench.changer.ended()
    assert bench.noted[-1] == (
        "mig change held",
        "of an earlier process: node node-0: another control plane may lead by now",
    )
    assert bench.changer.resume_is_due(NOW)


async def test_what_is_to_be_gone_on_with_is_so_once_it_leads_for_certain() -> None:
    bench = Bench(operator=True)
    bench.operator.begun, bench.leads = ("small",), False
    bench.changer.resume(lambda: bench.snapshot)
    await bench.changer.ended()
    assert bench.changer.steps == {}
    assert bench.changer.resume_is_due(NOW)
    bench.leads = True
    bench.changer.resume(lambda: bench.snapshot)
    await bench.changer.ended()
    assert bench.changer.steps == {(StepKind.NODE, StepEnd.DONE): 1}
    assert not bench.changer.resume_is_due(NOW + 9999)


async def test_closing_ends_a_change_that_another_waits_for_too() -> None:
    bench = Bench()
    gate, ends = asyncio.Event(), list[str]()

    async def wait(*_: object) -> None:
        try:
            await gate.wait()
            ends.append("went on")
        except asyncio.CancelledError:
            ends.append("cancelled")
            raise

    bench.hands.carry_out = wait  # type: ignore[method-assign,assignment]
    bench.changer.begin(bench.plan, bench.nodes.node_of, lambda: EMPTY, MigMemory())
    await asyncio.sleep(0)
    bench.changer.halt()
    bench.changer.resume(lambda: EMPTY)
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await bench.changer.close()
    gate.set()
    await asyncio.sleep(0)
    assert ends == ["cancelled"]
    assert not bench.changer.busy


async def test_a_gpu_that_waits_for_its_reset_is_no_failure_and_is_left_out_of_plans() -> None:
    bench = Bench()
    bench.nodes.resets = {"GPU-a"}
    waits = await bench.change()
    assert (waits.state, waits.why, waits.node) == (
        ChangeState.RESET_REQUIRED,
        "GPU GPU-a of node-0: at its next reset",
        "node-0",
    )
    assert waits.again_at == NOW, "the others can be planned at once"
    assert bench.held(EMPTY, NOW) == ""
    assert bench.changer.left_out(NOW + 599) == {"GPU-a": waits.why}
    assert bench.changer.left_out(NOW + 600) == {}, "by then its reading tells"
    assert bench.changer.steps[StepKind.MODE, StepEnd.RESET_REQUIRED] == 1
    assert list(change_failed(MigPicture(change=waits))) == []
    assert bench.noted[-1][1].startswith("reset_required, ")

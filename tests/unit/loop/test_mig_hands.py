"""A wave of steps of which some fail: what is begun, what is told, and what is counted."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from controlplane.decide.mig import Gpu, MigModel, MigQuestion, Slice
from controlplane.decide.mig.proposal import MigAsk, propose
from controlplane.domain.layouts import StepEnd, StepKind
from controlplane.domain.mig import Act, CopyOutcome, CopyState, GpuLayout
from controlplane.loop.mig_going import FailedError, HeldError, ResetRequiredError
from controlplane.loop.mig_hands import ByAgents, _all
from tests.unit.loop.mig_node import Free, Nodes
from tests.unit.loop.test_mig_changer import H100

HELD = HeldError("frozen")
RESET = ResetRequiredError("GPU-a waits", "node-0", "GPU-a")
FAILED = FailedError("GPU-b: no room", "node-1")
FAULT = KeyError("unexpected")


def raising(fault: Exception, begun: asyncio.Barrier, turns: int = 0) -> Callable[[], Awaitable[None]]:
    """Raises so many turns of the loop after all are begun."""

    async def work() -> None:
        await begun.wait()
        for _ in range(10 * turns):
            await asyncio.sleep(0)
        raise fault

    return work


@pytest.mark.parametrize(
    ("first", "then"), [(HELD, RESET), (HELD, FAILED), (RESET, FAILED), (FAILED, FAULT), (HELD, FAULT)]
)
async def test_the_gravest_fault_of_a_wave_is_told_whichever_comes_first(first: Exception, then: Exception) -> None:
    for faults in ((first, then), (then, first)):
        both = asyncio.Barrier(2)
        with pytest.raises(type(then)) as told:
            await _all([raising(fault, both, turns) for turns, fault in enumerate(faults)], 8)
        assert told.value is then


async def test_after_a_fault_that_nobody_expected_too_no_work_is_begun_and_all_that_was_has_ended() -> None:
    gate, begun, ended = asyncio.Event(), list[int](), list[int]()

    def work(n: int) -> Callable[[], Awaitable[None]]:
        async def run() -> None:
            begun.append(n)
            await gate.wait()
            ended.append(n)

        return run

    going = asyncio.create_task(_all([work(0), raising(FAULT, asyncio.Barrier(1)), *(work(n) for n in range(1, 6))], 2))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not going.done(), "one is under way"
    gate.set()
    with pytest.raises(KeyError):
        await going
    assert begun == ended == [0]


@pytest.mark.parametrize(
    ("silent", "end"), [(set[str](), StepEnd.DONE), ({"small"}, StepEnd.UNREACHABLE)], ids=["answers", "not yet"]
)
async def test_copies_that_were_started_in_a_wave_where_another_step_fails_are_counted(
    silent: set[str], end: StepEnd
) -> None:
    question = MigQuestion(
        (Gpu("GPU-a", H100, (Slice("1g.10gb", 0), Slice("1g.10gb", 1), Slice("1g.10gb", 2))),),
        (MigModel("small", 15.0, {"1g.10gb": 5.0}, 6.0),),
    )
    plan, nodes, free = propose(MigAsk(question, 3600.0)), Nodes.of(question.gpus), Free()
    assert [step.action for step in plan.steps] == [Act.START] * 3
    run, nodes.silent = nodes.run, silent

    async def fails_at_last(node: str, act: Act, gpu: str, piece: Slice, model: str) -> CopyOutcome:
        nodes.fail_at = 3
        return await run(node, act, gpu, piece, model)

    nodes.run = fails_at_last  # type: ignore[method-assign]
    hands = ByAgents(nodes, nodes, serves=nodes.serves, start_s=0.0)
    with pytest.raises(FailedError, match="exit code 3"):
        await hands.carry_out(plan, nodes.node_of, free)
    assert free.ends == {(StepKind.START, end): 2, (StepKind.START, StepEnd.FAILED): 1}
    assert free.done == 2


async def test_a_gpu_is_not_cut_where_the_lead_was_lost_while_its_layout_was_read() -> None:
    question = MigQuestion(
        (Gpu("GPU-a", H100, (Slice("3g.40gb", 4),)),), (MigModel("small", 5.0, {"1g.10gb": 5.0}, 6.0),)
    )
    plan, nodes, free = propose(MigAsk(question, 3600.0)), Nodes.of(question.gpus), Free()
    read, reads = nodes.layouts, list[str]()

    async def layouts(node: str) -> tuple[GpuLayout, ...]:
        reads.append(node)
        return await read(node)

    def may_go() -> None:
        if len(reads) > 1:  # the first is for the round
            raise HELD

    nodes.layouts, free.may_go = layouts, may_go  # type: ignore[method-assign]
    with pytest.raises(HeldError):
        await ByAgents(nodes, nodes, serves=nodes.serves, start_s=0.0).carry_out(plan, nodes.node_of, free)
    assert (len(reads), nodes.calls) == (2, [])


@pytest.mark.parametrize(
    ("waits", "patience_s", "frozen", "state"),
    [(3, 3600.0, False, "done"), (3, 0.0, False, "refused"), (3, 3600.0, True, "frozen")],
)
async def test_a_copy_whose_turn_has_not_come_is_asked_for_again_while_it_may_be(
    monkeypatch: pytest.MonkeyPatch, waits: int, patience_s: float, *, frozen: bool, state: str
) -> None:
    monkeypatch.setattr("controlplane.loop.mig_hands._TURN_S", patience_s)
    question = MigQuestion(
        (Gpu("GPU-a", H100, (Slice("1g.10gb", 0),)),), (MigModel("small", 5.0, {"1g.10gb": 5.0}, 6.0),)
    )
    plan, nodes, free = propose(MigAsk(question, 3600.0)), Nodes.of(question.gpus), Free()
    run, asked = nodes.run, list[str]()

    async def waiting(node: str, act: Act, gpu: str, piece: Slice, model: str) -> CopyOutcome:
        asked.append(model)
        if len(asked) <= waits:
            return CopyOutcome(gpu, piece, model, CopyState.WAITING, "1 are under way: ask again")
        return await run(node, act, gpu, piece, model)

    def may_go() -> None:
        if frozen and asked:
            raise HELD

    nodes.run, free.may_go = waiting, may_go  # type: ignore[method-assign]
    ends = ByAgents(nodes, nodes, serves=nodes.serves, start_s=0.0).carry_out(plan, nodes.node_of, free)
    if state == "done":
        await ends
        assert free.ends == {(StepKind.START, StepEnd.DONE): 1}
    else:
        with pytest.raises((FailedError, HeldError), match=state):
            await ends
        assert (nodes.copies, len(asked)) == (set(), 1)

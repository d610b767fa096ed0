"""The hands of the MIG planner: its steps as agents carry them out, round by round and wave by wave."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby

import structlog

from controlplane.decide.mig.rounds import taken_out
from controlplane.domain.layouts import LayoutPlan, LayoutStep, StepEnd, StepKind
from controlplane.domain.mig import (
    WHOLE,
    Act,
    CopyOutcome,
    CopyRunner,
    CopyState,
    LayoutOutcome,
    LayoutState,
    MigActuator,
    NodeOutcome,
    Slice,
)
from controlplane.loop.mig_going import (
    OFF,
    FailedError,
    Going,
    HeldError,
    Layout,
    ResetRequiredError,
    before,
    moved,
    piece_of,
    supposed,
    within_plan,
)

log = structlog.get_logger(__name__)

_TURN_S = 3600.0
"""A copy is asked for again for so long: each that goes first ends in time, by its agent's deadline."""
Work = Callable[[], Awaitable[None]]


class ByAgents:
    """Slice by slice through the agents of the nodes; a wave is begun when the one before is wholly done.

    Before a round what is left has to pay still, all GPUs that are left to change are read anew, and all copies that
    were started have to answer. At most `plan_share` of the GPUs of a plan are taken out of service by it, but one
    always, or two that need each other.
    `serves(model, gpu, slice)` tells whether a copy answers; one that was started is waited for `start_s` seconds. No
    more than `at_once` nodes are cut, or copies started and drained, at the same time.
    """

    def __init__(
        self,
        cutter: MigActuator,
        copies: CopyRunner,
        *,
        serves: Callable[[str, str, Slice], bool],
        start_s: float,
        poll_s: float = 1.0,
        at_once: int = 8,
        plan_share: float = 1.0,
    ) -> None:
        """Connects to nothing yet."""
        self._cutter, self._copies, self._serves = cutter, copies, serves
        self._start_s, self._poll_s, self._at_once, self._plan_share = start_s, poll_s, at_once, plan_share

    async def carry_out(self, plan: LayoutPlan, nodes: Mapping[str, str], going: Going) -> None:
        """See Hands."""
        now = before(plan)
        done = 0
        for number, of_round in groupby(plan.steps, key=lambda step: step.round):
            steps = tuple(of_round)
            if number:
                going.may_go()
                going.pays(plan.steps[done:])
            within_plan(taken_out(plan.steps[:done]), taken_out(steps), plan, self._plan_share)
            if number:
                await self._answering(_running(plan.steps[:done]), nodes)
            left = {step.uuid for step in plan.steps[done:]}
            await supposed(self._cutter, {uuid: now[uuid] for uuid in left}, nodes)
            for _, wave in groupby(steps, key=lambda step: step.wave):
                await self._wave(tuple(wave), now, nodes, going)
            done += len(steps)

    def touches(self, plan: LayoutPlan, nodes: Mapping[str, str], going: Going) -> tuple[str, ...] | None:  # noqa: ARG002
        """Those whose copies move: all else stays where it is."""
        return moved(plan)

    async def resume(self, going: Going) -> None:
        """Nothing: each agent goes on by its own journal."""

    async def failed(self) -> tuple[NodeOutcome, ...]:
        """None: no node is kept from anybody."""
        return ()

    async def close(self) -> None:
        """Let go of connections."""
        await self._cutter.close()
        await self._copies.close()

    async def _wave(
        self, wave: Sequence[LayoutStep], now: dict[str, Layout], nodes: Mapping[str, str], going: Going
    ) -> None:
        cuts: defaultdict[str, list[LayoutStep]] = defaultdict(list)
        copies = []
        for step in wave:
            if step.action in {Act.CREATE, Act.DESTROY}:
                cuts[step.uuid].append(step)
            else:
                copies.append(step)
        started: list[LayoutStep] = []
        works: list[Work] = [partial(self._copy, step, nodes, going, started) for step in copies]
        by_node: defaultdict[str, list[str]] = defaultdict(list)
        for uuid in sorted(cuts):
            by_node[nodes[uuid]].append(uuid)
        works += [partial(self._node, node, uuids, cuts, now, going) for node, uuids in by_node.items()]
        silent = StepEnd.UNREACHABLE  # of one that may answer later
        try:
            await _all(works, self._at_once)
            silent = StepEnd.FAILED
            await self._answering(started, nodes)
        except Exception:
            for step in started:
                answers = self._answers(step)
                going.came(StepKind.START, StepEnd.DONE if answers else silent)
                if answers or silent is StepEnd.FAILED:
                    going.started(step.model, step.uuid, answers=answers)
            raise
        for step in started:
            going.came(StepKind.START, StepEnd.DONE)
            going.started(step.model, step.uuid, answers=True)

    async def _node(
        self,
        node: str,
        uuids: Sequence[str],
        cuts: Mapping[str, Sequence[LayoutStep]],
        now: dict[str, Layout],
        going: Going,
    ) -> None:
        """The GPUs of one node, one after the other."""
        for uuid in uuids:
            wanted = now[uuid]
            for step in cuts[uuid]:
                wanted = wanted | {piece_of(step)} if step.action == Act.CREATE else wanted - {piece_of(step)}
            await self._cut(node, uuid, now[uuid], wanted, going)
            now[uuid] = wanted
            going.did(len(cuts[uuid]))

    async def _cut(self, node: str, uuid: str, here: Layout, wanted: Layout, going: Going) -> None:
        await supposed(self._cutter, {uuid: here}, {uuid: node})
        if not wanted and here <= OFF:
            return  # MIG comes on with the first slice
        going.may_go()  # last, however long the reading took
        outcome = await self._cutter.apply(node, uuid, sorted(wanted), dry_run=False)
        for kind, end in _came(outcome, here, wanted):
            going.came(kind, end)
        if outcome.state is LayoutState.RESET_REQUIRED:
            raise ResetRequiredError(f"GPU {uuid} of {node}: {outcome.detail}", node, uuid)
        if outcome.state is not LayoutState.DONE:
            raise FailedError(f"GPU {uuid} of {node}: {outcome.state.value.replace('_', ' ')}: {outcome.detail}", node)

    async def _copy(self, step: LayoutStep, nodes: Mapping[str, str], going: Going, started: list[LayoutStep]) -> None:
        """Adds to `started` what has yet to answer."""
        outcome = await self._in_turn(step, nodes[step.uuid], going)
        if outcome.state is CopyState.DONE and step.action == Act.START:
            started.append(step)
        else:
            going.came(StepKind(step.action), StepEnd(outcome.state.value))
            if step.action == Act.START:
                going.started(step.model, step.uuid, answers=False)
        if outcome.state is not CopyState.DONE:
            raise FailedError(f"{_said(step)}: {outcome.state.value}: {outcome.detail}", nodes[step.uuid])
        going.did(1)

    async def _in_turn(self, step: LayoutStep, node: str, going: Going) -> CopyOutcome:
        """What came of it. While others are under way on the node it is asked for again, as long as it may be."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + _TURN_S
        while True:
            going.may_go()
            outcome = await self._copies.run(node, Act(step.action), step.uuid, piece_of(step), step.model)
            if outcome.state is not CopyState.WAITING:
                return outcome
            if loop.time() >= ends:
                return replace(outcome, state=CopyState.REFUSED)

    async def _answering(self, started: Sequence[LayoutStep], nodes: Mapping[str, str]) -> None:
        """Wait until all that was started answers: what follows may drain others."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + self._start_s
        while silent := [step for step in started if not self._answers(step)]:
            if loop.time() >= ends:
                why = f"{_said(silent[0])}: it does not answer after {self._start_s:g} s"
                raise FailedError(why, nodes[silent[0].uuid])
            await asyncio.sleep(self._poll_s)

    def _answers(self, step: LayoutStep) -> bool:
        return self._serves(step.model, step.uuid, piece_of(step))


def _running(steps: Iterable[LayoutStep]) -> list[LayoutStep]:
    """The starts among steps done, of copies that none of them drained."""
    started: dict[tuple[str, str, Slice], LayoutStep] = {}
    for step in steps:
        if step.action == Act.START:
            started[step.model, step.uuid, piece_of(step)] = step
        elif step.action == Act.DRAIN:
            started.pop((step.model, step.uuid, piece_of(step)), None)
    return list(started.values())


def _came(outcome: LayoutOutcome, here: Layout, wanted: Layout) -> Iterator[tuple[StepKind, StepEnd]]:
    """What came of the steps of one GPU; of one that tells none, as where nobody answers, that one of them did not."""
    for step in outcome.steps:
        if step.done:
            yield _kind(step.act, step.piece), StepEnd.DONE
    if outcome.state is LayoutState.DONE:
        return
    end = StepEnd(outcome.state.value) if outcome.state.value in set(StepEnd) else StepEnd.FAILED
    left = next((step for step in outcome.steps if not step.done), None)
    if left is not None:
        yield _kind(left.act, left.piece), end
    else:
        yield _kind(Act.DESTROY if here - wanted else Act.CREATE, min(here ^ wanted)), end


def _kind(act: Act, piece: Slice) -> StepKind:
    return StepKind.MODE if piece.profile == WHOLE else StepKind(act.value)


async def _all(works: Iterable[Work], at_once: int) -> None:
    """All that are begun come to their end, and none is begun after a fault; the gravest fault is raised."""
    slots, faults = asyncio.Semaphore(at_once), list[Exception]()

    async def in_turn(work: Work) -> None:
        async with slots:
            try:
                if not faults:
                    await work()
            except Exception as fault:  # noqa: BLE001 - whatever it is, it is raised below
                faults.append(fault)

    await asyncio.gather(*map(in_turn, works))
    if faults:
        gravest = min(faults, key=_grade)
        for other in (fault for fault in faults if fault is not gravest):
            log.warning("also in this wave of a change of MIG layouts", fault=type(other).__name__, why=str(other))
        raise gravest


def _grade(fault: Exception) -> int:
    """The graver the less: a fault of ours, a step that failed, a reset that is a person's to do, a word to wait."""
    expected = (FailedError, ResetRequiredError, HeldError)
    return next((n for n, kind in enumerate(expected, 1) if isinstance(fault, kind)), 0)


def _said(step: LayoutStep) -> str:
    return f"{step.action} of {step.model} on {step.profile} at {step.start} of GPU {step.uuid}"

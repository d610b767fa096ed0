"""Carries out plans of MIG layouts beside the ticks: one at a time, each step only while it may be."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import structlog

from controlplane.domain.errors import ControlPlaneError
from controlplane.domain.layouts import ChangeState, LayoutChange, LayoutPlan, MigMemory, StepEnd, StepKind
from controlplane.domain.leader import NOT_LEADING
from controlplane.domain.mig import NodeOutcome
from controlplane.domain.snapshot import Snapshot
from controlplane.loop.clock import Clock
from controlplane.loop.mig_failing import FailingCopies
from controlplane.loop.mig_going import FailedError, Hands, HeldError, ResetRequiredError
from controlplane.loop.mig_one_change import OneChange, Outdated
from controlplane.loop.mig_people import forbidden

log = structlog.get_logger(__name__)

_BROKEN_OFF = "the control plane that carried it out ended"
Note = Callable[[str, str, MigMemory], Awaitable[None]]
"""Writes down what is begun or how it ended, and what the next process is to know of it. Raises ControlPlaneError."""


class MigChanger:
    """Plans are made anew from what there is: whatever ends a change, the next plan goes on.

    After a failure, or where a GPU, a node in the middle or the store held it, no plan is carried out for `rest_s`
    seconds, for twice as long after each further one, up to `most_s`, until one is done. `may_act` is asked last before
    each step, and all the time while a node is changed: whether this process leads for certain.
    `noting` gives what notes a change, as of the term in which it is begun: it may end when others led since, and what
    they wrote is newer. What cannot be written down is not begun.
    """

    def __init__(
        self,
        hands: Hands,
        clock: Clock,
        *,
        may_act: Callable[[], bool],
        rest_s: float,
        most_s: float,
        noting: Callable[[], Note],
    ) -> None:
        self._hands, self._clock, self._may_act, self._noting = hands, clock, may_act, noting
        self._rest_s, self._most_s = rest_s, most_s
        self._tasks: list[asyncio.Task[None]] = []
        self._going: OneChange | None = None
        self._failures = 0
        self._left_out: dict[str, tuple[str, float]] = {}
        self._resume_at = math.inf
        self._begun = MigMemory()
        self.copies = FailingCopies(clock, rest_s, most_s)
        """Those whose start failed: others go first."""
        self.change: LayoutChange | None = None
        """The newest one."""
        self.ended_in: Counter[ChangeState] = Counter()
        """How many ended so."""
        self.steps: Counter[tuple[StepKind, StepEnd]] = Counter()
        """How many steps came to which end."""

    @property
    def busy(self) -> bool:
        """Whether a change is under way."""
        return any(not task.done() for task in self._tasks)

    @property
    def ended_at(self) -> float:
        """When the newest change ended; what was read before knows nothing of it. 0: there was none."""
        return 0.0 if self.change is None else self.change.ended_at or self.change.began_at

    def held(self, plan: LayoutPlan, nodes: Mapping[str, str], now: Snapshot, at: float) -> str:
        """Why the plan must not be carried out at this moment, empty: it may. `nodes`: where its GPUs are."""
        if not self._may_act():
            return NOT_LEADING
        if self.change is not None and at < self.change.again_at:
            return f"the last change came to nothing; the next is not before {self.change.again_at - at:.0f} s are over"
        return forbidden(self._hands.touches(plan, nodes, OneChange(self, lambda: now, plan, nodes)), now, at)

    def begin(
        self,
        plan: LayoutPlan,
        nodes: Mapping[str, str],
        look: Callable[[], Snapshot],
        begun: MigMemory,
        outdated: Outdated = lambda _: "",
    ) -> None:
        """Begin to carry out a plan; nothing may be under way. `look` gives what people said, for rechecks.

        `begun`: the last plan of all, and what was out of service before it, as kept with the change from here on.
        `outdated` is asked before each round but the first.
        """
        self._begun, self._going = begun, OneChange(self, look, plan, nodes, outdated)
        self.change = LayoutChange(ChangeState.UNDER_WAY, self._clock(), len(plan.steps))
        log.info("change of MIG layouts begun", steps=len(plan.steps), gpus=len({step.uuid for step in plan.steps}))
        self._start(self._run(plan, nodes, self._going, self._noting()), "mig-change")

    def left_out(self, now: float) -> Mapping[str, str]:
        """GPUs of which nothing is to be asked for now, by UUID, with why: they held the last change."""
        return {uuid: why for uuid, (why, until) in self._left_out.items() if until > now}

    def resume(self, look: Callable[[], Snapshot], kept: MigMemory | None = None) -> None:
        """Go on with what an earlier process left half done, where nobody else does; once nothing is under way here.

        `look` gives what people said, from now on. Where that fails it is due again after `rest_s`, and at once where
        this process did not lead for certain. `kept` of the last one that led: its newest change is told on.
        """
        self.halt()
        self._resume_at, self._going, self._begun = math.inf, OneChange(self, look), kept or self._begun
        before = [task for task in self._tasks if not task.done()]
        self._start(self._resumed(before, self._going, kept, self._noting()), "mig-resume")

    def resume_is_due(self, now: float) -> bool:
        """Whether something was broken off and may be half done: a node is not to stay drained for that."""
        return now >= self._resume_at and not self.busy

    def halt(self) -> None:
        """Begin no further step of what is under way, whoever leads later.

        A step of an agent comes to its end; a node under the GPU operator is left as it is, for who leads then.
        """
        if self._going is not None:
            self._going.halted = True

    def leads(self) -> bool:
        """Whether this process leads for certain, at this moment."""
        return self._may_act()

    def forbidden(self, models: Collection[str] | None, now: Snapshot) -> str:
        """Why a person forbids moving these models at this moment; empty: nobody does."""
        return forbidden(models, now, self._clock())

    def did(self, steps: int) -> None:
        """Told after each step."""
        if self.change is not None:
            self.change = replace(self.change, done=self.change.done + steps)

    def came(self, kind: StepKind, end: StepEnd) -> None:
        """Told to what end a step came."""
        self.steps[kind, end] += 1

    def started(self, model: str, uuid: str, *, answers: bool) -> None:
        """Told that a copy answers, or that its start failed."""
        self.copies.started(model, uuid, answers=answers)

    async def ended(self) -> None:
        """Wait until nothing is under way."""
        while going := [task for task in self._tasks if not task.done()]:
            await asyncio.wait(going)

    async def close(self) -> None:
        """End: what is under way on nodes comes to its end there."""
        self.halt()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._hands.close()

    def _take_over(self, kept: MigMemory) -> None:
        """Tell the newest change of whoever led last, unless that was this process, which knows more of it."""
        change = kept.change
        if change is None or (self.change is not None and self.change.began_at >= change.began_at):
            return
        if change.state is ChangeState.UNDER_WAY:
            change = replace(change, state=ChangeState.HELD, why=_BROKEN_OFF, ended_at=self._clock())
        self.change, self._failures = change, kept.failures
        self.copies.kept = kept.failing

    def _tell(self, failed: Sequence[NodeOutcome]) -> None:
        """Tell the nodes that were left as failed before, where nothing that failed is told."""
        if failed and (self.change is None or self.change.state is not ChangeState.FAILED):
            now, why = self._clock(), "; ".join(f"node {came.node}: {came.why}" for came in failed)
            self.change = LayoutChange(ChangeState.FAILED, now, 0, why=why, ended_at=now, node=failed[0].node)
            log.error("a change of MIG layouts failed before", why=why)

    def _kept(self) -> MigMemory:
        return replace(self._begun, change=self.change, failures=self._failures, failing=self.copies.kept)

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        self._tasks = [*(task for task in self._tasks if not task.done()), asyncio.create_task(work, name=name)]

    async def _run(self, plan: LayoutPlan, nodes: Mapping[str, str], going: OneChange, note: Note) -> None:
        gpus = len({step.uuid for step in plan.steps})
        try:
            told = f"{len(plan.steps)} steps on {gpus} GPUs: {'; '.join(plan.reasons)}"
            await note("mig change begun", told, self._kept())
        except ControlPlaneError as error:
            self._end(ChangeState.HELD, f"it cannot be written down: {error}", rests=True)
            return
        await self._carry_out(plan, nodes, going)
        change = self.change
        if change is not None:
            why = f": {change.why}" if change.why else ""
            told = f"{change.state}, {change.done} of {change.steps} steps{why}"
            try:
                await note("mig change ended", told, self._kept())
            except ControlPlaneError as error:
                log.error("the end of a change of MIG layouts is not written down", error=str(error))

    async def _carry_out(self, plan: LayoutPlan, nodes: Mapping[str, str], going: OneChange) -> None:
        try:
            await self._hands.carry_out(plan, nodes, going)
        except HeldError as error:
            self._end(ChangeState.HELD, str(error), rests=bool(error.gpu or error.node))
            if error.node:
                self._resume_at = self._clock()  # where the lead was in doubt for that moment only, it was left drained
            if error.gpu and self.change is not None:
                self._left_out[error.gpu] = (str(error), self.change.again_at)
        except ResetRequiredError as error:
            self._end(ChangeState.RESET_REQUIRED, str(error), error.node)
            # until it is read anew, and of an agent that does not tell what is pending
            self._left_out[error.gpu] = (str(error), self._clock() + self._rest_s)
        except FailedError as error:
            self._end(ChangeState.FAILED, str(error), error.node, rests=True)
        except Exception as error:
            log.exception("a change of MIG layouts broke off")
            why = f"{type(error).__name__}: {error}; see the log, and please report it"
            self._end(ChangeState.FAILED, why, rests=True)
        else:
            self._end(ChangeState.DONE, "")

    async def _resumed(
        self, before: Collection[asyncio.Task[None]], going: OneChange, kept: MigMemory | None, note: Note
    ) -> None:
        try:
            if before:
                await asyncio.wait(before)
            if kept is not None:
                self._take_over(kept)
            if going.stopped():
                self._resume_at = self._clock()
            else:
                self._tell(await self._hands.failed())
                await self._hands.resume(going)
        except HeldError as error:
            self._resume_at = self._clock()  # as after one of this process
            log.warning("a change of MIG layouts that was begun is held", why=str(error))
            await self._note_of_before(note, "held", error)
        except FailedError as error:
            self.change = LayoutChange(ChangeState.UNDER_WAY, self._clock(), 0)
            self._end(ChangeState.FAILED, str(error), error.node, rests=True)
            await self._note_of_before(note, "failed", error)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is tried again later
            self._resume_at = self._clock() + self._rest_s
            log.error("a change of MIG layouts that was begun is not resumed", why=str(error))

    async def _note_of_before(self, note: Note, how: str, error: HeldError | FailedError) -> None:
        with suppress(ControlPlaneError):  # it is in the log
            await note(f"mig change {how}", f"of an earlier process: {error}", self._kept())

    def _end(self, state: ChangeState, why: str, node: str = "", *, rests: bool = False) -> None:
        now = self._clock()
        self.ended_in[state] += 1
        if state is ChangeState.DONE:
            self._failures = 0
        self._failures += rests
        rest_s = min(self._most_s, self._rest_s * 2.0 ** (self._failures - 1)) if rests else 0.0
        if state is ChangeState.FAILED:
            self._resume_at = now + self._rest_s
        if self.change is not None:
            self.change = replace(self.change, state=state, why=why, node=node, ended_at=now, again_at=now + rest_s)
            told = {"state": state.value, "done": self.change.done, "steps": self.change.steps, "why": why}
            (log.error if state is ChangeState.FAILED else log.info)("change of MIG layouts ended", **told)

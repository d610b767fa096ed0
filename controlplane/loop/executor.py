"""Carries decisions out: one step in flight per knob, at most `limit` at a time on each server or workload."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace

import structlog

from controlplane.domain.decision import OF_REPLICAS, Action, ActionStatus, Decision, Outcome
from controlplane.domain.errors import ControlPlaneError
from controlplane.domain.failures import FailureClass
from controlplane.domain.fleet import Fleet
from controlplane.domain.leader import NOT_LEADING
from controlplane.domain.ports import Actuator
from controlplane.domain.snapshot import Snapshot
from controlplane.domain.state import unit_key
from controlplane.loop.clock import Clock
from controlplane.loop.recheck import objection
from controlplane.loop.store_thread import StoreThread

log = structlog.get_logger(__name__)


class Executor:
    """Starts actions and remembers what came of them until the next tick asks.

    `refresh(server)` reads a server again after an action on it, so that the next look sees what it did; `announce()`
    wakes those who wait for the outcome. `limit`: Triton has four threads for loading, by default. `may_act` is asked
    last before each step: whether this process leads for certain.
    """

    def __init__(
        self,
        actuator: Actuator,
        store: StoreThread,
        clock: Clock,
        *,
        refresh: Callable[[str], Awaitable[None]],
        announce: Callable[[], Awaitable[None]],
        limit: int = 4,
        may_act: Callable[[], bool] = lambda: True,
    ) -> None:
        self._actuator = actuator
        self._store = store
        self._clock = clock
        self._refresh = refresh
        self._announce = announce
        self._limit, self._may_act = limit, may_act
        self._slots: dict[str, asyncio.Semaphore] = {}
        self._flying: dict[str, tuple[Action, asyncio.Task[None]]] = {}
        self._results: list[Outcome] = []
        self._last: dict[str, Outcome] = {}

    def follow(self, fleet: Fleet) -> None:
        """Act on this fleet's servers and workloads from now on; what is under way on others comes to its end."""
        here = {server.name for server in fleet.servers} | {spec.name for spec in fleet.workloads}
        busy = {action.server for action in self.in_flight}
        self._slots = {name: slots for name, slots in self._slots.items() if name in here or name in busy}
        self._last = {key: outcome for key, outcome in self._last.items() if outcome.action.server in here}
        self._actuator.follow(fleet)

    @property
    def in_flight(self) -> tuple[Action, ...]:
        """Actions under way."""
        return tuple(action for action, _ in self._flying.values())

    def last_outcome(self, model: str, server: str) -> Outcome | None:
        """The newest outcome of a unit, or of the replicas of a workload of that name, since this process started."""
        return self._last.get(unit_key(model, server)) or self._last.get(server)

    def acted(self, unit: str, since: float) -> bool:
        """Whether an action on the unit is under way, or ended after `since`."""
        last = self._last.get(unit)
        return unit in self._flying or (last is not None and last.finished_at >= since)

    def take_results(self) -> tuple[Outcome, ...]:
        """Outcomes since the last call."""
        results, self._results = tuple(self._results), []
        return results

    def start(self, decisions: Iterable[Decision], look: Callable[[], Snapshot]) -> None:
        """Begin carrying out every actionable decision whose knob has nothing in flight; none is begun twice.

        `look` gives what is known now, for the recheck.
        """
        for decision in decisions:
            knob, last = decision.knob, self._last.get(decision.knob)
            if not decision.actionable or decision.target is None or knob in self._flying:
                continue
            if last is not None and last.action.id == decision.id:
                continue
            where = (decision.model, decision.server)
            step, target = decision.step, decision.target
            action = Action(decision.id, *where, step, target, self._clock(), decision.current, waits=True)
            task = asyncio.create_task(self._carry_out(decision, action, look), name=f"act-{knob}")
            self._flying[knob] = (action, task)

    async def _carry_out(self, decision: Decision, action: Action, look: Callable[[], Snapshot]) -> None:
        key = action.knob
        try:
            async with self._slots.setdefault(action.server, asyncio.Semaphore(self._limit)):
                # what waits for a slot is not slow to start
                action = replace(action, issued_at=self._clock(), waits=False)
                self._flying[key] = (action, self._flying[key][1])
                outcome = await self._attempt(decision, action, look)
            try:
                if action.step not in OF_REPLICAS:  # of a workload discovery tells
                    await self._refresh(action.server)
            except Exception:
                log.exception("not read again after an action; the next round does it", server=action.server)
            await self._journal(outcome)
            self._last[key] = outcome
            self._results.append(outcome)
        finally:
            self._flying.pop(key, None)
        await self._announce()

    async def _attempt(self, decision: Decision, action: Action, look: Callable[[], Snapshot]) -> Outcome:
        if why := objection(decision, look()):
            return Outcome(action, ActionStatus.DROPPED, self._clock(), why)
        try:
            await self._store.call(lambda s: s.start_action(action))
        except ControlPlaneError as error:
            # Without the journal a crash could not be told from a step never taken, so nothing is done.
            return Outcome(action, ActionStatus.DROPPED, self._clock(), f"not journalled: {error}")
        if not self._may_act():  # however long the journal, or a pause of the process, took
            return Outcome(action, ActionStatus.DROPPED, self._clock(), NOT_LEADING)
        log.info("action started", model=action.model, server=action.server, step=action.step, id=action.id)
        try:
            return await self._actuator.apply(action)
        except Exception as error:
            log.exception("actuator failed", id=action.id)
            return Outcome(
                action,
                ActionStatus.FAILED,
                self._clock(),
                f"{type(error).__name__}: {error}",
                FailureClass.UNKNOWN,
                "see the control plane's log; please report it",
            )

    async def _journal(self, outcome: Outcome) -> None:
        action = outcome.action
        log.info(
            "action ended",
            model=action.model,
            server=action.server,
            step=action.step,
            id=action.id,
            status=outcome.status,
            detail=outcome.detail,
        )
        try:
            await self._store.call(lambda s: s.finish_action(outcome))
        except ControlPlaneError as error:
            log.error("outcome not stored", id=action.id, error=str(error))

    async def idle(self, timeout_s: float) -> bool:
        """Wait until nothing is in flight; False when something still is after `timeout_s` seconds."""
        tasks = [task for _, task in self._flying.values()]
        if not tasks:
            return True
        _, pending = await asyncio.wait(tasks, timeout=timeout_s)
        return not pending

    async def close(self, timeout_s: float) -> None:
        """Give actions under way `timeout_s` seconds, then let go of them; the servers finish what they began."""
        if not await self.idle(timeout_s):
            await self.let_go()
        await self._actuator.close()

    async def let_go(self) -> None:
        """Begin nothing that waits, and wait for nothing under way; the servers finish what they began."""
        flying = list(self._flying.items())
        tasks = [task for _, (_, task) in flying]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for knob, entry in flying:  # a task that is cancelled before its first step never runs, its `finally` neither
            if self._flying.get(knob) is entry:
                del self._flying[knob]

"""Where people and programs say what they want. Everything said is kept with actor, reason and expiry."""

from __future__ import annotations

import uuid

from controlplane.decide.compare import Comparison
from controlplane.domain.decision import DecisionRecord
from controlplane.domain.errors import ConflictError, NotFoundError
from controlplane.domain.events import Event, Position
from controlplane.domain.expected import Announced
from controlplane.domain.history import AlertEvent
from controlplane.domain.instructions import Freeze, FreezeDirection, Override, OverrideKind, Want
from controlplane.domain.records import AuditEntry
from controlplane.loop.clock import Clock
from controlplane.loop.comparing import compared
from controlplane.loop.instructions import Instruction, checked, checked_rollout, controllable
from controlplane.loop.operations import Operation, OperationStatus, model_named, operation_of, workload_named
from controlplane.loop.store_thread import StoreThread
from controlplane.loop.waker import LoopView, Readiness, Waker

_ANNOUNCED_S = 366 * 86_400.0


class Desk:
    """Takes instructions. Raises NotFoundError, ConflictError; StoreError and StoreBusyError from the store.

    What tells of the past is read on the thread of `reports`.
    """

    def __init__(self, loop: LoopView, store: StoreThread, reports: StoreThread, clock: Clock) -> None:
        self._loop = loop
        self._store = store
        self._reports = reports
        self._clock = clock
        self._waker = Waker(loop, store, clock)

    async def put_override(
        self,
        model: str,
        kind: OverrideKind,
        *,
        actor: str,
        reason: str,
        ttl_s: float,
        instances: int | None = None,
        server: str = "",
        bounds: tuple[int, int] | None = None,
    ) -> Operation:
        """Fix something about a model for `ttl_s` seconds. The next tick, which starts at once, carries it out.

        `instances` is a total per server and must lie inside the model's bounds for INSTANCES; PIN takes what is.
        `bounds` (least and most) are for BOUNDS.
        """
        least, most = bounds or (None, None)
        asked = Instruction(kind, model=model, server=server, instances=instances, least=least, most=most)
        return await self._put(asked, actor, reason, ttl_s)

    async def put_replicas(
        self,
        workload: str,
        kind: OverrideKind,
        *,
        actor: str,
        reason: str,
        ttl_s: float,
        replicas: int | None = None,
        bounds: tuple[int, int] | None = None,
    ) -> Operation:
        """The same about the replicas of a workload: REPLICAS, BOUNDS or PIN."""
        least, most = bounds or (None, None)
        asked = Instruction(kind, workload=workload, instances=replicas, least=least, most=most)
        return await self._put(asked, actor, reason, ttl_s)

    async def put_rollout(
        self,
        model: str,
        version: str,
        *,
        verify_s: float,
        with_ensembles: bool,
        actor: str,
        reason: str,
        ttl_s: float,
        server: str = "",
    ) -> Operation:
        """Have a model serve another version for `ttl_s` seconds; the old one goes after `verify_s` without a fault."""
        asked = Instruction(OverrideKind.ROLLOUT, model=model, server=server, version=version, verify_s=verify_s)
        asked = checked_rollout(self._loop, asked, ttl_s, with_ensembles=with_ensembles)
        return await self._keep(asked, actor, reason, ttl_s)

    async def _put(self, instruction: Instruction, actor: str, reason: str, ttl_s: float) -> Operation:
        return await self._keep(checked(self._loop, instruction), actor, reason, ttl_s)

    async def _keep(self, asked: Instruction, actor: str, reason: str, ttl_s: float) -> Operation:
        now = self._clock()
        override = Override(
            _new_id("ov"),
            asked.model,
            asked.kind,
            actor,
            reason,
            now,
            now + ttl_s,
            asked.instances,
            asked.server,
            asked.workload,
            asked.least,
            asked.most,
            asked.version,
            asked.verify_s,
        )
        await self._store.call(lambda s: s.add_override(override))
        what = f"replicas {asked.instances}" if asked.workload else f"instances {asked.instances}"
        if asked.kind is OverrideKind.BOUNDS:
            what = f"bounds {asked.least} to {asked.most}"
        if asked.kind is OverrideKind.ROLLOUT:
            what = f"version {asked.version}, watched for {asked.verify_s:g} s"
        await self._audit(actor, asked.kind.value, override.subject, f"{reason}; for {ttl_s:.0f} s; {what}")
        self._loop.nudge()
        return operation_of(self._loop, override)

    async def end_overrides(self, subject: str, *, actor: str) -> int:
        """Withdraw all overrides of a model or workload; gives how many. It may have left the configuration since."""
        ended = await self._store.call(lambda s: s.end_overrides(subject, self._clock()))
        if not ended:
            self._known(subject)
        await self._audit(actor, "end_overrides", subject, f"{ended} ended")
        self._loop.nudge()
        return ended

    async def end_override(self, override_id: str, *, actor: str) -> Override:
        """Withdraw one override."""
        override = await self._store.call(lambda s: s.end_override(override_id, self._clock()))
        await self._audit(actor, "end_override", override.subject, override_id)
        self._loop.nudge()
        return override

    async def operation(self, operation_id: str) -> Operation:
        """Where the override of that id is."""
        now = self._clock()
        override, in_force = await self._store.call(lambda s: (s.override(operation_id), s.overrides(now)))
        if override.id not in {o.id for o in in_force}:
            return Operation(override.id, OperationStatus.ENDED, "the override ran out or was withdrawn", override)
        return operation_of(self._loop, override)

    async def wait(self, operation: Operation, timeout_s: float) -> Operation:
        """The operation once it is no longer pending, or as it is after `timeout_s` seconds."""
        deadline = self._clock() + timeout_s
        while operation.status is OperationStatus.PENDING and (left := deadline - self._clock()) > 0:
            await self._loop.changed(left)
            operation = await self.operation(operation.id)
        return operation

    async def freeze(
        self, model: str, direction: FreezeDirection, *, actor: str, reason: str, ttl_s: float, workload: str = ""
    ) -> Freeze:
        """Forbid scaling of one model, of a workload's replicas, or (both empty) of all, for `ttl_s` seconds."""
        if model:
            model_named(self._loop, model)
        if workload:
            workload_named(self._loop, workload)
        now = self._clock()
        freeze = Freeze(_new_id("fr"), model, direction, actor, reason, now, now + ttl_s, workload)
        await self._store.call(lambda s: s.add_freeze(freeze))
        await self._audit(actor, "freeze", freeze.subject or "*", f"{direction.value}; {reason}; for {ttl_s:.0f} s")
        self._loop.nudge()
        return freeze

    async def unfreeze(self, subject: str, *, actor: str) -> int:
        """End the freezes of one model or workload, or (empty name) those that hold for all; gives how many.

        It may have left the configuration since.
        """
        ended = await self._store.call(lambda s: s.end_freezes(subject, self._clock()))
        if subject and not ended:
            self._known(subject)
        await self._audit(actor, "unfreeze", subject or "*", f"{ended} ended")
        self._loop.nudge()
        return ended

    async def end_freeze(self, freeze_id: str, *, actor: str) -> Freeze:
        """End one freeze."""
        freeze = await self._store.call(lambda s: s.end_freeze(freeze_id, self._clock()))
        await self._audit(actor, "end_freeze", freeze.subject or "*", freeze_id)
        self._loop.nudge()
        return freeze

    async def announce(
        self,
        name: str,
        subject: str,
        start_s: float,
        end_s: float,
        *,
        factor: float,
        per_s: float,
        actor: str,
        reason: str,
    ) -> Announced:
        """Say that demand of a model or workload will be `factor` times what it was, or `per_s`, for a while."""
        fleet, now = self._loop.fleet, self._clock()
        subjects = (*(model.name for model in fleet.models), *(workload.name for workload in fleet.workloads))
        if subject not in subjects:
            raise NotFoundError("model or workload", subject, subjects)
        if not max(start_s, now) < end_s <= now + _ANNOUNCED_S:
            raise ConflictError(f"event {name}: its end must come after its start, and within 366 days from now")
        if factor <= 1 and per_s <= 0:
            raise ConflictError(f"event {name}: a factor above 1, or a rate, is needed")
        announced = Announced(_new_id("ev"), name, subject, start_s, end_s, factor, per_s, actor, reason, now)
        await self._store.call(lambda s: s.add_announced(announced))
        told = f"{name}: {reason}; factor {factor:g}, {per_s:g}/s, from {start_s:.0f} to {end_s:.0f}"
        await self._audit(actor, "announce", subject, told)
        self._loop.nudge()
        return announced

    async def end_announced(self, announced_id: str, *, actor: str) -> Announced:
        """Take one back. Those of the configuration are taken back there."""
        if any(announced.id == announced_id for announced in self._loop.fleet.announced):
            raise ConflictError(f"event {announced_id} stands in the configuration; take it out there")
        announced = await self._store.call(lambda s: s.end_announced(announced_id, self._clock()))
        await self._audit(actor, "end_announced", announced.subject, announced_id)
        self._loop.nudge()
        return announced

    async def announced(self) -> tuple[Announced, ...]:
        """Those that are not over, of the configuration and of people, by start."""
        now = self._clock()
        told = await self._store.call(lambda s: s.announced(now))
        mine = (announced for announced in self._loop.fleet.announced if announced.end_s > now)
        return tuple(sorted((*mine, *told), key=lambda a: (a.start_s, a.id)))

    async def ensure(self, model: str, *, actor: str, timeout_s: float) -> Readiness:
        """Return when the model is ready on at least one server, loading it first if need be.

        Callers that ask at the same time share one wait. Raises ConflictError when a load failed or is not allowed,
        TargetUnreachableError when it is not ready after `timeout_s` seconds (the load goes on).
        """
        spec = controllable(self._loop, model, "")
        if not spec.wake.ensure:
            raise ConflictError(f"model {model}: `wake: {{ensure: true}}` is not set, so ensure may not load it")
        started = self._clock()
        await self._store.call(lambda s: s.add_want(Want(model, started, actor)))
        return await self._waker.ready(spec, started, timeout_s)

    def _known(self, subject: str) -> None:
        """Raises NotFoundError when it is neither a model nor a workload."""
        fleet = self._loop.fleet
        subjects = (*(model.name for model in fleet.models), *(workload.name for workload in fleet.workloads))
        if subject not in subjects:
            raise NotFoundError("model or workload", subject, subjects)

    async def _audit(self, actor: str, verb: str, subject: str, detail: str) -> None:
        entry = AuditEntry(self._clock(), actor, verb, subject, detail)
        await self._store.call(lambda s: s.audit(entry))

    async def decision(self, decision_id: str) -> DecisionRecord:
        """One decision with all that followed, by id or unique prefix."""
        return await self._reports.call(lambda s: s.decision(decision_id))

    async def decisions(self, model: str, limit: int, *, changes_only: bool) -> list[DecisionRecord]:
        """Decisions, newest first; of one model or (empty name) of all."""
        if model:
            model_named(self._loop, model)
        return list(await self._reports.call(lambda s: s.decisions(model, limit, changes_only=changes_only)))

    async def comparisons(self, model: str, limit: int) -> list[Comparison]:
        """Recommendations that were not carried out beside what came, of the newest `limit` changes decided on."""
        fleet, now = self._loop.fleet, self._clock()
        records = await self.decisions(model, limit, changes_only=True)
        return await self._reports.call(lambda s: list(compared(s, fleet, records, now)))

    async def comparison(self, record: DecisionRecord) -> Comparison | None:
        """One of them; None: it is no recommendation, or its time has not passed."""
        fleet, now = self._loop.fleet, self._clock()
        return await self._reports.call(lambda s: next(compared(s, fleet, [record], now), None))

    async def alert_events(self, model: str, limit: int) -> list[AlertEvent]:
        """When alerts began and ended to fire, newest first; of one model or (empty name) of all."""
        if model:
            model_named(self._loop, model)
        return list(await self._reports.call(lambda s: s.alert_events(model, limit))) if limit else []

    async def newest_event(self) -> Position:
        """Where somebody begins who wants to know only what happens from now on."""
        return await self._reports.call(lambda s: s.newest_event())

    async def events(self, position: Position, limit: int) -> list[Event]:
        """What happened after a position, at most `limit`."""
        now = self._clock()
        return list(await self._reports.call(lambda s: s.events(position, limit, now)))

    async def overrides(self) -> tuple[Override, ...]:
        """Those in force."""
        return await self._store.call(lambda s: s.overrides(self._clock()))

    async def freezes(self) -> tuple[Freeze, ...]:
        """Those in force."""
        return await self._store.call(lambda s: s.freezes(self._clock()))

    async def audit_log(self, limit: int) -> list[AuditEntry]:
        """What was asked of the control plane, newest first."""
        return list(await self._reports.call(lambda s: s.audit_log(limit)))


def _new_id(prefix: str) -> str:
    return f"{prefix}-{uuid.uuid4().hex[:12]}"

"""Where people and programs say what they want. Everything said is kept with actor, reason and expiry."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from enum import StrEnum

from controlplane.domain.decision import (
    DecisionRecord,
    Freeze,
    FreezeDirection,
    Override,
    OverrideKind,
    Want,
)
from controlplane.domain.errors import ConflictError, NotFoundError
from controlplane.domain.expected import Announced
from controlplane.domain.fleet import CONTROLLED, Mode, ModelSpec, Phase
from controlplane.domain.history import AlertEvent
from controlplane.domain.observation import ControlMode, FleetReading
from controlplane.domain.ports import AuditEntry
from controlplane.domain.signal import known
from controlplane.loop.clock import Clock
from controlplane.loop.present import fulfilled, listed, present, silent
from controlplane.loop.store_thread import StoreThread
from controlplane.loop.waker import LoopView, Readiness, Waker

_ANNOUNCED_S = 366 * 86_400.0


class OperationStatus(StrEnum):
    """Where an instruction is on its way to the servers."""

    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    ENDED = "ended"
    """The override ran out or was withdrawn."""


@dataclass(frozen=True, slots=True)
class Operation:
    """An override on its way: `detail` says what is awaited or what went wrong (with the remedy)."""

    id: str
    status: OperationStatus
    detail: str
    override: Override


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
    ) -> Operation:
        """Fix something about a model for `ttl_s` seconds. The next tick, which starts at once, carries it out.

        `instances` is a total per server and must lie inside the model's bounds for INSTANCES; PIN takes what is.
        """
        spec = self._controllable(model, server)
        if kind is OverrideKind.INSTANCES:
            if instances is None or not max(1, spec.instances_min) <= instances <= spec.instances_max:
                raise ConflictError(
                    f"model {model}: {instances} instances are not allowed; "
                    f"allowed are {max(1, spec.instances_min)} to {spec.instances_max}"
                )
        elif kind is OverrideKind.PIN:
            instances = self._present_instances(spec, server)
        else:
            instances = None
        now = self._clock()
        override = Override(_new_id("ov"), model, kind, actor, reason, now, now + ttl_s, instances, server)
        await self._store.call(lambda s: s.add_override(override))
        await self._audit(actor, kind.value, model, f"{reason}; for {ttl_s:.0f} s; instances {instances}")
        self._loop.nudge()
        return self._operation(override)

    async def end_overrides(self, model: str, *, actor: str) -> int:
        """Withdraw all overrides of a model; gives how many there were. It may have left the configuration since."""
        ended = await self._store.call(lambda s: s.end_overrides(model, self._clock()))
        if not ended:
            self._spec(model)
        await self._audit(actor, "end_overrides", model, f"{ended} ended")
        self._loop.nudge()
        return ended

    async def end_override(self, override_id: str, *, actor: str) -> Override:
        """Withdraw one override."""
        override = await self._store.call(lambda s: s.end_override(override_id, self._clock()))
        await self._audit(actor, "end_override", override.model, override_id)
        self._loop.nudge()
        return override

    async def operation(self, operation_id: str) -> Operation:
        """Where the override of that id is."""
        now = self._clock()
        override, in_force = await self._store.call(lambda s: (s.override(operation_id), s.overrides(now)))
        if override.id not in {o.id for o in in_force}:
            return Operation(override.id, OperationStatus.ENDED, "the override ran out or was withdrawn", override)
        return self._operation(override)

    async def wait(self, operation: Operation, timeout_s: float) -> Operation:
        """The operation once it is no longer pending, or as it is after `timeout_s` seconds."""
        deadline = self._clock() + timeout_s
        while operation.status is OperationStatus.PENDING and (left := deadline - self._clock()) > 0:
            await self._loop.changed(left)
            operation = await self.operation(operation.id)
        return operation

    async def freeze(self, model: str, direction: FreezeDirection, *, actor: str, reason: str, ttl_s: float) -> Freeze:
        """Forbid scaling of one model, or (empty name) of all, for `ttl_s` seconds."""
        if model:
            self._spec(model)
        now = self._clock()
        freeze = Freeze(_new_id("fr"), model, direction, actor, reason, now, now + ttl_s)
        await self._store.call(lambda s: s.add_freeze(freeze))
        await self._audit(actor, "freeze", model or "*", f"{direction.value}; {reason}; for {ttl_s:.0f} s")
        self._loop.nudge()
        return freeze

    async def unfreeze(self, model: str, *, actor: str) -> int:
        """End the freezes of one model, or (empty name) those that hold for all; gives how many there were.

        The model may have left the configuration since.
        """
        ended = await self._store.call(lambda s: s.end_freezes(model, self._clock()))
        if model and not ended:
            self._spec(model)
        await self._audit(actor, "unfreeze", model or "*", f"{ended} ended")
        self._loop.nudge()
        return ended

    async def end_freeze(self, freeze_id: str, *, actor: str) -> Freeze:
        """End one freeze."""
        freeze = await self._store.call(lambda s: s.end_freeze(freeze_id, self._clock()))
        await self._audit(actor, "end_freeze", freeze.model or "*", freeze_id)
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
        spec = self._controllable(model, "")
        if not spec.wake.ensure:
            raise ConflictError(f"model {model}: `wake: {{ensure: true}}` is not set, so ensure may not load it")
        started = self._clock()
        await self._store.call(lambda s: s.add_want(Want(model, started, actor)))
        return await self._waker.ready(spec, started, timeout_s)

    def _operation(self, override: Override) -> Operation:
        servers = (override.server,) if override.server else self._staying(self._spec(override.model))
        if not servers:
            detail = f"model {override.model} has no server now; it holds for those that come"
            return Operation(override.id, OperationStatus.PENDING, detail, override)
        reading = self._loop.reading()
        waiting = tuple(name for name in servers if not fulfilled(reading, override, name))
        for name in waiting:
            outcome = self._loop.last_outcome(override.model, name)
            if outcome and outcome.failure is not None and outcome.action.issued_at >= override.created_at:
                detail = f"{name}: {outcome.detail}; {outcome.remedy}"
                return Operation(override.id, OperationStatus.FAILED, detail, override)
        if waiting:
            away = silent(reading, waiting)
            detail = f"waiting for {listed(waiting)}" + (f"; no answer from {listed(away)}" if away else "")
            return Operation(override.id, OperationStatus.PENDING, detail, override)
        return Operation(override.id, OperationStatus.SUCCEEDED, f"in force on {listed(servers)}", override)

    def _present_instances(self, spec: ModelSpec, server: str) -> int:
        reading = self._loop.reading()
        found = {name: present(reading, spec.name, name) for name in ((server,) if server else spec.runs_on)}
        counts = {name: target.instances for name, target in found.items() if target is not None and target.loaded}
        if not counts:
            raise ConflictError(f"model {spec.name} is not loaded, so there is nothing to pin; load it first")
        if len(set(counts.values())) > 1:
            told = ", ".join(f"{count} on {name}" for name, count in counts.items())
            raise ConflictError(f"model {spec.name} has {told} instances; pin each server by its name")
        return next(iter(counts.values()))

    def _staying(self, spec: ModelSpec) -> tuple[str, ...]:
        """The model's servers but those that terminate, on which nothing is done any more."""
        members = self._loop.fleet.members
        gone = {name for name in spec.runs_on if name in members and members[name].phase is Phase.TERMINATING}
        return tuple(name for name in spec.runs_on if name not in gone)

    def _spec(self, model: str) -> ModelSpec:
        spec = self._loop.fleet.model(model)
        if spec is None:
            raise NotFoundError("model", model, tuple(m.name for m in self._loop.fleet.models))
        return spec

    def _controllable(self, model: str, server: str) -> ModelSpec:
        spec = self._spec(model)
        if server and server not in spec.runs_on:
            raise NotFoundError(f"server of model {model}", server, spec.runs_on)
        if spec.mode is Mode.OBSERVE:
            raise ConflictError(f"model {model} is in mode observe; allowed in modes recommend and act")
        reading = self._loop.reading()
        whys = [self._why_not(name, reading) for name in ((server,) if server else spec.runs_on)]
        if whys and all(whys):
            raise ConflictError(whys[0])
        return spec

    def _why_not(self, server: str, reading: FleetReading) -> str:
        """Why models on a server cannot be controlled, "" when they can."""
        entry, seen = self._loop.fleet.server(server), reading.servers.get(server)
        if entry is not None and entry.kind not in CONTROLLED:
            return f"server {server} is a {entry.kind.value} server, whose models cannot be controlled"
        if seen is not None and known(seen.control) is ControlMode.NOT_ALLOWED:
            return f"server {server} does not allow model control; start it with --model-control-mode=explicit"
        return ""

    async def _audit(self, actor: str, verb: str, subject: str, detail: str) -> None:
        entry = AuditEntry(self._clock(), actor, verb, subject, detail)
        await self._store.call(lambda s: s.audit(entry))

    async def decision(self, decision_id: str) -> DecisionRecord:
        """One decision with all that followed, by id or unique prefix."""
        return await self._reports.call(lambda s: s.decision(decision_id))

    async def decisions(self, model: str, limit: int, *, changes_only: bool) -> list[DecisionRecord]:
        """Decisions, newest first; of one model or (empty name) of all."""
        if model:
            self._spec(model)
        return list(await self._reports.call(lambda s: s.decisions(model, limit, changes_only=changes_only)))

    async def alert_events(self, model: str, limit: int) -> list[AlertEvent]:
        """When alerts began and ended to fire, newest first; of one model or (empty name) of all."""
        if model:
            self._spec(model)
        return list(await self._reports.call(lambda s: s.alert_events(model, limit))) if limit else []

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

"""Where an instruction is on its way: what it asks for beside what is there now."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from controlplane.decide.rollout import in_words
from controlplane.domain.errors import NotFoundError
from controlplane.domain.fleet import ModelSpec, Phase, WorkloadSpec
from controlplane.domain.instructions import Override, OverrideKind
from controlplane.domain.rollout import OVER, UNBEGUN
from controlplane.domain.state import unit_key
from controlplane.loop.present import fulfilled, listed, present, replicas_of, silent
from controlplane.loop.waker import LoopView

_PRESENT = (Phase.READY, Phase.STARTING, Phase.DRAINING)


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


def operation_of(loop: LoopView, override: Override) -> Operation:
    """Where an override in force is. Raises NotFoundError when its subject has left the configuration."""
    if override.kind is OverrideKind.ROLLOUT:
        status, detail = _of_rollout(loop, override)
    else:
        status, detail = (_of_replicas if override.workload else _of_model)(loop, override)
    return Operation(override.id, status, detail, override)


def model_named(loop: LoopView, name: str) -> ModelSpec:
    """The model of that name. Raises NotFoundError."""
    spec = loop.fleet.model(name)
    if spec is None:
        raise NotFoundError("model", name, tuple(m.name for m in loop.fleet.models))
    return spec


def workload_named(loop: LoopView, name: str) -> WorkloadSpec:
    """The workload of that name. Raises NotFoundError."""
    spec = loop.fleet.workload(name)
    if spec is None:
        raise NotFoundError("workload", name, tuple(w.name for w in loop.fleet.workloads))
    return spec


def _of_model(loop: LoopView, override: Override) -> tuple[OperationStatus, str]:
    servers = (override.server,) if override.server else _staying(loop, model_named(loop, override.model))
    if not servers:
        return OperationStatus.PENDING, f"model {override.model} has no server now; it holds for those that come"
    reading = loop.reading()
    waiting = tuple(name for name in servers if not fulfilled(reading, override, name))
    for name in waiting:
        if failure := _failure(loop, override, override.model, name):
            return OperationStatus.FAILED, failure
    if waiting:
        away = silent(reading, waiting)
        detail = f"waiting for {listed(waiting)}" + (f"; no answer from {listed(away)}" if away else "")
        return OperationStatus.PENDING, detail
    return OperationStatus.SUCCEEDED, f"in force on {listed(servers)}"


def _of_rollout(loop: LoopView, override: Override) -> tuple[OperationStatus, str]:
    servers = (override.server,) if override.server else _staying(loop, model_named(loop, override.model))
    stands = {name: loop.rollouts.get(unit_key(override.model, name)) for name in servers}
    here = {
        name: found
        for name, found in stands.items()
        if found is not None and found.id == override.id and found.phase not in UNBEGUN
    }
    detail = "; ".join(f"{name}: {in_words(found)}" for name, found in here.items())
    if any(found.why for found in here.values()):
        return OperationStatus.FAILED, detail
    waiting = tuple(name for name in servers if name not in here and not _is_unloaded(loop, override.model, name))
    if here and not waiting and all(found.phase in OVER for found in here.values()):
        return OperationStatus.SUCCEEDED, detail
    return OperationStatus.PENDING, "; ".join(filter(None, (detail, f"waiting: {listed(waiting)}" if waiting else "")))


def _is_unloaded(loop: LoopView, model: str, server: str) -> bool:
    there = present(loop.reading(), model, server)
    return there is not None and not there.loaded


def _of_replicas(loop: LoopView, override: Override) -> tuple[OperationStatus, str]:
    spec = workload_named(loop, override.workload)
    if spec.name in loop.fleet.unlisted:
        return OperationStatus.PENDING, f"it is not known which servers {spec.name} has"
    ready, starting, draining = (replicas_of(loop.fleet, spec.name, phase) for phase in _PRESENT)
    there = f"{ready} ready, {starting} starting" + (f", {draining} draining" if draining else "")
    if override.kind is OverrideKind.BOUNDS:
        least, most = override.least or 0, override.most or 0
        inside, wanted = least <= ready + starting + draining <= most, f"{least} to {most}"
    else:
        inside, wanted = ready == override.instances and not starting + draining, str(override.instances)
    if inside:
        return OperationStatus.SUCCEEDED, f"in force: {there}"
    for model in loop.fleet.models:
        if spec.name in model.workloads and (failure := _failure(loop, override, model.name, spec.name)):
            return OperationStatus.FAILED, failure
    scaling = loop.fleet.scaling.get(spec.name)
    instead = f"; {scaling.owner} sets them, and it is told only" if scaling is not None and scaling.owner else ""
    return OperationStatus.PENDING, f"waiting for {wanted} replicas of {spec.name}: {there}{instead}"


def _failure(loop: LoopView, override: Override, model: str, target: str) -> str:
    """What went wrong with it, and the remedy; "" when nothing did."""
    outcome = loop.last_outcome(model, target)
    if outcome is None or outcome.failure is None or outcome.action.issued_at < override.created_at:
        return ""
    return f"{target}: {outcome.detail}; {outcome.remedy}"


def _staying(loop: LoopView, spec: ModelSpec) -> tuple[str, ...]:
    """The model's servers but those that terminate, on which nothing is done any more."""
    members = loop.fleet.members
    gone = {name for name in spec.runs_on if name in members and members[name].phase is Phase.TERMINATING}
    return tuple(name for name in spec.runs_on if name not in gone)

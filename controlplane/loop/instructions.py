"""What a person may ask for: an instruction is checked against what is configured and what is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from controlplane.domain.control import lacking, replicas_decided
from controlplane.domain.errors import ConflictError, NotFoundError
from controlplane.domain.fleet import CONTROLLED, MOST_REPLICAS, Mode, ModelSpec, Phase, ServerKind
from controlplane.domain.instructions import OverrideKind
from controlplane.domain.observation import FleetReading
from controlplane.domain.signal import known
from controlplane.loop.operations import model_named, workload_named
from controlplane.loop.present import listed, model_reading, present, replicas_of
from controlplane.loop.waker import LoopView

_OF_REPLICAS = (OverrideKind.REPLICAS, OverrideKind.PIN, OverrideKind.BOUNDS)


@dataclass(frozen=True, slots=True)
class Instruction:
    """What is asked for, as an Override has it, of a model or (`workload`) of replicas."""

    kind: OverrideKind
    model: str = ""
    workload: str = ""
    server: str = ""
    instances: int | None = None
    least: int | None = None
    most: int | None = None
    version: str = ""
    verify_s: float = 0.0


def checked(loop: LoopView, asked: Instruction) -> Instruction:
    """The instruction with nothing in it that its kind does not use; PIN with what is there.

    Raises NotFoundError, ConflictError when it is not allowed, with what is.
    """
    return _of_replicas(loop, asked) if asked.workload else _of_model(loop, asked)


def controllable(loop: LoopView, model: str, server: str) -> ModelSpec:
    """The model, where something can be done with it. Raises NotFoundError, ConflictError."""
    spec = model_named(loop, model)
    if server and server not in spec.runs_on:
        raise NotFoundError(f"server of model {model}", server, spec.runs_on)
    if spec.mode is Mode.OBSERVE:
        raise ConflictError(f"model {model} is in mode observe; allowed in modes recommend and act")
    reading = loop.reading()
    whys = [_why_not(loop, spec, name, reading) for name in ((server,) if server else spec.runs_on)]
    if whys and all(whys):
        raise ConflictError(whys[0])
    return spec


def checked_rollout(loop: LoopView, asked: Instruction, ttl_s: float, *, with_ensembles: bool) -> Instruction:
    """The same of a rollout. That of a component of an ensemble reloads the ensemble, and so has to be asked for."""
    spec = controllable(loop, asked.model, asked.server)
    reading = loop.reading()
    servers = (asked.server,) if asked.server else spec.runs_on
    for name in servers:
        entry = loop.fleet.server(name)
        if entry is not None and entry.kind is not ServerKind.TRITON:
            raise ConflictError(f"server {name} is a {entry.kind.value} server; versions are rolled out on triton only")
    seen = {name: model_reading(reading, spec.name, name) for name in servers}
    if not any(found is not None and found.versions for found in seen.values()):
        raise ConflictError(
            f"model {spec.name} is not known to be loaded, so there is nothing to roll on; load it first"
        )
    if asked.verify_s * len(servers) >= ttl_s:
        told = f"{len(servers)} servers are watched for {asked.verify_s:g} s each, one after the other"
        raise ConflictError(f"model {spec.name}: {told}; a rollout must hold for longer, and {ttl_s:g} s were given")
    ensembles = _ensembles_of(loop, reading, spec, servers)
    if ensembles and not with_ensembles:
        what = f"model {spec.name} is a component of {listed(ensembles)}, which its rollout reloads and changes"
        raise ConflictError(f"{what}; say that it may (with_ensembles)")
    return asked


def _ensembles_of(loop: LoopView, reading: FleetReading, spec: ModelSpec, servers: Sequence[str]) -> tuple[str, ...]:
    """Ensembles among the models that are known which call it on one of the servers."""
    found = ((other.name, model_reading(reading, other.name, name)) for other in loop.fleet.models for name in servers)
    return tuple(
        dict.fromkeys(name for name, seen in found if seen is not None and spec.served_name in seen.components)
    )


def _of_model(loop: LoopView, asked: Instruction) -> Instruction:
    spec = controllable(loop, asked.model, asked.server)
    match asked.kind:
        case OverrideKind.REPLICAS:
            raise ConflictError(f"model {spec.name} has no replicas; name the workload it runs on")
        case OverrideKind.BOUNDS:
            return _bounds(asked, f"model {spec.name}", 1)
        case OverrideKind.INSTANCES:
            least = max(1, spec.instances_min)
            return _count(asked, f"model {spec.name}", "instances", least, spec.instances_max)
        case OverrideKind.PIN:
            return replace(asked, instances=_present_instances(loop, spec, asked.server), least=None, most=None)
        case OverrideKind.LOADED | OverrideKind.UNLOADED:
            return replace(asked, instances=None, least=None, most=None)
        case OverrideKind.ROLLOUT:
            raise ConflictError(f"model {spec.name}: a rollout names a version; ask for it as a rollout")


def _of_replicas(loop: LoopView, asked: Instruction) -> Instruction:
    spec = workload_named(loop, asked.workload)
    if asked.kind not in _OF_REPLICAS:
        allowed = ", ".join(kind.value for kind in _OF_REPLICAS)
        raise ConflictError(f"workload {spec.name}: {asked.kind.value} is for models; allowed are {allowed}")
    if spec.replicas is None:
        raise ConflictError(f"workload {spec.name} has no bounds in the configuration (replicas), so it is not scaled")
    models = [model for model in loop.fleet.models if spec.name in model.workloads and model.lora is None]
    if not models:
        raise ConflictError(f"workload {spec.name} has no model, so it is not scaled")
    if watched := next((model.name for model in models if model.mode is Mode.OBSERVE), ""):
        why = f"model {watched} on it is in mode observe; allowed in modes recommend and act"
        raise ConflictError(f"workload {spec.name}: {why}")
    if asked.kind is OverrideKind.BOUNDS:
        return _bounds(asked, f"workload {spec.name}", 0)
    if asked.kind is OverrideKind.REPLICAS:
        return _count(asked, f"workload {spec.name}", "replicas", spec.replicas.least, spec.replicas.most)
    if spec.name in loop.fleet.unlisted:
        raise ConflictError(f"it is not known which servers workload {spec.name} has, so there is nothing to pin")
    there = sum(replicas_of(loop.fleet, spec.name, phase) for phase in (Phase.READY, Phase.STARTING, Phase.DRAINING))
    return replace(asked, instances=there, least=None, most=None)


def _count(asked: Instruction, subject: str, what: str, least: int, most: int) -> Instruction:
    if asked.instances is None or not least <= asked.instances <= most:
        raise ConflictError(
            f"{subject}: {asked.instances} {what} are not allowed; allowed are {least} to {most}, or set its bounds"
        )
    return replace(asked, least=None, most=None)


def _bounds(asked: Instruction, subject: str, floor: int) -> Instruction:
    least, most = asked.least, asked.most
    if least is None or most is None or not floor <= least <= most <= MOST_REPLICAS or most < 1:
        allowed = f"both are needed, with {floor} <= min <= max <= {MOST_REPLICAS} and max at least 1"
        raise ConflictError(f"{subject}: bounds of {least} to {most} are not allowed; {allowed}")
    return replace(asked, instances=None)


def _present_instances(loop: LoopView, spec: ModelSpec, server: str) -> int:
    reading = loop.reading()
    found = {name: present(reading, spec.name, name) for name in ((server,) if server else spec.runs_on)}
    counts = {name: target.instances for name, target in found.items() if target is not None and target.loaded}
    if not counts:
        raise ConflictError(f"model {spec.name} is not loaded, so there is nothing to pin; load it first")
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{count} on {name}" for name, count in counts.items())
        raise ConflictError(f"model {spec.name} has {told} instances; pin each server by its name")
    return next(iter(counts.values()))


def _why_not(loop: LoopView, spec: ModelSpec, server: str, reading: FleetReading) -> str:
    """Why the model cannot be controlled on a server, "" when it can."""
    entry, seen = loop.fleet.server(server), reading.servers.get(server)
    if entry is None:
        return ""
    if entry.kind not in CONTROLLED:
        return f"server {server} is a {entry.kind.value} server, whose models cannot be controlled"
    adapter = spec.lora is not None
    if entry.kind is ServerKind.VLLM and not adapter and replicas_decided(loop.fleet, server):
        return f"server {server} is a replica: set how many there are (controlplane scale); none is put to sleep"
    remedy = lacking(entry.kind, None if seen is None else known(seen.control), adapter=adapter)
    return f"server {server} does not allow model control; {remedy}" if remedy else ""

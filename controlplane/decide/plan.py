"""The decision: `decide(snapshot, state, policy, now) -> (Plan, state)`. Pure: same input, same plan."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

from controlplane.decide.memory import learn_memory
from controlplane.decide.one import decide_unit
from controlplane.decide.policy import Policy
from controlplane.decide.replicas.pool import Pool
from controlplane.decide.replicas.scale import decide_pool
from controlplane.decide.room import Room
from controlplane.decide.unit import Unit
from controlplane.domain.decision import Override, Plan, ReasonCode
from controlplane.domain.fleet import ModelSpec, ServerSpec, WorkloadSpec, is_member_name, workload_of
from controlplane.domain.observation import ModelReading
from controlplane.domain.scaling import ScaleStatus
from controlplane.domain.signal import Signal, known
from controlplane.domain.snapshot import Snapshot
from controlplane.domain.state import PolicyState, UnitState, WorkloadState, server_of, unit_key

# About one scrape: the reading that settles it is there by then.
_LOOK_AGAIN_S = 5.0
# A pod of a StatefulSet comes back under its name within minutes; those of a Deployment never do.
_KEEP_LEFT_S = 3600.0


def decide(snapshot: Snapshot, state: PolicyState, policy: Policy, now: float) -> tuple[Plan, PolicyState]:
    """One decision for every model on every server it runs on, and the state for the next tick.

    Units that the configuration no longer names keep their memory, so that a model taken out by mistake comes back
    with what was learned. Those of a discovered server keep it for an hour after it has left.
    """
    decisions, effects = [], []
    units: dict[str, UnitState] = {}
    saturated = _devices_of(snapshot, state, lambda u: u.ceiling is not None and u.ceiling.until > now)
    raising = _devices_of(
        snapshot, state, lambda u: u.expectation is not None and now - u.expectation.issued_at < policy.settle_s
    )
    servers = {server.name: server for server in snapshot.fleet.servers}
    state = learn_memory(snapshot, state, now)
    room = Room(snapshot, state)
    for model in snapshot.fleet.models:
        for name in model.runs_on:
            server = servers.get(name)
            if server is None:
                continue
            key = unit_key(model.name, name)
            unit = room.given(_unit(snapshot, model, server, saturated, raising))
            before = replace(state.units.get(key, UnitState()), gone_since=None)
            decision, units[key], effect = decide_unit(unit, before, policy, now)
            room.taken(unit, decision)
            decisions.append(decision)
            if effect is not None:
                effects.append(effect)
    workloads: dict[str, WorkloadState] = {}
    forecasts = dict(state.forecasts)
    for spec in snapshot.fleet.workloads:
        pool = _pool(snapshot, spec)
        if pool is not None:
            decision, workloads[spec.name], forecasts[spec.name] = decide_pool(
                pool, state.workloads.get(spec.name, WorkloadState()), state.forecasts.get(spec.name), policy, now
            )
            decisions.append(decision)
    units |= _unnamed(state, units, snapshot.fleet.unlisted, now)
    unsettled = any(d.binding in (ReasonCode.DATA_PARTIAL, ReasonCode.ROUTED) for d in decisions)
    plan = Plan(now, tuple(decisions), tuple(effects), _LOOK_AGAIN_S if unsettled else None)
    return plan, PolicyState(units, {**state.workloads, **workloads}, forecasts, state.marks)


def _pool(snapshot: Snapshot, spec: WorkloadSpec) -> Pool | None:
    """The workload where it is to be scaled and it is known who its members are."""
    fleet = snapshot.fleet
    models = tuple(model for model in fleet.models if spec.name in model.workloads)
    if spec.replicas is None or not models or spec.name in fleet.unlisted:
        return None
    names = {model.name for model in models}
    members = tuple(member for member in fleet.members.values() if member.workload == spec.name)
    readings: dict[str, dict[str, ModelReading]] = {model.name: {} for model in models}
    for member in members:
        seen = snapshot.reading.servers.get(member.server.name)
        for name in names if seen is not None else ():
            signal = seen.models.get(name) if seen is not None else None
            reading = known(signal) if signal is not None else None
            if reading is not None:
                readings[name][member.server.name] = reading
    return Pool(
        spec,
        spec.replicas,
        models,
        members,
        readings,
        judgements=tuple(j for name in sorted(names) for j in snapshot.judgements.get(name, ())),
        freezes=tuple(f for f in snapshot.freezes if f.model == "" or f.model in names),
        wants=tuple(w for w in snapshot.wants if w.model in names),
        scaling=fleet.scaling.get(spec.name, ScaleStatus()),
    )


def _unnamed(
    state: PolicyState, decided: Collection[str], unlisted: Collection[str], now: float
) -> dict[str, UnitState]:
    """What is kept of units about which nothing was decided; who is in an `unlisted` workload is not known."""
    kept: dict[str, UnitState] = {}
    for key, unit in state.units.items():
        if key in decided:
            continue
        server = server_of(key)
        if not is_member_name(server) or workload_of(server) in unlisted:
            kept[key] = unit
        elif unit.gone_since is None or now - unit.gone_since <= _KEEP_LEFT_S:
            kept[key] = replace(unit, gone_since=now if unit.gone_since is None else unit.gone_since)
    return kept


def _unit(
    snapshot: Snapshot, model: ModelSpec, server: ServerSpec, saturated: Mapping[str, str], raising: Mapping[str, str]
) -> Unit:
    seen = snapshot.reading.servers.get(server.name)
    signal: Signal[ModelReading] | None = seen.models.get(model.name) if seen is not None else None
    reading = known(signal) if signal is not None else None
    devices = _devices(model, server.name, reading)
    return Unit(
        spec=model,
        server=server,
        seen=seen,
        reading=reading,
        judgements=snapshot.judgements.get(model.name, ()),
        override=_override(snapshot.overrides, model.name, server.name),
        freezes=tuple(f for f in snapshot.freezes if f.model in ("", model.name)),
        want=next((w for w in snapshot.wants if w.model == model.name), None),
        in_flight=next((a for a in snapshot.in_flight if (a.model, a.server) == (model.name, server.name)), None),
        results=tuple(o for o in snapshot.results if (o.action.model, o.action.server) == (model.name, server.name)),
        saturated_by=_another(devices, saturated, model.name),
        raising_beside=_another(devices, raising, model.name),
        phase=member.phase if (member := snapshot.fleet.members.get(server.name)) else None,
    )


def _another(devices: tuple[str, ...], marked: Mapping[str, str], model: str) -> str:
    """The first other model that marks one of the devices, "" if none does."""
    return next((marked[device] for device in devices if marked.get(device, model) != model), "")


def _override(overrides: tuple[Override, ...], model: str, server: str) -> Override | None:
    """The newest instruction for the unit."""
    mine = [o for o in overrides if o.model == model and o.server in ("", server)]
    return max(mine, key=lambda o: (o.created_at, o.id), default=None)


def _devices(model: ModelSpec, server: str, reading: ModelReading | None) -> tuple[str, ...]:
    """Names of what the unit's instances share: the configured device, else the GPUs that Triton lists."""
    if model.device:
        return (f"{server}/{model.device}",)
    return tuple(f"{server}/{gpu}" for gpu in reading.gpus) if reading is not None else ()


def _devices_of(snapshot: Snapshot, state: PolicyState, marked: Callable[[UnitState], bool]) -> dict[str, str]:
    """Device -> the first model on it whose unit is `marked`."""
    found: dict[str, str] = {}
    for model in snapshot.fleet.models:
        for server in model.runs_on:
            unit = state.units.get(unit_key(model.name, server))
            if unit is None or not marked(unit):
                continue
            seen = snapshot.reading.servers.get(server)
            signal = seen.models.get(model.name) if seen is not None else None
            for device in _devices(model, server, known(signal) if signal is not None else None):
                found.setdefault(device, model.name)
    return found

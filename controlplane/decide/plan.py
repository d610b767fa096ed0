"""The decision: `decide(snapshot, state, policy, now) -> (Plan, state)`. Pure: same input, same plan."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from controlplane.decide import circuit, expected, people, rollout
from controlplane.decide.forecast import Event
from controlplane.decide.limits import Restraint
from controlplane.decide.memory import GpuMemory, learn_memory
from controlplane.decide.policy import Policy
from controlplane.decide.replicas.by_cost import by_cost
from controlplane.decide.replicas.draining import drained
from controlplane.decide.replicas.pool import Pool
from controlplane.decide.replicas.quota import taken_by_others, under_quota
from controlplane.decide.replicas.scale import decide_pool
from controlplane.decide.replicas.scaled import Scaled
from controlplane.decide.replicas.steps import absorb, held
from controlplane.decide.units import decide_units
from controlplane.domain.decision import Plan, ReasonCode, Step
from controlplane.domain.fleet import (
    Fleet,
    ModelSpec,
    ReplicaBounds,
    WorkloadSpec,
    is_member_name,
    workload_of,
)
from controlplane.domain.observation import ModelReading
from controlplane.domain.scaling import ScaleStatus
from controlplane.domain.signal import known
from controlplane.domain.snapshot import Snapshot
from controlplane.domain.state import PolicyState, UnitState, WorkloadState, server_of

# About one scrape: the reading that settles it is there by then.
_LOOK_AGAIN_S = 5.0
_UNSETTLED = frozenset({ReasonCode.DATA_PARTIAL, ReasonCode.ROUTED, ReasonCode.DRAINING})
# A pod of a StatefulSet comes back under its name within minutes; those of a Deployment never do.
_KEEP_LEFT_S = 3600.0
# By then somebody has seen that a workload was taken out of the configuration by mistake.
_KEEP_UNNAMED_S = 86_400.0


def decide(snapshot: Snapshot, state: PolicyState, policy: Policy, now: float) -> tuple[Plan, PolicyState]:
    """One decision for every model on every server it runs on, and the state for the next tick.

    Units that the configuration no longer names keep their memory, so that a model taken out by mistake comes back
    with what was learned. Those of a discovered server keep it for an hour after it has left, and workloads for a day.
    """
    gpu = GpuMemory(snapshot.fleet, snapshot.reading.gpus)
    state = learn_memory(snapshot, gpu, state, now)
    forecasts = dict(state.forecasts)
    decided = decide_units(snapshot, gpu, state, forecasts, policy, now)
    decisions, units = decided.decisions, decided.units
    workloads = _kept_workloads(state, snapshot.fleet, now)
    scaled = _scaled(snapshot, state, workloads, forecasts, policy, now)
    decisions += [one.decision for one in scaled]
    workloads |= {one.name: one.state for one in scaled}
    asked_before = {one.name: one.before.asked for one in scaled}
    unsettled = any(d.binding in _UNSETTLED for d in decisions)
    targets = {server.name for server in snapshot.fleet.servers} | {spec.name for spec in snapshot.fleet.workloads}
    circuits = circuit.absorbed(state.circuits, snapshot.results, targets, policy)
    restraint = Restraint(snapshot.fleet, circuits, state.changes, snapshot.in_flight, policy, now)
    restrained = restraint.plan(decisions)
    for wished, decision in zip(decisions, restrained, strict=True):
        if decision is wished:
            continue
        # what is not done now is not waited for
        if wished.step is Step.SCALE:
            cut = decision.target.instances if decision.actionable and decision.target is not None else None
            asked = asked_before[wished.server] if cut is None else cut
            workloads[wished.server] = replace(workloads[wished.server], asked=asked)
        elif wished.step is not Step.TRAFFIC:
            units[wished.knob] = replace(units[wished.knob], expectation=None)
    units |= _unnamed(state, units, snapshot.fleet.unlisted, now)
    known_names = units.keys() | workloads.keys() | {spec.name for spec in snapshot.fleet.workloads}
    forecasts = {name: forecast for name, forecast in forecasts.items() if name in known_names}
    plan = Plan(now, restrained, tuple(decided.effects), _LOOK_AGAIN_S if unsettled else None)
    return plan, PolicyState(
        units, workloads, forecasts, circuits, restraint.changes, state.marks, state.slice_capacity, decided.spreads
    )


def _scaled(
    snapshot: Snapshot,
    state: PolicyState,
    kept: Mapping[str, WorkloadState],
    forecasts: dict[str, Any],
    policy: Policy,
    now: float,
) -> list[Scaled]:
    """What is decided on each workload, weighed against the others. Its forecast is put among `forecasts`."""
    scaled: list[Scaled] = []
    for spec in snapshot.fleet.workloads:
        pool = _pool(snapshot, spec)
        if pool is not None:
            workload = absorb(pool, kept.get(spec.name, WorkloadState()), policy)
            decision, after, forecasts[spec.name] = decide_pool(pool, workload, forecasts.get(spec.name), policy, now)
            scaled.append(Scaled(pool, decision, after, workload))
    scaled = by_cost(scaled, snapshot.fleet.models, policy, now)
    others = taken_by_others(snapshot.fleet, state, (one.name for one in scaled))
    scaled = under_quota(scaled, others, snapshot.fleet.quota, policy, now)
    return [held(drained(one, policy, now), now) for one in scaled]


def _pool(snapshot: Snapshot, spec: WorkloadSpec) -> Pool | None:
    """The workload where it is to be scaled and it is known who its members are."""
    fleet = snapshot.fleet
    # the requests of an adapter are counted as those of its base
    models = tuple(model for model in fleet.models if spec.name in model.workloads and model.lora is None)
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
    told = people.newest(o for o in snapshot.overrides if o.workload == spec.name)
    return Pool(
        spec,
        ReplicaBounds(*people.bounds(told, spec.replicas.least, spec.replicas.most)),
        models,
        members,
        readings,
        judgements=tuple(j for name in sorted(names) for j in snapshot.judgements.get(name, ())),
        override=told,
        freezes=tuple(f for f in snapshot.freezes if f.holds_replicas(spec.name, names)),
        wants=tuple(w for w in snapshot.wants if w.model in names),
        in_flight=next((a for a in snapshot.in_flight if a.knob == spec.name), None),
        results=tuple(o for o in snapshot.results if o.action.knob == spec.name),
        scaling=fleet.scaling.get(spec.name, ScaleStatus()),
        floors=snapshot.floors.get(spec.name, ()),
        events=_pool_events(snapshot, spec, models),
    )


def _pool_events(snapshot: Snapshot, spec: WorkloadSpec, models: tuple[ModelSpec, ...]) -> tuple[Event, ...]:
    """What was announced of a workload, or of its model where it has one: of several it is not known what is theirs."""
    own = [expected.as_event(said, 1) for said in snapshot.announced if said.subject == spec.name]
    if len(models) == 1:
        parts = len(models[0].workloads)
        own += [expected.as_event(said, parts) for said in snapshot.announced if said.subject == models[0].name]
    return tuple(own)


def _unnamed(
    state: PolicyState, decided: Collection[str], unlisted: Collection[str], now: float
) -> dict[str, UnitState]:
    """What is kept of units about which nothing was decided; who is in an `unlisted` workload is not known."""
    kept: dict[str, UnitState] = {}
    for key, unit in state.units.items():
        if key in decided:
            continue
        server = server_of(key)
        if not is_member_name(server):
            kept[key] = replace(unit, rollout=rollout.left(unit.rollout, now))
        elif workload_of(server) in unlisted:
            kept[key] = unit
        elif unit.gone_since is None or now - unit.gone_since <= _KEEP_LEFT_S:
            kept[key] = replace(unit, gone_since=now if unit.gone_since is None else unit.gone_since)
    return kept


def _kept_workloads(state: PolicyState, fleet: Fleet, now: float) -> dict[str, WorkloadState]:
    """What is known of workloads, without those that no configuration has named for long."""
    named = {spec.name for spec in fleet.workloads}
    kept: dict[str, WorkloadState] = {}
    for name, workload in state.workloads.items():
        if name in named:
            kept[name] = replace(workload, gone_since=None)
        elif workload.gone_since is None or now - workload.gone_since <= _KEEP_UNNAMED_S:
            kept[name] = replace(workload, gone_since=now if workload.gone_since is None else workload.gone_since)
    return kept

"""Decisions, what they rested on and what came of them as samples."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.domain import names
from controlplane.domain.decision import Decision, ReasonCode, Verdict
from controlplane.domain.picture import Picture
from controlplane.domain.state import Circuit
from controlplane.publish.metrics.gpus import Sample


def scaling_samples(picture: Picture, max_age_s: float) -> Iterator[Sample]:
    """Of all units. A decision older than `max_age_s` seconds has none of its own."""
    fresh = {(d.model, d.server): d for d in picture.decisions if picture.at - d.at <= max_age_s}
    for model in picture.fleet.models:
        for server in model.runs_on:
            unit = (model.name, server)
            if (decision := fresh.get(unit)) is not None:
                yield from _decided(unit, decision)
                # a unit about which something is decided has turned so often, also never
                yield names.DIRECTION_CHANGES, unit, len(picture.totals.turns.get(unit, ()))
        for (workload, knob), times in picture.startups.get(model.name, {}).items():
            labels = (model.name, workload, knob)
            yield names.STARTUP_S, (*labels, "0.5"), times.p50_s
            yield names.STARTUP_S, (*labels, "0.9"), times.p90_s
            yield names.STARTUPS_SEEN, labels, times.seen
    workloads = {spec.name for spec in picture.fleet.workloads}
    for name, decision in ((name, decision) for (_, name), decision in fresh.items() if name in workloads):
        yield from _replicas(name, decision)
    for target in sorted({server for _, server in fresh}):
        yield names.CIRCUIT_OPEN, (target,), float(picture.circuits.get(target, Circuit()).is_open)
    for action in picture.in_flight:
        yield names.MODEL_IN_FLIGHT, (action.model, action.server, action.step.value), 1.0
    for (step, binding), count in picture.totals.decisions.items():
        yield names.DECISIONS, (step.value, binding.value), count
    for verdict in Verdict:
        # from 0 on: a counter that begins at 1 grew by nothing, as Prometheus sees it
        yield names.EFFECTS, (verdict.value,), float(picture.totals.effects.get(verdict, 0))


def _decided(unit: tuple[str, str], decision: Decision) -> Iterator[Sample]:
    yield names.MODEL_DECISION, (*unit, decision.step.value, decision.binding.value), 1.0
    if decision.target is not None:
        yield names.MODEL_DESIRED_INSTANCES, unit, decision.target.instances
    told = {reason.code: reason.numbers for reason in reversed(decision.reasons) if reason.numbers}
    demand, capacity = told.get(ReasonCode.DEMAND, {}), told.get(ReasonCode.CAPACITY, {})
    yield names.MODEL_DEMAND, unit, demand.get("demand_per_s")
    yield names.MODEL_DEMAND_SEEN, (*unit, "low"), demand.get("low_per_s")
    yield names.MODEL_DEMAND_SEEN, (*unit, "high"), demand.get("high_per_s")
    yield names.MODEL_DEMAND_QUANTILE, unit, demand.get("quantile")
    yield names.MODEL_CAPACITY, unit, capacity.get("capacity_per_s")
    for reason in decision.reasons:
        if reason.code is ReasonCode.BATCHING:
            yield names.MODEL_BATCHING_ADVICE, (*unit, reason.words["case"]), 1.0


def _replicas(workload: str, decision: Decision) -> Iterator[Sample]:
    if decision.target is not None:
        yield names.WORKLOAD_DESIRED_REPLICAS, (workload,), decision.target.instances
    told = {reason.code: reason.numbers for reason in decision.reasons}
    yield names.WORKLOAD_DEMAND_REPLICAS, (workload,), told.get(ReasonCode.REPLICA_DEMAND, {}).get("demand_replicas")
    yield names.WORKLOAD_DEMAND_AHEAD_REPLICAS, (workload,), told.get(ReasonCode.DEMAND_AHEAD, {}).get("replicas")
    yield names.WORKLOAD_QUOTA_SHORT_GPUS, (workload,), told.get(ReasonCode.QUOTA, {}).get("short_gpus", 0.0)

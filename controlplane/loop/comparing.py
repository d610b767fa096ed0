"""Recommendations beside what came of them, read from the store: decisions and slices are all that is needed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from controlplane.decide.compare import Comparison, compare, horizon_s, is_recommendation
from controlplane.domain.decision import OF_REPLICAS, Decision, DecisionRecord
from controlplane.domain.fleet import Fleet, ModelSpec
from controlplane.domain.objectives import Counts
from controlplane.domain.ports import Store


def compared(store: Store, fleet: Fleet, records: Iterable[DecisionRecord], now: float) -> Iterator[Comparison]:
    """Those of the records that are recommendations whose time has passed, in their order."""
    for record in records:
        decision = record.decision
        until = decision.at + horizon_s(decision)
        if not is_recommendation(decision) or until > now:
            continue
        counts: dict[tuple[str, str], Counts] = {
            (model.name, objective.key): store.counts(model.name, objective.key, decision.at, until)
            for model in _models(fleet, decision)
            for objective in model.objectives
        }
        comparison = compare(record, store.decisions_after(decision, until), counts, now)
        if comparison is not None:
            yield comparison


def _models(fleet: Fleet, decision: Decision) -> tuple[ModelSpec, ...]:
    """The models it is about: of a workload all that run on it."""
    if decision.step in OF_REPLICAS:
        return tuple(model for model in fleet.models if decision.server in model.workloads)
    return tuple(model for model in fleet.models if model.name == decision.model)

"""What was decided, as what a line is answered with."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from controlplane.decide.explain import reason_text
from controlplane.domain.decision import Decision, Plan, Reason, ReasonCode, Step
from controlplane.domain.fleet import Fleet, Phase, is_member_name, workload_of

_UNDECIDED = frozenset(
    {
        ReasonCode.DATA_MISSING,
        ReasonCode.DATA_PARTIAL,
        ReasonCode.CAPACITY_UNKNOWN,
        ReasonCode.SAFE_FLOOR,
        ReasonCode.UNFULFILLED,
        ReasonCode.IN_FLIGHT,
        ReasonCode.FROZEN,
    }
)
"""What binds where nothing can be said against what was asked for last."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Replicas that were answered last for a workload, and what was decided in the dwell, each with its time."""

    replicas: int
    decided: tuple[tuple[float, int], ...] = ()


def asked_of(plan: Plan, fleet: Fleet, before: Mapping[str, Ask], dwell_s: float) -> dict[str, Ask]:
    """Replicas that there should be of every workload that is scaled; `before`: what was answered last.

    Decisions go by the replicas that are there. What was asked for may be more, and come yet: it stands where nothing
    can be decided, and until fewer were enough for the whole dwell.
    """
    decided, asked = _of_workloads(plan), {}
    for spec in fleet.workloads:
        if spec.replicas is None:
            continue
        last = before.get(spec.name, Ask(0))
        most, decision = min(last.replicas, spec.replicas.most), decided.get(spec.name)
        if decision is None or decision.target is None or decision.current is None:
            asked[spec.name] = Ask(max(_present(fleet, spec.name), most, spec.replicas.least), last.decided)
            continue
        target = decision.target.instances
        if decision.binding in _UNDECIDED:
            asked[spec.name] = Ask(max(target, most), last.decided)
            continue
        lately = (*((at, count) for at, count in last.decided if at > plan.at - dwell_s), (plan.at, target))
        stands = min(most, max(count for _, count in lately)) if target >= decision.current.instances else 0
        asked[spec.name] = Ask(max(target, stands), lately)
    return asked


def answer_of(now: Any, plan: Plan, asked: Mapping[str, Ask]) -> dict[str, Any]:
    """The plan as a JSON object; `now` as it was told."""
    decided = _of_workloads(plan)
    actions = [
        {"workload": name, "from": decision.current.instances, "to": asked[name].replicas, "step": decision.step.value}
        for name, decision in decided.items()
        if decision.step is not Step.HOLD and decision.current is not None
    ]
    units = [
        {
            "workload": workload_of(decision.server),
            "server": decision.server.partition("/")[2],
            "model": decision.model,
            "step": decision.step.value,
            "instances": decision.target.instances,
        }
        for decision in plan.decisions
        if is_member_name(decision.server) and decision.step is not Step.HOLD and decision.target is not None
    ]
    return {
        "now": now,
        "desired": {name: ask.replicas for name, ask in asked.items()},
        "actions": [*actions, *units],
        "reasons": {name: [_told(reason) for reason in decision.reasons] for name, decision in decided.items()},
        "binding": {name: decision.binding.value for name, decision in decided.items()},
    }


def _of_workloads(plan: Plan) -> dict[str, Decision]:
    return {decision.server: decision for decision in plan.decisions if not is_member_name(decision.server)}


def _present(fleet: Fleet, workload: str) -> int:
    members = (m for m in fleet.members.values() if m.workload == workload)
    return sum(1 for member in members if member.phase is not Phase.TERMINATING)


def _told(reason: Reason) -> dict[str, Any]:
    numbers = {name: value if math.isfinite(value) else None for name, value in reason.numbers.items()}
    return {
        "code": reason.code.value,
        "text": reason_text(reason),
        "numbers": numbers,
        "words": dict(reason.words),
    }

"""What was decided, as what a line is answered with."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from controlplane.decide.explain import reason_text
from controlplane.domain.decision import Decision, Plan, Reason, Step
from controlplane.domain.fleet import Fleet, Phase, is_member_name, workload_of


def asked_of(plan: Plan, fleet: Fleet, before: Mapping[str, int]) -> dict[str, int]:
    """Replicas that there should be of every workload that is scaled; `before`: what was answered last.

    That stands where nothing is decided: no model runs on the workload, or it was not told of yet.
    """
    decided, asked = _of_workloads(plan), {}
    for spec in fleet.workloads:
        if spec.replicas is None:
            continue
        decision = decided.get(spec.name)
        if decision is not None and decision.target is not None:
            asked[spec.name] = decision.target.instances
            continue
        last = min(before.get(spec.name, 0), spec.replicas.most)
        asked[spec.name] = max(_present(fleet, spec.name), last, spec.replicas.least)
    return asked


def answer_of(now: Any, plan: Plan, asked: Mapping[str, int]) -> dict[str, Any]:
    """The plan as a JSON object; `now` as it was told."""
    decided = _of_workloads(plan)
    actions = [
        {"workload": name, "from": decision.current.instances, "to": asked[name], "step": decision.step.value}
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
        "desired": dict(asked),
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

"""What the cluster says against carrying out a decision about replicas."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from controlplane.decide.replicas.pool import Pool
from controlplane.domain.decision import Decision, Reason, ReasonCode, Step
from controlplane.domain.scaling import ScaleStatus


def told_only(pool: Pool) -> Reason | None:
    """Why it is told and not carried out by us, None: nothing says so. Two that set replicas would undo each other."""
    if pool.spec.publish_only:
        return Reason(ReasonCode.PUBLISH_ONLY)
    if pool.scaling.owner:
        return Reason(ReasonCode.OWNED, {}, {"owner": pool.scaling.owner})
    return None


def handed(pool: Pool, decision: Decision) -> Decision:
    """The decision about that workload, only told where it is not for us to carry out, with why."""
    elsewhere = told_only(pool) if decision.step is Step.SCALE else None
    reasons = decision.reasons
    if elsewhere is not None:
        reasons = (*(reason for reason in reasons if reason.code is not elsewhere.code), elsewhere)
    return replace(decision, reasons=reasons, told_only=pool.spec.told_only or elsewhere is not None)


def unscheduled_words(scaling: ScaleStatus) -> Mapping[str, str]:
    """What the scheduler says of the replicas that no node takes; nothing where all have their place."""
    says = sorted({pod.why for pod in scaling.unscheduled})
    return {"why": "; ".join(says)} if says else {}

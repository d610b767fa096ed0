"""What the cluster says against carrying out a decision about replicas."""

from __future__ import annotations

from collections.abc import Mapping

from controlplane.decide.replicas.pool import Pool
from controlplane.domain.decision import Reason, ReasonCode
from controlplane.domain.scaling import ScaleStatus


def told_only(pool: Pool) -> Reason | None:
    """Why it is told and not carried out by us, None: nothing says so. Two that set replicas would undo each other."""
    if pool.spec.publish_only:
        return Reason(ReasonCode.PUBLISH_ONLY)
    if pool.scaling.owner:
        return Reason(ReasonCode.OWNED, {}, {"owner": pool.scaling.owner})
    return None


def unscheduled_words(scaling: ScaleStatus) -> Mapping[str, str]:
    """What the scheduler says of the replicas that no node takes; nothing where all have their place."""
    says = sorted({pod.why for pod in scaling.unscheduled})
    return {"why": "; ".join(says)} if says else {}

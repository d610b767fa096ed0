"""What a ScaledObject is told: desired replicas of one workload, or why there is nothing to follow."""

from __future__ import annotations

from collections.abc import Mapping

from controlplane.domain.decision import Decision
from controlplane.domain.errors import ConflictError, NotFoundError, NotToldError
from controlplane.domain.fleet import Mode, WorkloadSpec
from controlplane.domain.picture import Picture

WORKLOAD_KEY = "workload"
"""Of a trigger's metadata: the workload, by its name in the configuration."""
METRIC = "replicas"
"""The one metric there is. With an average of 1 by pod its value is the number of pods."""


def workload_of(picture: Picture, metadata: Mapping[str, str]) -> WorkloadSpec:
    """The workload that a trigger names. Raises NotFoundError, ConflictError for one that others must not scale."""
    published = {spec.name: spec for spec in picture.fleet.workloads if spec.replicas is not None}
    name = metadata.get(WORKLOAD_KEY, "")
    if name not in published:
        raise NotFoundError(f"scaled workload ({WORKLOAD_KEY} in the trigger's metadata)", name, tuple(published))
    spec = published[name]
    if not spec.publish_only:
        raise ConflictError(
            f"workload {name} is scaled by the control plane itself; set publish_only: true to let KEDA"
        )
    return spec


def desired(picture: Picture, metadata: Mapping[str, str], max_age_s: float) -> int:
    """Replicas that the workload is to have.

    Raises NotFoundError and ConflictError as `workload_of`, ConflictError while its models are not in mode act, and
    NotToldError where nothing was decided in the last `max_age_s` seconds, and of one that stands by: KEDA and its HPA
    then leave what there is.
    """
    spec = workload_of(picture, metadata)
    if not picture.health.leading:
        raise NotToldError("this control plane stands by: the one that leads decides")
    decision = _decision(picture, spec.name)
    if decision is None or picture.at - decision.at > max_age_s:
        raise NotToldError(f"nothing was decided on workload {spec.name} within {max_age_s:g} s")
    if decision.mode is not Mode.ACT or decision.target is None:
        raise ConflictError(
            f"workload {spec.name} is in mode {decision.mode.value}; only in mode act may it be followed"
        )
    return decision.target.instances


def _decision(picture: Picture, workload: str) -> Decision | None:
    return next((d for d in picture.decisions if d.server == workload), None)

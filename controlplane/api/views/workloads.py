"""Workloads as JSON: how many servers were found, by phase, and how old that is."""

from __future__ import annotations

from collections import Counter

from pydantic import BaseModel, Field

from controlplane.api.views.signals import SignalView, part
from controlplane.domain.fleet import KubernetesQuery, Member, Phase, ServerKind, TargetsQuery, WorkloadSpec
from controlplane.domain.picture import Picture
from controlplane.domain.scaling import ScaleStatus
from controlplane.domain.signal import Missing, Signal


class MembersView(BaseModel):
    """Servers of a workload by phase."""

    starting: int
    ready: int
    terminating: int


class UnscheduledView(BaseModel):
    """A replica that no node takes."""

    name: str
    why: str = Field(description="As the scheduler says it", examples=["0/3 nodes are available: 3 Insufficient gpu."])


class WorkloadView(BaseModel):
    """A workload and what was found of it last."""

    name: str
    kind: ServerKind
    found_by: str = Field(examples=["pods app=triton in namespace ml"])
    members: SignalView[MembersView] = Field(description="Missing until it was first listed; none found is known")
    scales: str = Field(
        description="The object whose replicas they are; empty: none is named", examples=["Deployment x"]
    )
    publish_only: bool = Field(description="Replicas are told, and something else sees to them")
    owner: str = Field(description="What else sets its replicas; empty: nothing is known to")
    warning: str = Field(description="What else there is to say of its replicas; empty: nothing")
    unscheduled: list[UnscheduledView] = Field(description="Replicas that no node takes")


def workload_view(picture: Picture, spec: WorkloadSpec) -> WorkloadView:
    """One workload."""
    found = picture.workloads.get(spec.name, Missing("never listed"))
    scaling = picture.fleet.scaling.get(spec.name, ScaleStatus())
    return WorkloadView(
        name=spec.name,
        kind=spec.kind,
        found_by=_found_by(spec.query),
        members=SignalView[MembersView].of(_counted(found), picture.at),
        scales=_object(spec.query),
        publish_only=spec.publish_only,
        owner=scaling.owner,
        warning=scaling.warning,
        unscheduled=[UnscheduledView(name=pod.name, why=pod.why) for pod in scaling.unscheduled],
    )


def _counted(found: Signal[tuple[Member, ...]]) -> Signal[MembersView]:
    if isinstance(found, Missing):
        return found
    phases = Counter(member.phase for member in found.value)
    return part(found, MembersView(**{phase.value: phases[phase] for phase in Phase}))


def _object(query: KubernetesQuery | TargetsQuery | None) -> str:
    return f"{query.kind} {query.name}" if isinstance(query, KubernetesQuery) and query.name else ""


def _found_by(query: KubernetesQuery | TargetsQuery | None) -> str:
    if query is None:
        return "nothing"
    if isinstance(query, TargetsQuery):
        where = ", ".join(f"{label}=~{pattern}" for label, pattern in query.where)
        return f"targets of Prometheus {query.prometheus} with {where}"
    asked = f"pods {query.pods}" if query.pods else f"endpoints of services {query.services}"
    if not query.pods and not query.services:
        asked = f"pods of {_object(query)}"
    return f"{asked} in namespace {query.namespace}"

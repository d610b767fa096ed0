"""Workloads as JSON: how many servers were found, by phase, how old that is, and what people said."""

from __future__ import annotations

from collections import Counter

from pydantic import BaseModel, Field

from controlplane.api.views.people import FreezeView, OverrideView
from controlplane.api.views.signals import SignalView, part
from controlplane.domain.fleet import KubernetesQuery, Member, Phase, ServerKind, TargetsQuery, WorkloadSpec
from controlplane.domain.picture import Picture
from controlplane.domain.scaling import ScaleStatus
from controlplane.domain.signal import Missing, Signal


class MembersView(BaseModel):
    """Servers of a workload by phase."""

    starting: int
    ready: int
    draining: int = Field(description="Out of traffic, to end what they have before they go")
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
    replicas_min: int | None = Field(description="Configured; null: it is not scaled")
    replicas_max: int | None
    overrides: list[OverrideView]
    freezes: list[FreezeView] = Field(description="Those of this workload, of its models, and those that hold for all")


def workload_view(picture: Picture, spec: WorkloadSpec) -> WorkloadView:
    """One workload."""
    found = picture.workloads.get(spec.name, Missing("never listed"))
    scaling = picture.fleet.scaling.get(spec.name, ScaleStatus())
    models = {model.name for model in picture.fleet.models if spec.name in model.workloads}
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
        replicas_min=None if spec.replicas is None else spec.replicas.least,
        replicas_max=None if spec.replicas is None else spec.replicas.most,
        overrides=[OverrideView.model_validate(o) for o in picture.overrides if o.workload == spec.name],
        freezes=[FreezeView.model_validate(f) for f in picture.freezes if f.holds_replicas(spec.name, models)],
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

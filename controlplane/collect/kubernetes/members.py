"""From objects of the Kubernetes API, as JSON, to members of a workload."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

from controlplane.domain.fleet import Member, Phase, WorkloadSpec
from controlplane.domain.scaling import OFF, Drain, Unscheduled
from controlplane.kube.connection import ApiObject
from controlplane.kube.traffic import taken_from

SERVICE_LABEL = "kubernetes.io/service-name"
"""The label of an EndpointSlice that names its service."""


@dataclass(frozen=True, slots=True)
class Pod:
    """What is kept of a pod. `address` is empty until it has one; `ended`: no container of it runs any more.

    `unscheduled`: why no node takes it, empty: one did, or nobody has tried yet.
    """

    name: str
    uid: str
    address: str
    phase: Phase
    ended: bool
    created_at: float | None
    ready_at: float | None
    unscheduled: str = ""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address behind a service, and the pod that it is of, if it is one's."""

    service: str
    address: str
    phase: Phase
    pod_name: str
    pod_uid: str


def object_name(thing: ApiObject) -> str:
    """The name of an object. Raises KeyError for something that is none."""
    return str(thing["metadata"]["name"])


def read_pod(thing: ApiObject, drain: Drain | None = None) -> Pod:
    """A pod: terminating from its deletion on, draining by its label, else ready by its Ready condition, or starting.

    Without `drain`, or with another one, the label is the one that it was taken out by.
    https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/
    """
    meta, status = thing["metadata"], thing.get("status") or {}
    conditions = {condition["type"]: condition for condition in status.get("conditions") or ()}
    ready = conditions.get("Ready", {})
    is_ready = ready.get("status") == "True"
    phase = Phase.READY if is_ready else Phase.STARTING
    is_out = drain is not None and (meta.get("labels") or {}).get(drain.key) == OFF
    if is_out or taken_from(thing) is not None:
        phase = Phase.DRAINING
    return Pod(
        name=str(meta["name"]),
        uid=str(meta["uid"]),
        address=str(status.get("podIP") or ""),
        phase=Phase.TERMINATING if meta.get("deletionTimestamp") else phase,
        ended=status.get("phase") in {"Succeeded", "Failed"},
        created_at=_unix(meta.get("creationTimestamp")),
        ready_at=_unix(ready.get("lastTransitionTime")) if is_ready else None,
        unscheduled=_unscheduled(conditions.get("PodScheduled", {})),
    )


def _unscheduled(condition: ApiObject) -> str:
    """What the scheduler says of a pod that fits nowhere; one held back by a scheduling gate was not tried."""
    if condition.get("status") != "False" or condition.get("reason") != "Unschedulable":
        return ""
    return str(condition.get("message") or "unschedulable")


def read_endpoints(thing: ApiObject) -> tuple[Endpoint, ...]:
    """The endpoints of an EndpointSlice, each by its first address, the only one that means anything.

    `serving` says whether it answers; `ready` does too, but is always true where a service publishes addresses that are
    not ready, so that it counts only without `serving`, and an endpoint that tells neither is ready.
    https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/#conditions
    """
    service = str((thing["metadata"].get("labels") or {}).get(SERVICE_LABEL, ""))
    found = []
    for endpoint in thing.get("endpoints") or ():
        conditions = endpoint.get("conditions") or {}
        serving = conditions.get("serving")
        if serving is None:
            serving = conditions.get("ready") is not False
        phase = Phase.READY if serving else Phase.STARTING
        target = endpoint.get("targetRef") or {}
        pod = target if target.get("kind") == "Pod" else {}
        found.append(
            Endpoint(
                service=service,
                address=str(endpoint["addresses"][0]),
                phase=Phase.TERMINATING if conditions.get("terminating") else phase,
                pod_name=str(pod.get("name", "")),
                pod_uid=str(pod.get("uid", "")),
            )
        )
    return tuple(found)


def pod_members(workload: WorkloadSpec, pods: Iterable[Pod]) -> tuple[Member, ...]:
    """The pods as members, by name.

    Left out are pods that have ended, and those without an address yet: nobody could connect to them. When such a one
    gets its address, it is a member that was created when the pod was.
    """
    placed = sorted((pod for pod in pods if pod.address and not pod.ended), key=lambda pod: pod.name)
    return tuple(_member(workload, pod.name, pod.address, pod.phase, pod) for pod in placed)


def unscheduled(pods: Iterable[Pod]) -> tuple[Unscheduled, ...]:
    """Those that no node takes, by name."""
    waiting = sorted((pod for pod in pods if pod.unscheduled and not pod.ended), key=lambda pod: pod.name)
    return tuple(Unscheduled(p.name, p.unscheduled) for p in waiting if p.phase is not Phase.TERMINATING)


def endpoint_members(
    workload: WorkloadSpec, services: Collection[str], endpoints: Iterable[Endpoint], pods: Iterable[Pod]
) -> tuple[Member, ...]:
    """The endpoints of the services as members, by name; a pod behind several of them, or with several addresses, once.

    Its phase is terminating if any of its endpoints is, else ready if any is. `pods` tell when those with one were
    created and became ready.
    """
    by_uid = {pod.uid: pod for pod in pods}
    by_target: dict[str, list[Endpoint]] = {}
    for endpoint in endpoints:
        if endpoint.service in services:
            by_target.setdefault(endpoint.pod_uid or endpoint.address, []).append(endpoint)
    members = []
    for target, seen in by_target.items():
        pod, phases = by_uid.get(target), {endpoint.phase for endpoint in seen}
        if pod is not None:
            if pod.ended:
                continue
            phases |= {pod.phase} & {Phase.TERMINATING}
        first = min(seen, key=lambda endpoint: (":" in endpoint.address, endpoint.address))
        phase = next((p for p in (Phase.TERMINATING, Phase.READY) if p in phases), Phase.STARTING)
        address = pod.address if pod is not None and pod.address else first.address
        members.append(_member(workload, first.pod_name or first.address, address, phase, pod, first.pod_uid))
    return tuple(sorted(members, key=lambda member: member.server.name))


def _member(
    workload: WorkloadSpec, name: str, address: str, phase: Phase, pod: Pod | None, pod_uid: str = ""
) -> Member:
    return Member(
        server=workload.server(name, address),
        workload=workload.name,
        phase=phase,
        created_at=pod.created_at if pod else None,
        ready_at=pod.ready_at if pod else None,
        pod_uid=pod.uid if pod else pod_uid,
    )


def _unix(stamp: str | None) -> float | None:
    """Unix seconds of an RFC 3339 time."""
    return datetime.fromisoformat(stamp).timestamp() if stamp else None

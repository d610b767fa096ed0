"""Which pods go first when a Deployment gets fewer: those that hold the least work, the youngest of them.

A ReplicaSet takes away pods that are not ready first, then those with the lowest pod-deletion-cost.
https://kubernetes.io/docs/concepts/workloads/controllers/replicaset/#pod-deletion-cost
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from controlplane.act.kubernetes.writing import is_ready
from controlplane.kube.connection import ApiObject
from controlplane.kube.objects import Objects

COST = "controller.kubernetes.io/pod-deletion-cost"
OURS = "-1000"
"""The cost that we give, by which it is known as ours; one that somebody else gave is left alone."""
CHOOSERS = frozenset({"Deployment"})
"""Kinds that heed it: a StatefulSet takes away its last ones, a LeaderWorkerSet too."""


def victims(pods: Sequence[ApiObject], fewer: int, loads: Mapping[str, float]) -> tuple[str, ...]:
    """Names of the pods that should go first.

    `loads` are requests that each holds, by name; one that tells nothing may hold many, and goes last.
    """
    ready = [pod for pod in pods if is_ready(pod) and not pod["metadata"].get("deletionTimestamp")]
    starting = sum(not is_ready(pod) and not pod["metadata"].get("deletionTimestamp") for pod in pods)
    ready.sort(key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")), reverse=True)
    ready.sort(key=lambda pod: loads.get(name_of(pod), float("inf")))
    known = [name_of(pod) for pod in ready if name_of(pod) in loads and cost_of(pod) in ("", OURS)]
    return tuple(known[: max(0, fewer - starting)])


def mark(objects: Objects, pods: Iterable[ApiObject], chosen: tuple[str, ...]) -> None:
    """Give those chosen our cost, and take it from others that still have it. Raises ApiServerError."""
    for pod in pods:
        name, cost = name_of(pod), cost_of(pod)
        if name in chosen and cost != OURS:
            objects.patch_pod(name, _annotated(OURS))
        elif name not in chosen and cost == OURS:
            objects.patch_pod(name, _annotated(None))


def _annotated(cost: str | None) -> ApiObject:
    return {"metadata": {"annotations": {COST: cost}}}


def name_of(pod: ApiObject) -> str:
    """Its name."""
    return str(pod["metadata"]["name"])


def cost_of(pod: ApiObject) -> str:
    """Its deletion cost as it is written, empty: it has none."""
    return str((pod["metadata"].get("annotations") or {}).get(COST, ""))

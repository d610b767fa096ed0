"""Pods in and out of traffic, by a label that their Service selects and their own object does not.

A pod whose label is changed leaves the Service's endpoints, and stays ready and its object's. Fresh pods have the label
from their template, so that they get traffic whether or not anybody is there to see to it.
https://kubernetes.io/docs/concepts/services-networking/service/#services-with-a-selector
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from controlplane.act.kubernetes.failures import action_error
from controlplane.act.kubernetes.victims import COST, OURS, cost_of, name_of
from controlplane.act.kubernetes.writing import is_ready
from controlplane.domain.scaling import IN_ORDER, OFF, TAKEN_FROM, Drain
from controlplane.kube.connection import ApiObject
from controlplane.kube.objects import Objects
from controlplane.kube.target import Target, owners_of, selector_of
from controlplane.kube.traffic import taken_from

_ENDED = frozenset({"Succeeded", "Failed"})
_TEMPLATE = "pod-template-hash"
"""The label that tells of which ReplicaSet of a Deployment a pod is."""


def set_traffic(
    objects: Objects, target: Target, drain: Drain, replicas: int, loads: Mapping[str, float]
) -> tuple[str, ...]:
    """Have those out of traffic that go where there are so many, and all others in it; gives the names of the former.

    Of these one that went by itself meanwhile is left out. Raises ActionError where the label cannot do that or
    somebody else scales the object, ApiServerError, NotFoundError, NotLeadingError.
    """
    put_back(objects, target, but=drain.key)
    pods = _there(objects, target)
    going = going_first(target.kind, pods, replicas, loads, drain)
    if going:
        _check(objects, target, drain)
        _check_settled(target, pods)
    went = set()
    for pod in pods:
        if name_of(pod) in going:
            if not _set(objects, pod, drain, out=True, marked=target.kind not in IN_ORDER):
                went.add(name_of(pod))
        elif _is_out(pod, drain) or cost_of(pod) == OURS:
            _set(objects, pod, drain, out=False, marked=False)
    return tuple(name for name in going if name not in went)


def put_back(objects: Objects, target: Target, *, but: str = "") -> None:
    """Have in traffic all that were taken out by a label that nobody drains by any more, which is any `but` that one.

    Raises ApiServerError, NotFoundError.
    """
    for pod in _there(objects, target):
        if (had := taken_from(pod)) is not None and had[0] != but:
            notes = {TAKEN_FROM: None} | ({COST: None} if cost_of(pod) == OURS else {})
            objects.patch_pod(name_of(pod), {"metadata": {"labels": dict([had]), "annotations": notes}})


def check_drained(objects: Objects, target: Target, drain: Drain, replicas: int) -> None:
    """See that none goes that is in traffic. Raises ActionError, ApiServerError."""
    pods = _there(objects, target)
    _check_settled(target, pods)
    going = going_first(target.kind, pods, replicas, {}, drain)
    serving = [name_of(pod) for pod in pods if name_of(pod) in going and is_ready(pod) and not _is_out(pod, drain)]
    if serving:
        raise action_error(f"{target.kind} {target.name}: {', '.join(serving)} would go, and is in traffic")


def going_first(
    kind: str, pods: Sequence[ApiObject], replicas: int, loads: Mapping[str, float], drain: Drain
) -> tuple[str, ...]:
    """Names of the pods that go where there are to be so many; of a StatefulSet its last ones.

    Else pods that are not ready go anyway, and are not named. Then come those of the least deletion cost, which is ours
    for whom we choose: who is out of traffic already, then who holds the fewest requests, the youngest of them. One
    that tells nothing may hold many.
    """
    fewer = len(pods) - replicas
    if fewer <= 0:
        return ()
    if kind in IN_ORDER:
        return tuple(map(name_of, sorted(pods, key=_ordinal, reverse=True)[:fewer]))
    ready = [pod for pod in pods if is_ready(pod)]
    ready.sort(key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")), reverse=True)
    ready.sort(key=lambda p: (_rank(p), not _is_out(p, drain), loads.get(name_of(p), float("inf"))))
    return tuple(map(name_of, ready[: max(0, fewer - (len(pods) - len(ready)))]))


def _there(objects: Objects, target: Target) -> list[ApiObject]:
    """Its pods that are neither ended nor going away."""
    pods = objects.pods(selector_of(objects, target))
    here = (pod for pod in pods if not pod["metadata"].get("deletionTimestamp"))
    return [pod for pod in here if (pod.get("status") or {}).get("phase") not in _ENDED]


def _check(objects: Objects, target: Target, drain: Drain) -> None:
    what = f"{target.kind} {target.name}"
    if owner := owners_of(objects, target).owner:
        raise action_error(f"{what}: {owner} scales it already")
    spec = objects.read(objects.resource(target.kind, target.api_version), target.name)["spec"]
    selector = spec.get("selector") or {}
    keys = {*(selector.get("matchLabels") or {}), *(one["key"] for one in selector.get("matchExpressions") or ())}
    if drain.key in keys:
        raise action_error(
            f"{what}: its own selector has the label {drain.key}, a pod would be replaced and not drained"
        )
    if ((spec["template"].get("metadata") or {}).get("labels") or {}).get(drain.key) != drain.value:
        raise action_error(f"{what}: its pod template lacks the label {drain.key}: {drain.value}")


def _check_settled(target: Target, pods: Sequence[ApiObject]) -> None:
    """A Deployment that is rolled out takes away pods of each ReplicaSet in proportion, whatever they cost.

    https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#proportional-scaling
    """
    templates = {(pod["metadata"].get("labels") or {}).get(_TEMPLATE) for pod in pods} - {None}
    if target.kind not in IN_ORDER and len(templates) > 1:
        raise action_error(f"{target.kind} {target.name} is being rolled out, any of its pods might go")


def _set(objects: Objects, pod: ApiObject, drain: Drain, *, out: bool, marked: bool) -> bool:
    """A cost that somebody else gave is left alone. False: the pod is gone."""
    label, cost, had = OFF if out else drain.value, OURS if marked else "", f"{drain.key}={drain.value}" if out else ""
    labels = {drain.key: label} if _label(pod, drain) != label else {}
    notes = {COST: cost or None} if cost_of(pod) in {"", OURS} - {cost} else {}
    if (pod["metadata"].get("annotations") or {}).get(TAKEN_FROM, "") != had:
        notes[TAKEN_FROM] = had or None
    if not labels and not notes:
        return True
    return objects.patch_pod(name_of(pod), {"metadata": {"labels": labels, "annotations": notes}})


def _is_out(pod: ApiObject, drain: Drain) -> bool:
    return _label(pod, drain) == OFF


def _label(pod: ApiObject, drain: Drain) -> str | None:
    return (pod["metadata"].get("labels") or {}).get(drain.key)


def _rank(pod: ApiObject) -> float:
    """The deletion cost that it has once it is chosen; one that is no number counts as none, which is 0."""
    try:
        return float(cost_of(pod) or OURS)
    except ValueError:
        return 0.0


def _ordinal(pod: ApiObject) -> int:
    number = name_of(pod).rpartition("-")[2]
    return int(number) if number.isdigit() else -1

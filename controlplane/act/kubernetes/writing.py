"""Setting the replicas of one object, blocking: through its scale subresource, or KServe's own bounds.

https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/ (autoscaling/v1 Scale)
https://kserve.github.io/website/docs/model-serving/predictive-inference/autoscaling (minReplicas, maxReplicas)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from controlplane.act.kubernetes.failures import action_error
from controlplane.kube.connection import ApiObject, ApiServerError
from controlplane.kube.objects import Objects
from controlplane.kube.target import INFERENCE_SERVICE, Target, owners_of, selector_of

_TRIES = 5
_CONFLICT = 409


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a rollout is. `ready` None: the object does not tell which pods are its own."""

    observed: bool
    """Whether its controller has seen the newest specification."""
    made: int | None
    ready: int | None


@dataclass(frozen=True, slots=True)
class _Asked:
    """The number that an object asks for, one or KServe's two bounds, and what writes another over just that one."""

    now: tuple[int, ...]
    wanted: tuple[int, ...]
    write: Callable[[], None]


def set_replicas(
    objects: Objects, target: Target, replicas: int, before_fewer: Callable[[int], None] = lambda _: None
) -> int:
    """Have so many, and give how many were asked for before; nothing is written where it is so already.

    A conflict with somebody who wrote in between is tried again on what there is then, as long as that is not another
    number. `before_fewer` is told how many are to go, right before. Raises ActionError where somebody else scales it,
    ApiServerError, NotLeadingError.
    """
    what = f"{target.kind} {target.name}"
    if owner := owners_of(objects, target).owner:
        raise action_error(f"{what}: {owner} scales it already")
    read = _bounds if target.kind == INFERENCE_SERVICE else _scale
    first = None
    for _ in range(_TRIES):
        asked = read(objects, target, replicas)
        if asked.now == asked.wanted:
            return asked.now[0]
        if first not in (None, asked.now):
            raise action_error(f"{what}: somebody set {_said(asked.now)} replicas meanwhile, where {_said(first)} were")
        first = asked.now
        if target.kind != INFERENCE_SERVICE and replicas < first[0]:
            before_fewer(first[0] - replicas)
        try:
            asked.write()
        except ApiServerError as error:
            if error.status != _CONFLICT:
                raise
        else:
            return first[0]
    raise action_error(f"{what} changed each time between reading and writing it, {_TRIES} times")


def _said(numbers: tuple[int, ...]) -> str:
    return " to ".join(map(str, numbers))


def _scale(objects: Objects, target: Target, replicas: int) -> _Asked:
    resource = objects.resource(target.kind, target.api_version)
    scale = objects.scale(resource, target.name)
    spec = scale.get("spec") or {}
    body = {**scale, "spec": {**spec, "replicas": replicas}}
    return _Asked(
        (int(spec.get("replicas") or 0),), (replicas,), lambda: objects.replace_scale(resource, target.name, body)
    )


def _bounds(objects: Objects, target: Target, replicas: int) -> _Asked:
    """Both bounds of the predictor: KServe's own autoscaler is left nothing to choose."""
    if replicas == 0:
        raise action_error("an InferenceService with no replicas at all cannot be asked for: replicas.min is 1 or more")
    resource = objects.resource(target.kind, target.api_version)
    service = objects.read(resource, target.name)
    predictor = service["spec"].get("predictor") or {}
    now = int(predictor.get("minReplicas", 1)), int(predictor.get("maxReplicas", 0))
    version = {"resourceVersion": service["metadata"]["resourceVersion"]}
    asked = {"predictor": {"minReplicas": replicas, "maxReplicas": replicas}}
    body = {"metadata": version, "spec": asked}
    return _Asked(now, (replicas, replicas), lambda: objects.patch(resource, target.name, body))


def progress(objects: Objects, target: Target) -> Progress:
    """How far it is. Pods that are going away count as gone."""
    resource = objects.resource(target.kind, target.api_version)
    thing = objects.read(resource, target.name)
    seen = (thing.get("status") or {}).get("observedGeneration")
    observed = seen is None or int(seen) >= int(thing["metadata"].get("generation", 0))
    if target.kind == INFERENCE_SERVICE:
        pods = _staying(objects.pods(selector_of(objects, target)))
        return Progress(observed, len(pods), sum(map(is_ready, pods)))
    status = objects.scale(resource, target.name).get("status") or {}
    selector = str(status.get("selector") or "")
    ready = sum(map(is_ready, _staying(objects.pods(selector)))) if selector else None
    return Progress(observed, status.get("replicas"), ready)


def is_ready(pod: ApiObject) -> bool:
    """Whether its Ready condition is true."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def _staying(pods: tuple[ApiObject, ...]) -> list[ApiObject]:
    return [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]

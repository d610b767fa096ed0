"""The object whose replicas are the servers of a workload: where it is, its pods, and who else scales it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from controlplane.domain.errors import ControlPlaneError, NotFoundError
from controlplane.kube.connection import ApiObject
from controlplane.kube.objects import Objects

INFERENCE_SERVICE = "InferenceService"
"""KServe's, which has no scale: what it is made of is its own, and undone by it when somebody else scales that."""
_DEFAULT_KIND = "Deployment"


@dataclass(frozen=True, slots=True)
class Target:
    """An object by kind and name; `api_version` empty: that in which the API server has the kind."""

    kind: str
    name: str
    api_version: str = ""


@dataclass(frozen=True, slots=True)
class Owners:
    """Who else sets the replicas of a target, empty: nobody; and what else there is to say."""

    owner: str = ""
    warning: str = ""


def selector_of(objects: Objects, target: Target) -> str:
    """Label selector of the target's pods. Raises ApiServerError, NotFoundError where it tells none."""
    if target.kind == INFERENCE_SERVICE:
        # https://github.com/kserve/kserve pkg/constants: both ways in which KServe deploys label its pods so
        return f"serving.kserve.io/inferenceservice={target.name},component=predictor"
    scale = objects.scale(objects.resource(target.kind, target.api_version), target.name)
    selector = str((scale.get("status") or {}).get("selector") or "")
    if not selector:
        raise NotFoundError(f"label selector in the scale of a {target.kind}", target.name)
    return selector


def owners_of(objects: Objects, target: Target) -> Owners:
    """Who scales the target besides us. Raises ApiServerError where that cannot be told.

    A HorizontalPodAutoscaler that KEDA made is told as its ScaledObject. A VerticalPodAutoscaler that changes pods
    restarts them as it likes, which is worth a warning.
    """
    owner = next(_scaling(objects, target), "")
    return Owners(owner, _vertical(objects, target))


def _scaling(objects: Objects, target: Target) -> Iterator[str]:
    for scaled in _all(objects, "ScaledObject", "keda.sh/v1alpha1"):
        if _aims(scaled, "scaleTargetRef", target):
            yield f"ScaledObject {scaled['metadata']['name']}"
    for hpa in _all(objects, "HorizontalPodAutoscaler", "autoscaling/v2"):
        if _aims(hpa, "scaleTargetRef", target):
            yield f"HorizontalPodAutoscaler {hpa['metadata']['name']}"


def _vertical(objects: Objects, target: Target) -> str:
    with suppress(ControlPlaneError):  # it is a warning only
        for vpa in _all(objects, "VerticalPodAutoscaler", "autoscaling.k8s.io/v1"):
            mode = (vpa["spec"].get("updatePolicy") or {}).get("updateMode", "Auto")
            if _aims(vpa, "targetRef", target) and mode != "Off":
                name = vpa["metadata"]["name"]
                return f"VerticalPodAutoscaler {name} (updateMode {mode}) restarts its pods to change their size"
    return ""


def _all(objects: Objects, kind: str, api_version: str) -> tuple[ApiObject, ...]:
    """All of a kind; none where the API server does not know it."""
    try:
        resource = objects.resource(kind, api_version)
    except NotFoundError:
        return ()
    return objects.all(resource)


def _aims(thing: ApiObject, key: str, target: Target) -> bool:
    aim = thing["spec"].get(key) or {}
    return (aim.get("kind", _DEFAULT_KIND), aim.get("name")) == (target.kind, target.name)

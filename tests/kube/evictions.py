"""Evictions, as PodDisruptionBudgets allow them."""

from __future__ import annotations

from tests.kube.errors import ApiError
from tests.kube.objects import Objects, Place, place

_KEPT = "Cannot evict pod as it would violate the pod's disruption budget."


def evict(objects: Objects, pod: Place, uid: str) -> None:
    """Delete a pod with its grace. Raises ApiError 429 where a budget has no disruption left, 404, 409."""
    with objects.changed:
        labels = objects.get(pod)["metadata"].get("labels") or {}
        for budget in objects.all(place("poddisruptionbudgets", pod.namespace))[0]:
            wanted, status = budget["spec"]["selector"]["matchLabels"], budget.get("status") or {}
            if not wanted.items() <= labels.items():
                continue
            allowed = int(status.get("disruptionsAllowed", 0))
            if allowed <= 0:
                raise ApiError(429, _KEPT)
            of = place("poddisruptionbudgets", pod.namespace, budget["metadata"]["name"])
            objects.update(of, {"status": {**status, "disruptionsAllowed": allowed - 1}}, status=True)
        objects.delete(pod, None, uid)

"""Which pods of a node hold its GPUs and have to go before these are cut, and which of them cannot be asked to.

Kubernetes does not tell which GPU of its node a pod has, so those with any go, whichever GPU is cut.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from controlplane.kube.connection import ApiObject
from controlplane.kube.nodes import Nodes

_MIRROR = "kubernetes.io/config.mirror"
_ENDED = {"Succeeded", "Failed"}


@dataclass(frozen=True, slots=True)
class Drain:
    """The pods of a node that have to go. `alone`: those that nobody would make again elsewhere."""

    pods: tuple[ApiObject, ...]
    alone: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """NAMESPACE/NAME of the pods."""
        return tuple(map(name_of, self.pods))


def drain_of(pods: Iterable[ApiObject]) -> Drain:
    """Those with GPUs; not those of a DaemonSet, which would come again at once, nor those that have ended."""
    with_gpus = [pod for pod in pods if _phase(pod) not in _ENDED and _has_gpus(pod) and _owner(pod) != "DaemonSet"]
    alone = tuple(name_of(pod) for pod in with_gpus if not _owner(pod) or _is_mirror(pod))
    return Drain(tuple(with_gpus), alone)


def evict(nodes: Nodes, pods: Sequence[ApiObject]) -> tuple[str, ...]:
    """Ask those to go that were not asked yet; gives those that a PodDisruptionBudget keeps. Raises ApiServerError."""
    asked = [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]
    return tuple(name_of(pod) for pod in asked if not nodes.evict(pod))


def name_of(pod: ApiObject) -> str:
    """NAMESPACE/NAME."""
    return f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"


def _has_gpus(pod: ApiObject) -> bool:
    spec = pod["spec"]
    containers = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    asked = {key for one in containers for key in ((one.get("resources") or {}).get("limits") or {})}
    return any(key.startswith("nvidia.com/") for key in asked)  # the device plugin may be told other names than `gpu`


def _owner(pod: ApiObject) -> str:
    owners = pod["metadata"].get("ownerReferences") or ()
    return next((str(owner["kind"]) for owner in owners if owner.get("controller")), "")


def _is_mirror(pod: ApiObject) -> bool:
    return _MIRROR in (pod["metadata"].get("annotations") or {})


def _phase(pod: ApiObject) -> str:
    return str((pod.get("status") or {}).get("phase", ""))

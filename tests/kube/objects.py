"""Objects of any kind with the versions, conflicts, deletion and history that the Kubernetes API gives them."""

from __future__ import annotations

import copy
import json
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.kube.errors import ApiError, gone
from tests.kube.scales import OF_PODS, ScalePaths, check
from tests.kube.valid import check_valid

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of object. `graceful`: a deletion waits for whoever runs it (pods that have a node).

    `scale` None: it has no scale subresource. `schema` is that of a custom resource, as JSON.
    """

    group: str
    version: str
    plural: str
    name: str
    namespaced: bool = True
    graceful: bool = False
    scale: ScalePaths | None = None
    schema: str = "{}"

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version


KINDS = (
    Kind("", "v1", "namespaces", "Namespace", namespaced=False),
    Kind("", "v1", "pods", "Pod", graceful=True),
    Kind("", "v1", "services", "Service"),
    Kind("", "v1", "serviceaccounts", "ServiceAccount"),
    Kind("", "v1", "configmaps", "ConfigMap"),
    Kind("", "v1", "nodes", "Node", namespaced=False),
    Kind("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget"),
    Kind("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice"),
    Kind("apps", "v1", "deployments", "Deployment", scale=OF_PODS),
    Kind("apps", "v1", "statefulsets", "StatefulSet", scale=OF_PODS),
    Kind("apps", "v1", "replicasets", "ReplicaSet", scale=OF_PODS),
    Kind("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler"),
    Kind("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False),
)


def defined(spec: Object) -> Kind:
    """The kind that a CustomResourceDefinition of one version defines."""
    version, names = spec["versions"][0], spec["names"]
    scale = (version.get("subresources") or {}).get("scale")
    paths = None
    if scale is not None:
        keys = ("specReplicasPath", "statusReplicasPath", "labelSelectorPath")
        paths = ScalePaths(*(scale.get(key, "") for key in keys))
    schema = json.dumps((version.get("schema") or {}).get("openAPIV3Schema") or {})
    return Kind(spec["group"], version["name"], names["plural"], names["kind"], scale=paths, schema=schema)


@dataclass(frozen=True, slots=True)
class Place:
    """Where an object is kept."""

    kind: Kind
    namespace: str
    name: str = ""

    def holds(self, other: Place) -> bool:
        return self.kind is other.kind and self.namespace in {"", other.namespace}


def place(plural: str, namespace: str = "", name: str = "") -> Place:
    """The place of an object of a kind, or of all its objects."""
    return Place(next(kind for kind in KINDS if kind.plural == plural), namespace, name)


@dataclass(frozen=True, slots=True)
class Change:
    """One step of history: what an object was and is; None: it was or is not there."""

    version: int
    place: Place
    before: Object | None
    after: Object | None


class Objects:
    """All objects. `changed` is notified at each change; whoever reads `history` holds it."""

    def __init__(self) -> None:
        self.changed = threading.Condition(threading.RLock())
        self.history: list[Change] = []
        self.version = 1
        self.forgotten = 0
        self.kinds = list(KINDS)
        self._objects: dict[Place, Object] = {}
        self._pages: dict[int, list[Object]] = {}
        self.create(place("namespaces"), {"metadata": {"name": "default"}})

    def get(self, place: Place) -> Object:
        with self.changed:
            return copy.deepcopy(self._found(place))

    def all(self, place: Place) -> tuple[list[Object], int]:
        """Objects of a kind in a namespace ("": in all), by name, and the version that this is true for."""
        with self.changed:
            found = sorted((p for p in self._objects if place.holds(p)), key=lambda p: (p.namespace, p.name))
            return [copy.deepcopy(self._objects[p]) for p in found], self.version

    def keep_pages(self, objects: list[Object], version: int) -> None:
        """Keep a list that is handed out in pages."""
        self._pages[version] = objects

    def pages(self, version: int) -> list[Object]:
        if version not in self._pages:
            raise ApiError(410, "The provided continue parameter is too old")
        return self._pages[version]

    def since(self, version: int) -> Iterator[Change]:
        """Changes after a version. Raises ApiError 410 for one that is forgotten."""
        if version < self.forgotten:
            raise gone()
        return (change for change in self.history if change.version > version)

    def compact(self) -> None:
        """Forget the history until now, and the lists that were handed out in part."""
        with self.changed:
            self.forgotten = self.version
            self.history.clear()
            self._pages.clear()

    def create(self, place: Place, body: Object) -> Object:
        with self.changed:
            new = copy.deepcopy(body)
            meta: Object = new.setdefault("metadata", {})
            if not meta.get("name") and meta.get("generateName"):
                meta["name"] = meta["generateName"] + uuid.uuid4().hex[:5]
            if not meta.get("name"):
                raise ApiError(422, f"{place.kind.name} is invalid: metadata.name: Required value")
            place = Place(place.kind, place.namespace, meta["name"])
            if place.kind.namespaced and not any(
                p.kind.plural == "namespaces" and p.name == place.namespace for p in self._objects
            ):
                raise ApiError(404, f'namespaces "{place.namespace}" not found')
            if place in self._objects:
                raise ApiError(409, f'{place.kind.plural} "{place.name}" already exists', "AlreadyExists")
            new |= {"apiVersion": place.kind.api_version, "kind": place.kind.name}
            meta |= {"uid": str(uuid.uuid4()), "creationTimestamp": _stamp(), "generation": 1}
            if place.kind.namespaced:
                meta["namespace"] = place.namespace
            if place.kind.plural == "pods":
                new["status"] = {"phase": "Pending"}
            if place.kind.plural == "customresourcedefinitions":
                self.kinds.append(defined(new["spec"]))
            check(place.kind, place.name, new)
            check_valid(place.kind, None, new)
            return self._put(place, None, new)

    def update(self, place: Place, body: Object, *, status: bool) -> Object:
        """Replace an object's status, or all but that. A version or uid that it carries must be the present one."""
        with self.changed:
            old = self._found(place)
            claimed = body.get("metadata") or {}
            for key, name in (("resourceVersion", "resource version"), ("uid", "uid")):
                if claimed.get(key) and claimed[key] != old["metadata"][key]:
                    raise ApiError(
                        409,
                        f'Operation cannot be fulfilled on {place.kind.plural} "{place.name}": the {name} is another;'
                        " the object has been modified; please apply your changes to the latest version and try again",
                    )
            new = copy.deepcopy(old) if status else copy.deepcopy(body)
            if status:
                new["status"] = copy.deepcopy(body.get("status", {}))
            else:
                own = {k: v for k, v in old["metadata"].items() if k in _SYSTEM}
                new["metadata"] = {k: v for k, v in claimed.items() if k not in _SYSTEM} | own
                new |= {"apiVersion": old["apiVersion"], "kind": old["kind"]}
                if "status" in old:
                    new["status"] = copy.deepcopy(old["status"])
                if any(new.get(key) != old.get(key) for key in {*new, *old} - {"metadata", "status"}):
                    new["metadata"]["generation"] += 1
            if new == old:
                return copy.deepcopy(old)
            check(place.kind, place.name, new)
            check_valid(place.kind, old, new)
            meta = new["metadata"]
            if (
                "deletionTimestamp" in meta
                and not meta.get("finalizers")
                and not meta.get("deletionGracePeriodSeconds")
            ):
                return self._remove(place, new)
            return self._put(place, old, new)

    def delete(self, place: Place, grace_s: int | None, uid: str = "") -> Object:
        """Delete, at once or (pods on a node, finalizers) by marking it; a grace of 0 takes a pod away for good."""
        with self.changed:
            old = self._found(place)
            if uid and uid != old["metadata"]["uid"]:
                raise ApiError(409, f"Precondition failed: UID in precondition: {uid}")
            spec, running = old.get("spec", {}), (old.get("status") or {}).get("phase") not in {"Succeeded", "Failed"}
            if grace_s is None:
                grace_s = spec.get("terminationGracePeriodSeconds", 30)
            if not (place.kind.graceful and spec.get("nodeName") and running):
                grace_s = 0
            if not grace_s and not old["metadata"].get("finalizers"):
                if "deletionTimestamp" in old["metadata"]:  # its time is cut short, which is a change of its own
                    short = copy.deepcopy(old)
                    short["metadata"]["deletionGracePeriodSeconds"] = 0
                    old = self._put(place, old, short)
                return self._remove(place, old)
            new = copy.deepcopy(old)
            new["metadata"].setdefault("deletionTimestamp", _stamp(grace_s))
            new["metadata"]["deletionGracePeriodSeconds"] = grace_s
            return self._put(place, old, new)

    def _found(self, place: Place) -> Object:
        if place not in self._objects:
            raise ApiError(404, f'{place.kind.plural} "{place.name}" not found')
        return self._objects[place]

    def _put(self, place: Place, old: Object | None, new: Object) -> Object:
        self.version += 1
        new["metadata"]["resourceVersion"] = str(self.version)
        self._objects[place] = new
        self._tell(place, old, new)
        return copy.deepcopy(new)

    def _remove(self, place: Place, last: Object) -> Object:
        self.version += 1
        old = self._objects.pop(place)
        last = copy.deepcopy(last)
        last["metadata"]["resourceVersion"] = str(self.version)
        self._tell(place, old | {"metadata": last["metadata"]}, None)
        return last

    def _tell(self, place: Place, before: Object | None, after: Object | None) -> None:
        self.history.append(Change(self.version, place, before, after))
        self.changed.notify_all()


_SYSTEM = (
    "name",
    "namespace",
    "uid",
    "creationTimestamp",
    "generation",
    "resourceVersion",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
)


def _stamp(after_s: float = 0.0) -> str:
    return (datetime.now(UTC) + timedelta(seconds=after_s)).strftime("%Y-%m-%dT%H:%M:%SZ")  # noqa: TID251


def merged(target: Any, patch: Any) -> Any:
    """A JSON merge patch (RFC 7386) applied."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = copy.deepcopy(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result

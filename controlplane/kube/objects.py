"""Objects of any kind in one namespace: found by their kind, read, written, and their scale subresource.

https://kubernetes.io/docs/reference/using-api/api-concepts/
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from controlplane.domain.errors import NotFoundError
from controlplane.domain.leader import Leave, any_write
from controlplane.kube.connection import ApiObject, ApiServerError, connect, told

_MERGE = "application/merge-patch+json"
_USUAL: Mapping[str, str] = {
    "Deployment": "apps/v1",
    "ReplicaSet": "apps/v1",
    "StatefulSet": "apps/v1",
    "LeaderWorkerSet": "leaderworkerset.x-k8s.io/v1",
    "InferenceService": "serving.kserve.io/v1beta1",
}
"""Where kinds are looked for first of which no `api_version` is given; all others in every group."""
_NOT_THERE = 404


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind as the API server has it. `scales`: it has a scale subresource."""

    group: str
    version: str
    plural: str
    kind: str
    scales: bool


class Objects:
    """The objects of a namespace, for one thread. All methods raise ApiServerError, those that write NotLeadingError.

    `kubeconfig` and `context` empty: the pod's own service account, else the user's usual configuration.
    """

    def __init__(self, kubeconfig: str, context: str, namespace: str, timeout_s: float) -> None:
        """Connects to nothing yet."""
        self._namespace = namespace
        self._timeout_s = timeout_s
        self._client = connect(kubeconfig, context, timeout_s)
        from kubernetes import client  # noqa: PLC0415 - takes long, see connection

        self._any: Any = client.CustomObjectsApi(self._client)
        self._apis: Any = client.ApisApi(self._client)
        self._core: Any = client.CoreV1Api(self._client)
        self._resources: dict[tuple[str, str], Resource] = {}
        self.leave: Leave = any_write

    def asking(self, leave: Leave) -> Objects:
        """The same by the same connection, where each write asks for leave."""
        other = copy.copy(self)
        other.leave = leave
        return other

    def resource(self, kind: str, api_version: str = "") -> Resource:
        """The kind, by API discovery. Raises NotFoundError where the API server has none, or several, of that name."""
        key = kind, api_version
        if key not in self._resources:
            self._resources[key] = self._discovered(kind, api_version)
        return self._resources[key]

    def read(self, resource: Resource, name: str) -> ApiObject:
        """One object."""
        thing: ApiObject = self._call("get", resource, self._any.get_namespaced_custom_object, name)
        return thing

    def all(self, resource: Resource) -> tuple[ApiObject, ...]:
        """All of a kind."""
        return tuple(self._call("list", resource, self._any.list_namespaced_custom_object)["items"])

    def patch(self, resource: Resource, name: str, body: ApiObject) -> None:
        """Merge into an object; refused with 409 where the body carries a resourceVersion that is not the present."""
        self.leave(f"a change of {resource.kind} {name}")
        self._call("patch", resource, self._any.patch_namespaced_custom_object, name, body, _content_type=_MERGE)

    def scale(self, resource: Resource, name: str) -> ApiObject:
        """The scale of an object, as autoscaling/v1 Scale. Raises NotFoundError where its kind has none."""
        if not resource.scales:
            raise NotFoundError("scale subresource of a kind", resource.kind)
        call = self._any.get_namespaced_custom_object_scale
        scale: ApiObject = self._call("get", resource, call, name, sub="/scale")
        return scale

    def replace_scale(self, resource: Resource, name: str, scale: ApiObject) -> None:
        """Write it; refused with 409 where its resourceVersion is not the present."""
        self.leave(f"{resource.kind} {name} with {scale['spec']['replicas']} replicas")
        self._call("update", resource, self._any.replace_namespaced_custom_object_scale, name, scale, sub="/scale")

    def pods(self, selector: str) -> tuple[ApiObject, ...]:
        """Pods by label selector."""
        with told(f"list pods in namespace {self._namespace}", self._timeout_s):
            answer = self._core.list_namespaced_pod(self._namespace, label_selector=selector, **self._how)
            return tuple(json.loads(answer.data)["items"])

    def patch_pod(self, name: str, body: ApiObject) -> bool:
        """Merge into a pod; False: it is gone."""
        self.leave(f"a change of pod {name}")
        try:
            with told(f"patch pods in namespace {self._namespace}", self._timeout_s):
                self._core.patch_namespaced_pod(name, self._namespace, body, _content_type=_MERGE, **self._how)
        except ApiServerError as error:
            if error.status != _NOT_THERE:
                raise
            return False
        return True

    def close(self) -> None:
        """Close the connections."""
        self._client.rest_client.pool_manager.clear()

    @property
    def _how(self) -> dict[str, Any]:
        return {"_preload_content": False, "_request_timeout": (self._timeout_s, self._timeout_s)}

    def _call(
        self, verb: str, resource: Resource, call: Callable[..., Any], *args: object, sub: str = "", **more: str
    ) -> Any:
        where = (resource.group, resource.version, self._namespace, resource.plural)
        what = f"{verb} {resource.plural}{sub} of API group {resource.group} in namespace {self._namespace}"
        with told(what, self._timeout_s):
            return json.loads(call(*where, *args, **more, **self._how).data)

    def _discovered(self, kind: str, api_version: str) -> Resource:
        given = api_version or _USUAL.get(kind, "")
        versions = (given,) if given else self._versions()
        found = [one for version in versions for one in self._kinds(version) if one.kind == kind]
        if len(found) == 1:
            return found[0]
        places = tuple(f"{one.group}/{one.version}" for one in found)
        what = f"kind of the API server in {given}" if given else "one kind of the API server"
        raise NotFoundError(what if not found else "one kind (say which by api_version)", kind, places)

    def _versions(self) -> tuple[str, ...]:
        """The preferred version of each API group."""
        with told("get the list of API groups", self._timeout_s):
            groups = json.loads(self._apis.get_api_versions(**self._how).data)["groups"]
        return tuple(str(group["preferredVersion"]["groupVersion"]) for group in groups)

    def _kinds(self, api_version: str) -> tuple[Resource, ...]:
        group, _, version = api_version.partition("/")
        try:
            with told(f"get the list of kinds in {api_version}", self._timeout_s):
                listed = json.loads(self._any.get_api_resources(group, version, **self._how).data)["resources"]
        except ApiServerError as error:
            if error.status == _NOT_THERE:
                return ()
            raise
        names = {one["name"] for one in listed}
        return tuple(
            Resource(group, version, one["name"], one["kind"], f"{one['name']}/scale" in names)
            for one in listed
            if "/" not in one["name"]
        )

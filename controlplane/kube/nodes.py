"""Nodes, the pods on them, their eviction, and one ConfigMap.

https://kubernetes.io/docs/concepts/scheduling-eviction/api-eviction/
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any

from controlplane.domain.leader import Leave, any_write
from controlplane.kube.connection import ApiObject, ApiServerError, connect, told

_MERGE = "application/merge-patch+json"
_NOT_THERE = 404
_REFUSED_FOR_NOW = 429


class Nodes:
    """The nodes of a cluster, for one thread. All methods raise ApiServerError, those that write NotLeadingError.

    `kubeconfig` and `context` empty: the pod's own service account, else the user's usual configuration.
    """

    def __init__(self, kubeconfig: str, context: str, timeout_s: float) -> None:
        """Connects to nothing yet."""
        self._timeout_s = timeout_s
        self._client = connect(kubeconfig, context, timeout_s)
        from kubernetes import client  # noqa: PLC0415 - takes long, see connection

        self._core: Any = client.CoreV1Api(self._client)
        self.leave: Leave = any_write

    def asking(self, leave: Leave) -> Nodes:
        """The same by the same connection, where each write asks for leave."""
        other = copy.copy(self)
        other.leave = leave
        return other

    def read(self, name: str) -> ApiObject:
        """One node."""
        with told("get nodes", self._timeout_s):
            node: ApiObject = json.loads(self._core.read_node(name, **self._how).data)
            return node

    def all(self) -> tuple[ApiObject, ...]:
        """All nodes."""
        with told("list nodes", self._timeout_s):
            return tuple(json.loads(self._core.list_node(**self._how).data)["items"])

    def patch(self, name: str, body: ApiObject) -> None:
        """Merge into a node; refused with 409 where the body carries a resourceVersion that is not the present."""
        self.leave(f"a change of node {name}")
        with told("patch nodes", self._timeout_s):
            self._core.patch_node(name, body, _content_type=_MERGE, **self._how)

    def pods(self, node: str) -> tuple[ApiObject, ...]:
        """The pods on a node, of all namespaces."""
        with told("list pods", self._timeout_s):
            answer = self._core.list_pod_for_all_namespaces(field_selector=f"spec.nodeName={node}", **self._how)
            return tuple(json.loads(answer.data)["items"])

    def evict(self, pod: ApiObject) -> bool:
        """Ask for the end of a pod; False: not now, a PodDisruptionBudget needs it. One that is gone is well."""
        meta = pod["metadata"]
        body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": _named(meta)}
        # the pod that was looked at, not another one that has its name by now (of a StatefulSet)
        body["deleteOptions"] = {"preconditions": {"uid": meta["uid"]}}
        self.leave(f"the eviction of pod {meta['namespace']}/{meta['name']}")
        try:
            with told(f"create pods/eviction in namespace {meta['namespace']}", self._timeout_s):
                self._core.create_namespaced_pod_eviction(meta["name"], meta["namespace"], body, **self._how)
        except ApiServerError as error:
            if error.status == _REFUSED_FOR_NOW:
                return False
            if error.status != _NOT_THERE:
                raise
        return True

    def log(self, pod: ApiObject, lines: int = 100) -> str:
        """The end of what its container wrote."""
        meta = pod["metadata"]
        with told(f"get pods/log in namespace {meta['namespace']}", self._timeout_s):
            call = self._core.read_namespaced_pod_log
            answer = call(meta["name"], meta["namespace"], tail_lines=lines, **self._how)
            return bytes(answer.data).decode("utf-8", "replace")

    def config_map(self, namespace: str, name: str) -> ApiObject:
        """One ConfigMap."""
        with told(f"get configmaps in namespace {namespace}", self._timeout_s):
            found: ApiObject = json.loads(self._core.read_namespaced_config_map(name, namespace, **self._how).data)
            return found

    def patch_config_map(self, namespace: str, name: str, version: str, data: Mapping[str, str]) -> None:
        """Merge into its data; refused with 409 where `version` is not the present."""
        body = {"metadata": {"resourceVersion": version}, "data": dict(data)}
        self.leave(f"a change of ConfigMap {namespace}/{name}")
        with told(f"patch configmaps in namespace {namespace}", self._timeout_s):
            self._core.patch_namespaced_config_map(name, namespace, body, _content_type=_MERGE, **self._how)

    def close(self) -> None:
        """Close the connections."""
        self._client.rest_client.pool_manager.clear()

    @property
    def _how(self) -> dict[str, Any]:
        return {"_preload_content": False, "_request_timeout": (self._timeout_s, self._timeout_s)}


def _named(meta: Mapping[str, Any]) -> dict[str, str]:
    return {"name": str(meta["name"]), "namespace": str(meta["namespace"])}

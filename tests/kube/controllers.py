"""A controller of replicas, a scheduler and a kubelet, as small as they can be; they work through the API only."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from kubernetes.client.exceptions import ApiException

from tests.kube.cluster import Cluster

COST = "controller.kubernetes.io/pod-deletion-cost"
NO_ROOM = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
_MERGE = "application/merge-patch+json"
Object = Mapping[str, Any]


@dataclass
class Controllers:
    """Keeps the pods of one object as many as it asks for, until the block ends.

    No more than `room` pods have a node; they are ready `ready_s` after they were made, with `ready` false never.
    `idle`: the controller looks at nothing. Pods that go are those not ready, then those of the least deletion cost,
    then the newest, as a ReplicaSet chooses them.
    """

    cluster: Cluster
    name: str = "llama"
    plural: str = "deployments"
    api_version: str = "apps/v1"
    replicas: str = "replicas"
    room: int = 100
    ready_s: float = 0.0
    idle: bool = False

    def __enter__(self) -> Self:
        self._stopped = threading.Event()
        self._born: dict[str, float] = {}
        self._made = 0
        self._thread = threading.Thread(target=self._run, name="kube-controllers", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stopped.set()
        self._thread.join(5)

    def pods(self) -> list[Any]:
        """Those that are there."""
        listed = self.cluster.core.list_namespaced_pod(self.cluster.namespace, label_selector=f"app={self.name}")
        return list(listed.items)

    def until_ready(self, count: int) -> list[str]:
        """Wait for so many ready pods and no other; gives their names."""
        for _ in range(500):
            pods = self.pods()
            if len(pods) == count and all(_is_ready(pod) for pod in pods):
                return [pod.metadata.name for pod in pods]
            time.sleep(0.01)
        raise AssertionError(f"not {count} pods ready")

    def _run(self) -> None:
        while not self._stopped.wait(0.01):
            try:
                if not self.idle:
                    self._step()
            except ApiException as error:
                if error.status not in {404, 409}:  # it went, or somebody wrote in between
                    raise

    def _step(self) -> None:
        thing = self.cluster.read(self.api_version, self.plural, self.name)
        wanted, pods = int(thing["spec"][self.replicas]), self.pods()
        for _ in range(wanted - len(pods)):
            self._made += 1
            name = f"{self.name}-{self._made}"
            self._born[name] = time.monotonic()
            template = {"containers": [{"name": "server", "image": "server:1"}]}
            meta = {"name": name, "labels": {"app": self.name}}
            self.cluster.core.create_namespaced_pod(self.cluster.namespace, {"metadata": meta, "spec": template})
        if wanted < len(pods):
            pods.sort(key=lambda pod: (_is_ready(pod), _cost(pod), -self._born.get(pod.metadata.name, 0.0)))
            for pod in pods[: len(pods) - wanted]:
                self.cluster.gone(pod.metadata.name)
        self._place()
        self._tell(thing)

    def _place(self) -> None:
        """The scheduler and the kubelet."""
        pods = self.pods()
        free = self.room - sum(pod.spec.node_name is not None for pod in pods)
        for pod in pods:
            name = pod.metadata.name
            if pod.spec.node_name is None and free > 0:
                free -= 1
                target = {"target": {"apiVersion": "v1", "kind": "Node", "name": "node-1"}, "metadata": {"name": name}}
                self.cluster.core.create_namespaced_pod_binding(
                    name, self.cluster.namespace, target, _preload_content=False
                )
            elif pod.spec.node_name is None:
                self.cluster.unschedulable(name, NO_ROOM)
            elif not _is_ready(pod) and time.monotonic() - self._born.get(name, 0.0) >= self.ready_s:
                self.cluster.runs(name, f"10.0.0.{len(self._born)}", ready=True)

    def _tell(self, thing: Object) -> None:
        pods = self.pods()
        status = {
            "observedGeneration": thing["metadata"]["generation"],
            self.replicas: len(pods),
            "readyReplicas": sum(map(_is_ready, pods)),
            "selector": f"app={self.name}",
        }
        group, version = self.api_version.split("/")
        self.cluster.any.patch_namespaced_custom_object_status(
            group, version, self.cluster.namespace, self.plural, self.name, {"status": status}, _content_type=_MERGE
        )


def _is_ready(pod: Any) -> bool:
    return any(one.type == "Ready" and one.status == "True" for one in pod.status.conditions or ())


def _cost(pod: Any) -> int:
    return int((pod.metadata.annotations or {}).get(COST, 0))

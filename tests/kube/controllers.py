"""A controller of replicas, a scheduler and a kubelet, as small as they can be; they work through the API only."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from zlib import crc32

from kubernetes.client.exceptions import ApiException

from tests.kube.cluster import Cluster, is_ready
from tests.kube.pods import Pods

COST = "controller.kubernetes.io/pod-deletion-cost"
NO_ROOM = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
_MERGE = "application/merge-patch+json"
Object = Mapping[str, Any]


@dataclass
class Controllers(Pods):
    """Keeps the pods of one object as many as it asks for, until the block ends.

    No more than `room` pods have a node; they are ready `ready_s` after they were made, with `ready` false never.
    `idle`: the controller looks at nothing. Pods that go are those not ready, then those of the least deletion cost,
    then the newest, as a ReplicaSet chooses them; those of a StatefulSet come and go in their order. `starts(name)`
    gives a pod's address and `stops(name)` ends it, where something is to run in it.
    """

    cluster: Cluster
    name: str = "llama"
    plural: str = "deployments"
    api_version: str = "apps/v1"
    replicas: str = "replicas"
    room: int = 100
    ready_s: float = 0.0
    idle: bool = False
    starts: Callable[[str], str] | None = None
    stops: Callable[[str], None] = lambda _: None

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
        wanted, of = int(thing["spec"][self.replicas]), self._set_of(thing)
        new: list[Any] = []
        old: list[Any] = []
        for pod in self.pods():
            (new if of.items() <= pod.metadata.labels.items() else old).append(pod)
        for name in self._missing(wanted, new):
            self._born[name] = time.monotonic()
            template = {"containers": [{"name": "server", "image": "server:1"}]}
            labels = ((thing["spec"].get("template") or {}).get("metadata") or {}).get("labels") or {"app": self.name}
            meta = {"name": name, "labels": {**labels, **of}}
            self.cluster.core.create_namespaced_pod(self.cluster.namespace, {"metadata": meta, "spec": template})
        surplus = len(new) - wanted if not old else min(len(old), len(old) + sum(map(is_ready, new)) - wanted)
        for pod in sorted(old or new, key=self._leaving)[: max(0, surplus)]:
            self.stops(pod.metadata.name)
            self.cluster.gone(pod.metadata.name)
        self._place()
        self._tell(thing)

    def _set_of(self, thing: Object) -> dict[str, str]:
        """What tells pods of a Deployment's newest template from those of others, which go as these become ready."""
        template = json.dumps(thing["spec"].get("template"), sort_keys=True)
        return {"pod-template-hash": f"{crc32(template.encode()):x}"} if self.plural == "deployments" else {}

    def _missing(self, wanted: int, pods: Sequence[Any]) -> list[str]:
        """Names of the pods to make now: of a StatefulSet one, once those before it are ready."""
        if self._in_order:
            here = {pod.metadata.name for pod in pods}
            absent = [name for name in (f"{self.name}-{number}" for number in range(wanted)) if name not in here]
            return absent[:1] if all(map(is_ready, pods)) else []
        lacking = max(0, wanted - len(pods))
        self._made += lacking
        return [f"{self.name}-{number + 1}" for number in range(self._made - lacking, self._made)]

    def _leaving(self, pod: Any) -> tuple[float, ...]:
        """The lowest go first."""
        name = pod.metadata.name
        if self._in_order:
            return (-int(name.rpartition("-")[2]),)
        return (is_ready(pod), _cost(pod), -self._born.get(name, 0.0))

    @property
    def _in_order(self) -> bool:
        return self.plural == "statefulsets"

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
            elif not is_ready(pod) and time.monotonic() - self._born.get(name, 0.0) >= self.ready_s:
                address = self.starts(name) if self.starts is not None else f"10.0.0.{len(self._born)}"
                self.cluster.runs(name, address, ready=True)

    def _tell(self, thing: Object) -> None:
        pods = self.pods()
        status = {
            "observedGeneration": thing["metadata"]["generation"],
            self.replicas: len(pods),
            "readyReplicas": sum(map(is_ready, pods)),
            "selector": f"app={self.name}",
        }
        group, version = self.api_version.split("/")
        self.cluster.any.patch_namespaced_custom_object_status(
            group, version, self.cluster.namespace, self.plural, self.name, {"status": status}, _content_type=_MERGE
        )


def _cost(pod: Any) -> int:
    return int((pod.metadata.annotations or {}).get(COST, 0))

"""What a real API server lacks for the tests where its controllers run, and who has few rights there."""

from __future__ import annotations

import contextlib
import itertools
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
import yaml
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException, ConflictException

from tests.kube.cluster import Cluster, is_ready
from tests.kube.pods import Pods
from tests.kube.rights import Rule

_MERGE = "application/merge-patch+json"
_LOOKED_AT_S = 10.0


class Kubelet(Pods):
    """The one node on which pods of the namespace run, where the cluster's own controllers and scheduler do the rest.

    Its pods are ready `ready_s` after they have it; it takes `room` pods. `starts(name)` gives a pod's address and
    `stops(name)` ends it, where something is to run in it. Skips the test where nobody makes pods of the object.
    """

    def __init__(
        self,
        cluster: Cluster,
        name: str = "llama",
        plural: str = "deployments",
        *,
        room: int = 100,
        ready_s: float = 0.0,
        starts: Callable[[str], str] | None = None,
        stops: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.cluster, self.name, self.plural, self.ready_s = cluster, name, plural, ready_s
        self._starts, self._stops = starts, stops
        self._room = room
        self._since: dict[str, float] = {}

    @property
    def room(self) -> int:
        """How many pods the node takes."""
        return self._room

    @room.setter
    def room(self, room: int) -> None:
        self._room = room
        self._tell()

    def __enter__(self) -> Self:
        labels = {"kubernetes.io/hostname": self.cluster.namespace}
        self.cluster.core.create_node({"metadata": {"name": self.cluster.namespace, "labels": labels}})
        # new nodes are given a taint, which what watches their heartbeats takes off; nobody need do that here
        self.cluster.core.patch_node(self.cluster.namespace, {"spec": {"taints": None}}, _content_type=_MERGE)
        self._tell()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kubelet", daemon=True)
        self._thread.start()
        ends = time.monotonic() + _LOOKED_AT_S
        while not self._seen().get("observedGeneration"):
            if time.monotonic() > ends:
                self.__exit__(None, None, None)
                pytest.skip("no controllers run beside this API server")
            time.sleep(0.05)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stopped.set()
        self._thread.join(5)
        self.cluster.core.delete_node(self.cluster.namespace)

    def _seen(self) -> Mapping[str, Any]:
        return self.cluster.read("apps/v1", self.plural, self.name).get("status") or {}

    def _tell(self) -> None:
        has = {"pods": str(self._room), "cpu": "64", "memory": "64Gi"}
        ready = {"type": "Ready", "status": "True"}
        body = {"status": {"allocatable": has, "capacity": has, "conditions": [ready]}}
        self.cluster.core.patch_node_status(self.cluster.namespace, body, _content_type=_MERGE)

    def _run(self) -> None:
        while not self._stopped.wait(0.02):
            for pod in self.pods():
                try:
                    self._look(pod)
                except ApiException as error:
                    if error.status not in {404, 409}:  # it went, or somebody wrote in between
                        raise

    def _look(self, pod: Any) -> None:
        name = pod.metadata.name
        if pod.spec.node_name is None:
            return
        since = self._since.setdefault(name, time.monotonic())
        if pod.metadata.deletion_timestamp is not None:
            self._stops(name)
            self.cluster.gone(name)
        elif not is_ready(pod) and time.monotonic() - since >= self.ready_s:
            address = f"10.0.0.{len(self._since)}" if self._starts is None else self._starts(name)
            self.cluster.runs(name, address, ready=True)


class RealRights:
    """A service account of the namespace that may do what `allow` says."""

    _roles: Any
    _reviews: Any

    def __init__(self, cluster: Cluster, path: Path) -> None:
        self._name, self._where = f"limited-{cluster.namespace}", cluster.namespace
        # objects are given as they are written, where the client's annotations ask for its models
        self._client: Any = config.new_client_from_config(str(cluster.kubeconfig), persist_config=False)  # type: ignore[no-untyped-call,unused-ignore]
        self._reviews = client.AuthorizationV1Api(self._client)
        self._roles = client.RbacAuthorizationV1Api(self._client)
        cluster.core.create_namespaced_service_account(self._where, {"metadata": {"name": self._name}})
        asked = cluster.core.create_namespaced_service_account_token(self._name, self._where, {"spec": {}})
        written = yaml.safe_load(cluster.kubeconfig.read_text())
        written["users"] = [{"name": one["name"], "user": {"token": asked.status.token}} for one in written["users"]]
        path.write_text(json.dumps(written))
        self.kubeconfig = str(path)

    def allow(self, rules: Sequence[Rule], namespace: str = "") -> None:
        """Nothing but these in a namespace (default: that of the test), or `*`, everywhere; from now on."""
        where = namespace or self._where
        kind = "ClusterRole" if where == "*" else "Role"
        meta = {"name": self._name}
        subject = {"kind": "ServiceAccount", "name": self._name, "namespace": self._where}
        ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": self._name}
        binding = {"metadata": meta, "subjects": [subject], "roleRef": ref}
        role = {"metadata": meta, "rules": list(rules)}
        of, at = ("cluster", ()) if where == "*" else ("namespaced", (where,))
        getattr(self._roles, f"replace_{of}_role")(self._name, *at, role)  # makes it where there is none
        with contextlib.suppress(ConflictException):
            getattr(self._roles, f"create_{of}_role_binding")(*at, binding)
        for rule in rules:
            for verb, resource in itertools.product(rule["verbs"], rule["resources"]):
                self._until_may(verb, rule["apiGroups"][0], resource, "" if where == "*" else where, rule)

    def _until_may(self, verb: str, group: str, resource: str, namespace: str, rule: Rule) -> None:
        """A real API server takes a moment to heed a new role."""
        what, _, sub = resource.partition("/")
        asked = {"verb": verb, "group": group, "resource": what, "subresource": sub, "namespace": namespace}
        asked["name"] = rule.get("resourceNames", [""])[0]
        user = f"system:serviceaccount:{self._where}:{self._name}"
        ends = time.monotonic() + 60
        while time.monotonic() < ends:
            review = {"spec": {"user": user, "resourceAttributes": asked}}
            if self._reviews.create_subject_access_review(review).status.allowed:
                return
            time.sleep(0.02)
        raise AssertionError(f"{verb} of {resource} stays forbidden")

    def close(self) -> None:
        """Let go of connections."""
        self._client.close()

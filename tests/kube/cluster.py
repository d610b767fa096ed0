"""What a cluster's own parts do, by the official client: a scheduler, a kubelet, the endpoint controller."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kubernetes import client, config, watch
from kubernetes.client.exceptions import ApiException

_MERGE = "application/merge-patch+json"


class Cluster:
    """A fresh namespace of an API server, and what happens in it."""

    core: Any
    discovery: Any

    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig
        # objects are given as they are written, where the client's annotations ask for its models
        self._client: Any = config.new_client_from_config(str(kubeconfig), persist_config=False)  # type: ignore[no-untyped-call,unused-ignore]
        self.core = client.CoreV1Api(self._client)
        self.discovery = client.DiscoveryV1Api(self._client)
        self.namespace = f"test-{uuid.uuid4().hex[:10]}"
        self.core.create_namespace({"metadata": {"name": self.namespace}})
        # a real API server takes no pod before its service account is there, which no controller makes here
        with contextlib.suppress(ApiException):
            self.core.create_namespaced_service_account(self.namespace, {"metadata": {"name": "default"}})

    def close(self) -> None:
        self._client.rest_client.pool_manager.clear()
        self._client.close()

    def pod(self, name: str, labels: Mapping[str, str] | None = None, *, ip: str = "", ready: bool = False) -> str:
        """A pod on a node; gives its uid."""
        container = {"name": "server", "image": "server:1"}
        spec = {"nodeName": "node-1", "containers": [container], "terminationGracePeriodSeconds": 30}
        labels = {"app": "llm"} if labels is None else labels
        body = {"metadata": {"name": name, "labels": dict(labels)}, "spec": spec}
        made = self.core.create_namespaced_pod(self.namespace, body)
        if ip:
            self.runs(name, ip, ready=ready)
        return str(made.metadata.uid)

    def runs(self, name: str, ip: str, *, ready: bool = False, since: str = "2026-11-22T09:00:00Z") -> None:
        """The kubelet started it."""
        condition = {"type": "Ready", "status": str(ready), "lastTransitionTime": since}
        status = {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "conditions": [condition]}
        self._status(name, status)

    def ready(self, name: str, *, ready: bool = True, since: str = "2026-11-22T09:01:30Z") -> None:
        """Its readiness probe changed its mind."""
        condition = {"type": "Ready", "status": str(ready), "lastTransitionTime": since}
        self._status(name, {"conditions": [condition]})

    def ends(self, name: str, phase: str = "Failed") -> None:
        """All its containers ended."""
        self._status(name, {"phase": phase})

    def label(self, name: str, labels: Mapping[str, str]) -> None:
        self.core.patch_namespaced_pod(name, self.namespace, {"metadata": {"labels": labels}}, _content_type=_MERGE)

    def delete(self, name: str) -> None:
        """Somebody asks for its end; it has 30 s for it."""
        self.core.delete_namespaced_pod(name, self.namespace)

    def gone(self, name: str) -> None:
        """The kubelet saw its end."""
        self.core.delete_namespaced_pod(name, self.namespace, grace_period_seconds=0)

    def service(self, name: str, labels: Mapping[str, str]) -> None:
        spec = {"selector": {"app": name}, "ports": [{"port": 80}]}
        body = {"metadata": {"name": name, "labels": dict(labels)}, "spec": spec}
        self.core.create_namespaced_service(self.namespace, body)

    def no_service(self, name: str) -> None:
        self.core.delete_namespaced_service(name, self.namespace)

    def endpoints(self, service: str, endpoints: Sequence[Mapping[str, Any]], *, family: str = "IPv4") -> None:
        """The endpoint controller wrote a service's slice, anew."""
        name = f"{service}-{family.lower()}"
        meta = {"name": name, "labels": {"kubernetes.io/service-name": service}}
        body = {"metadata": meta, "addressType": family, "endpoints": list(endpoints), "ports": [{"port": 80}]}
        try:
            self.discovery.create_namespaced_endpoint_slice(self.namespace, body)
        except ApiException as error:
            if error.status != 409:
                raise
            self.discovery.replace_namespaced_endpoint_slice(name, self.namespace, body)

    def events(self, version: str | None, selector: str = "") -> list[tuple[str, str]]:
        """(type, pod) of the events since a version, watched for a second."""
        watching: Any = watch.Watch(return_type="object")  # type: ignore[no-untyped-call,unused-ignore]
        since = {"resource_version": version} if version else {}
        lister, chosen = self.core.list_namespaced_pod, {"label_selector": selector, "timeout_seconds": 1}
        told = watching.stream(lister, self.namespace, **chosen, **since)
        return [(event["type"], event["object"]["metadata"]["name"]) for event in told]

    def _status(self, name: str, status: Mapping[str, Any]) -> None:
        self.core.patch_namespaced_pod_status(name, self.namespace, {"status": status}, _content_type=_MERGE)


def endpoint(address: str, pod: str = "", uid: str = "", **conditions: bool) -> dict[str, Any]:
    """One endpoint of a slice."""
    target = {"targetRef": {"kind": "Pod", "name": pod, "uid": uid}} if pod else {}
    return {"addresses": [address], "conditions": conditions} | target

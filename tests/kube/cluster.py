"""What a cluster's own parts do, by the official client: a scheduler, a kubelet, the endpoint controller."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from kubernetes import client, config, watch
from kubernetes.client.exceptions import ApiException

_MERGE = "application/merge-patch+json"
_TRIGGER = {"type": "external", "metadata": {"scalerAddress": "127.0.0.1:9"}}


class Cluster:
    """A fresh namespace of an API server, and what happens in it."""

    core: Any
    discovery: Any
    any: Any

    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig
        # objects are given as they are written, where the client's annotations ask for its models
        self._client: Any = config.new_client_from_config(str(kubeconfig), persist_config=False)  # type: ignore[no-untyped-call,unused-ignore]
        self.core = client.CoreV1Api(self._client)
        self.discovery = client.DiscoveryV1Api(self._client)
        self.any = client.CustomObjectsApi(self._client)
        self._extensions: Any = client.ApiextensionsV1Api(self._client)
        self.namespace = f"test-{uuid.uuid4().hex[:10]}"
        self.make_namespace(self.namespace)

    def close(self) -> None:
        self._client.rest_client.pool_manager.clear()
        self._client.close()

    def make_namespace(self, name: str) -> None:
        """One in which pods may be made; it may be there already."""
        # a real API server takes no pod before its service account is there, which no controller makes here
        account = {"metadata": {"name": "default"}}
        for make in (
            partial(self.core.create_namespace, {"metadata": {"name": name}}),
            partial(self.core.create_namespaced_service_account, name, account),
        ):
            try:
                make()
            except ApiException as error:
                if error.status != 409:
                    raise

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

    def unschedulable(self, name: str, why: str) -> None:
        """The scheduler found no node for it."""
        condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": why}
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

    def service(
        self, name: str, labels: Mapping[str, str] | None = None, selector: Mapping[str, str] | None = None
    ) -> None:
        spec = {"selector": {"app": name, **(selector or {})}, "ports": [{"port": 80}]}
        body = {"metadata": {"name": name, "labels": dict(labels or {})}, "spec": spec}
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

    def scaled(
        self,
        name: str = "llama",
        kind: str = "Deployment",
        replicas: int = 2,
        more: Mapping[str, str] | None = None,
        selects: Mapping[str, str] | None = None,
    ) -> None:
        """An object with replicas; its pods have the label app=NAME, by which it selects them, and `more`."""
        labels = {"app": name}
        pod = {
            "containers": [{"name": "server", "image": "server:1"}],
            "nodeSelector": {"kubernetes.io/hostname": self.namespace},
        }
        template = {"metadata": {"labels": labels | dict(more or {})}, "spec": pod}
        chosen = {"matchLabels": labels | dict(selects or {})}
        spec: dict[str, Any] = {"replicas": replicas, "selector": chosen, "template": template}
        if kind == "StatefulSet":
            spec["serviceName"] = name
        self.make("apps/v1", f"{kind.lower()}s", {"kind": kind, "metadata": {"name": name}, "spec": spec})

    def quota(self, pods: int) -> None:
        """No more pods than that, where controllers run."""
        name, hard = "few", {"pods": str(pods)}
        self.core.create_namespaced_resource_quota(self.namespace, {"metadata": {"name": name}, "spec": {"hard": hard}})
        ends = time.monotonic() + 20  # who looks at no quota makes no pods either
        while (
            not self.core.read_namespaced_resource_quota(name, self.namespace).status.hard and time.monotonic() < ends
        ):
            time.sleep(0.05)

    def rolls_out(self, name: str = "llama") -> None:
        """Somebody gives a Deployment a new pod template."""
        template = {"metadata": {"annotations": {"rolled-out": uuid.uuid4().hex}}}
        where = ("apps", "v1", self.namespace, "deployments", name)
        self.any.patch_namespaced_custom_object(*where, {"spec": {"template": template}}, _content_type=_MERGE)

    def make(self, api_version: str, plural: str, body: Mapping[str, Any]) -> None:
        """Any object."""
        group, version = api_version.split("/")
        whole = {"apiVersion": api_version, **body}
        self.any.create_namespaced_custom_object(group, version, self.namespace, plural, whole)

    def read(self, api_version: str, plural: str, name: str) -> dict[str, Any]:
        """Any object."""
        group, version = api_version.split("/")
        found: dict[str, Any] = self.any.get_namespaced_custom_object(group, version, self.namespace, plural, name)
        return found

    def remove(self, api_version: str, plural: str, name: str) -> None:
        """Delete any object."""
        group, version = api_version.split("/")
        self.any.delete_namespaced_custom_object(group, version, self.namespace, plural, name)

    def replicas(self, name: str = "llama", plural: str = "deployments", api_version: str = "apps/v1") -> int:
        """Those asked for."""
        return int(self.read(api_version, plural, name)["spec"]["replicas"])

    def owner(self, kind: str, name: str, aims_at: str, target_kind: str = "Deployment") -> None:
        """A HorizontalPodAutoscaler, ScaledObject or VerticalPodAutoscaler for an object."""
        kinds: dict[str, tuple[str, str, dict[str, Any]]] = {
            "HorizontalPodAutoscaler": ("autoscaling/v2", "scaleTargetRef", {"maxReplicas": 9}),
            "ScaledObject": ("keda.sh/v1alpha1", "scaleTargetRef", {"triggers": [_TRIGGER], "minReplicaCount": 2}),
            "VerticalPodAutoscaler": ("autoscaling.k8s.io/v1", "targetRef", {}),
        }
        api_version, key, more = kinds[kind]
        spec = {key: {"apiVersion": "apps/v1", "kind": target_kind, "name": aims_at}, **more}
        self.make(api_version, f"{kind.lower()}s", {"kind": kind, "metadata": {"name": name}, "spec": spec})

    def define(self, api_version: str, kind: str, *, most: int | None = None, scales: bool = False) -> None:
        """A custom resource; one that scales has `size` for its replicas, at most so many."""
        group, version = api_version.split("/")
        size = {"type": "integer"} | ({} if most is None else {"maximum": most})
        spec = {"type": "object", "properties": {"size": size}, "x-kubernetes-preserve-unknown-fields": True}
        status = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        schema = {"type": "object", "properties": {"spec": spec, "status": status}}
        subresources: dict[str, Any] = {"status": {}}
        if scales:
            paths = {"specReplicasPath": ".spec.size", "statusReplicasPath": ".status.size"}
            subresources["scale"] = paths | {"labelSelectorPath": ".status.selector"}
        plural = f"{kind.lower()}s"
        served = {"name": version, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
        names = {"plural": plural, "singular": kind.lower(), "kind": kind, "listKind": f"{kind}List"}
        versions = [{**served, "subresources": subresources}]
        body = {"group": group, "scope": "Namespaced", "names": names, "versions": versions}
        self._define(f"{plural}.{group}", body)
        self._until_served(group, version, plural)

    def _define(self, name: str, spec: Mapping[str, Any]) -> None:
        body = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition"}
        # a real API server asks for this in groups of Kubernetes' own
        meta = {"name": name, "annotations": {"api-approved.kubernetes.io": "unapproved, experimental-only"}}
        try:
            self._extensions.create_custom_resource_definition({**body, "metadata": meta, "spec": spec})
        except ApiException as error:
            if error.status != 409:
                raise

    def _until_served(self, group: str, version: str, plural: str) -> None:
        """A real API server takes a moment to serve a new kind."""
        ends = time.monotonic() + 60
        while time.monotonic() < ends:
            try:
                self.any.list_namespaced_custom_object(group, version, self.namespace, plural)
            except ApiException:
                time.sleep(0.05)
            else:
                return
        raise AssertionError(f"{plural}.{group} is not served")

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


def is_ready(pod: Any) -> bool:
    """Whether its kubelet says so."""
    return any(one.type == "Ready" and one.status == "True" for one in pod.status.conditions or ())

"""The pods of one object, looked at and waited for."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from tests.kube.cluster import Cluster, is_ready


class Pods:
    """Those of the namespace that are labelled `app` with the object's name."""

    cluster: Cluster
    name: str

    def pods(self) -> list[Any]:
        """Those that are there."""
        listed = self.cluster.core.list_namespaced_pod(self.cluster.namespace, label_selector=f"app={self.name}")
        return list(listed.items)

    def until_ready(self, count: int) -> list[str]:
        """Wait for so many ready pods and no other; gives their names."""
        pods = self.until(lambda pods: len(pods) == count and all(map(is_ready, pods)))
        return [pod.metadata.name for pod in pods]

    def until(self, wanted: Callable[[Sequence[Any]], bool]) -> list[Any]:
        """Wait until the pods are such."""
        ends = time.monotonic() + 60
        while not wanted(pods := self.pods()):
            assert time.monotonic() < ends, [pod.metadata.name for pod in pods]
            time.sleep(0.02)
        return pods

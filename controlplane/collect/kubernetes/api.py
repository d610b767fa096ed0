"""Listing and watching by the `kubernetes` client, blocking."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from controlplane.kube.connection import ApiObject, ApiServerError, connect, told

PAGE = 250
"""Objects per answer of a list: the event loop waits while one is parsed, 22 ms with pods of 5 KB."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Objects of one kind in a namespace by label selector; `resource` is pods, services or endpointslices."""

    resource: str
    namespace: str
    selector: str


class ApiServer:
    """A connection to an API server, for one thread; only `stop` is for others.

    `kubeconfig` and `context` empty: the pod's own service account, else the user's usual configuration.
    Raises ApiServerError, as all its methods do.
    """

    def __init__(self, kubeconfig: str, context: str, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._stopped = False
        self._watch: Any = None
        self._client = connect(kubeconfig, context, timeout_s)
        from kubernetes import client, watch  # noqa: PLC0415 - takes long, see connection

        self._new_watch: Callable[..., Any] = watch.Watch
        self._listers: dict[str, Callable[..., Any]] = {
            "pods": client.CoreV1Api(self._client).list_namespaced_pod,
            "services": client.CoreV1Api(self._client).list_namespaced_service,
            "endpointslices": client.DiscoveryV1Api(self._client).list_namespaced_endpoint_slice,
        }

    def objects(self, asked: Asked) -> tuple[list[ApiObject], str]:
        """All that there are now, and the version that this is true for."""
        found: list[ApiObject] = []
        more: dict[str, str] = {}
        with told(f"list {asked.resource} in namespace {asked.namespace}", self._timeout_s):
            while True:
                answer = self._listers[asked.resource](
                    asked.namespace,
                    label_selector=asked.selector,
                    limit=PAGE,
                    _preload_content=False,
                    _request_timeout=(self._timeout_s, self._timeout_s),
                    **more,
                )
                page = json.loads(answer.data)
                found += page["items"]
                if not page["metadata"].get("continue"):
                    return found, str(page["metadata"]["resourceVersion"])
                more = {"_continue": page["metadata"]["continue"]}

    def changes(
        self, asked: Asked, version: str, watch_s: int, opened: Callable[[], None]
    ) -> Generator[tuple[str, ApiObject]]:
        """(ADDED | MODIFIED | DELETED | BOOKMARK, object) from a version on, for `watch_s` seconds.

        `opened` is called once the server has begun to answer. A connection that died silently is noticed when nothing
        came for `watch_s` and the timeout.
        """

        def begun(*args: Any, **kwargs: Any) -> Any:
            answer = self._listers[asked.resource](*args, **kwargs)
            if self._stopped:
                answer.close()
                raise ApiServerError("stopped")
            opened()
            return answer

        silent_s = watch_s + self._timeout_s
        with told(f"watch {asked.resource} in namespace {asked.namespace}", silent_s):
            self._watch = self._new_watch(return_type="object")
            events = self._watch.stream(
                begun,
                asked.namespace,
                label_selector=asked.selector,
                resource_version=version,
                timeout_seconds=watch_s,  # with it the client does not try again by itself, and forgets nothing
                allow_watch_bookmarks=True,
                _request_timeout=(self._timeout_s, silent_s),
            )
            with closing(events):  # lets go of the connection
                for event in events:
                    yield event["type"], event["raw_object"]

    def stop(self) -> None:
        """End a watch under way, and let none begin."""
        self._stopped = True
        if self._watch is not None:
            self._watch.stop()

    def close(self) -> None:
        """Close the connections."""
        self._client.rest_client.pool_manager.clear()

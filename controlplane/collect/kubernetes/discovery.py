"""Servers on Kubernetes, by pods or services."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Any, TypeVar

from controlplane.collect.kubernetes.api import ApiServer, Asked
from controlplane.collect.kubernetes.members import (
    SERVICE_LABEL,
    Endpoint,
    Pod,
    endpoint_members,
    object_name,
    pod_members,
    read_endpoints,
    read_pod,
    unscheduled,
)
from controlplane.collect.kubernetes.owned import Ownership
from controlplane.collect.kubernetes.watch import Pace, Watched
from controlplane.domain.fleet import KubernetesQuery, Member, WorkloadSpec
from controlplane.domain.scaling import ScaleStatus
from controlplane.domain.signal import Known, Missing, Signal, aged
from controlplane.kube.connection import ApiObject
from controlplane.kube.objects import Objects
from controlplane.kube.target import Owners, Target, selector_of

T = TypeVar("T")

_CLOSE_S = 1.0


@dataclass(slots=True)
class _Group:
    """A workload: what is watched for it, its members made of that, and whether they are about to be made anew.

    `pods`: all that is watched are its own pods. `owners` None: nothing is known of who scales it.
    """

    watched: tuple[Watched[Any], ...]
    make: Callable[..., tuple[Member, ...]]
    pods: bool = False
    owners: Ownership | None = None
    found: tuple[Member, ...] | None = None
    scaling: ScaleStatus = field(default_factory=ScaleStatus)
    touched: bool = False

    def status(self) -> ScaleStatus:
        """What there is to say of its replicas."""
        pods = self.watched[0].standing().things if self.pods else None
        owners = self.owners.known() if self.owners is not None else Owners()
        return ScaleStatus(owners.owner, owners.warning, unscheduled(pods or ()))

    def threads(self) -> tuple[Watched[Any] | Ownership, ...]:
        """All that has to be started, and was tried when something is known."""
        return (*self.watched, *(() if self.owners is None else (self.owners,)))

    def members(self) -> tuple[Member, ...] | None:
        """None until all that is watched was listed."""
        things = [watched.standing().things for watched in self.watched]
        return None if None in things else self.make(*things)


class KubernetesDiscovery:
    """Discovery of the workloads that have a KubernetesQuery; the others are left to others.

    One thread watches the pods of a workload. One by services has three: its services, the endpoint slices and the pods
    of the namespace, of which it takes the start times. One more asks who else scales the object that it names.

    While the API server cannot be asked, members stay as they were seen last: known until that is `max_age_s` ago, then
    stale with the reason.
    """

    def __init__(
        self,
        workloads: Iterable[WorkloadSpec],
        *,
        clock: Callable[[], float],
        max_age_s: float,
        pace: Pace = Pace(),  # noqa: B008 - frozen
    ) -> None:
        self._max_age_s = max_age_s
        self._pace = pace
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed: Callable[[], None] = lambda: None
        self._tried = asyncio.Event()
        self._groups: dict[str, _Group] = {}
        for spec in workloads:
            if isinstance(spec.query, KubernetesQuery):
                touched = partial(self._touched, spec.name)
                self._groups[spec.name] = _group(spec, spec.query, clock=clock, pace=pace, changed=touched)

    async def start(self, changed: Callable[[], None]) -> None:
        """Begin to look, and return once each workload was listed or could not be, or has not answered in time."""
        self._loop = asyncio.get_running_loop()
        self._changed = changed
        for thread in self._threads():
            thread.start()
        if self._groups:
            with suppress(TimeoutError):
                async with asyncio.timeout(2 * self._pace.timeout_s):
                    await self._tried.wait()

    def members(self, now: float) -> Mapping[str, Signal[tuple[Member, ...]]]:
        """By workload: missing until it was first listed, stale (what was known last) while it cannot be asked."""
        return {name: self._signal(group, now) for name, group in self._groups.items()}

    def scaling(self) -> Mapping[str, ScaleStatus]:
        """Who else sets replicas, and which pods no node takes, as far as it was told."""
        return {name: group.scaling for name, group in self._groups.items()}

    async def close(self) -> None:
        """Stop looking. A thread that hangs in a call is left behind after a second; it tells nobody any more."""
        self._changed = lambda: None
        for thread in self._threads():
            thread.stop()
        await asyncio.to_thread(self._join)

    def _join(self) -> None:
        until = time.monotonic() + _CLOSE_S
        for thread in self._threads():
            thread.join(max(0.0, until - time.monotonic()))

    def _threads(self) -> list[Watched[Any] | Ownership]:
        return [thread for group in self._groups.values() for thread in group.threads()]

    def _touched(self, workload: str) -> None:
        """On a thread: have the members made anew on the event loop, once for all changes until then."""
        group = self._groups[workload]
        if self._loop is not None and not group.touched:
            group.touched = True
            with suppress(RuntimeError):  # the loop has been closed in the meantime
                self._loop.call_soon_threadsafe(self._refresh, group)

    def _refresh(self, group: _Group) -> None:
        group.touched = False
        found, scaling = group.members(), group.status()
        if all(thread.tried() for thread in self._threads()):
            self._tried.set()
        if (found, scaling) != (group.found, group.scaling):
            group.found, group.scaling = found, scaling
            self._changed()

    def _signal(self, group: _Group, now: float) -> Signal[tuple[Member, ...]]:
        standings = [watched.standing() for watched in group.watched]
        if group.found is None:
            return Missing(next((s.why for s in standings if s.why), "not listed yet"))
        seen_at = min(now if s.live else s.seen_at for s in standings)
        why = next((s.why for s in standings if s.why), "the API server does not answer")
        return aged(Known(group.found, seen_at), now, self._max_age_s, why)


def _group(
    spec: WorkloadSpec,
    query: KubernetesQuery,
    *,
    clock: Callable[[], float],
    pace: Pace,
    changed: Callable[[], None],
) -> _Group:
    def watched(
        resource: str,
        selector: str,
        read: Callable[[ApiObject], T],
        find: Callable[[ApiServer], Asked] | None = None,
    ) -> Watched[T]:
        return Watched(
            f"{spec.name}-{resource}",
            find or (lambda _: Asked(resource, query.namespace, selector)),
            read,
            connect=partial(ApiServer, query.kubeconfig, query.context, pace.timeout_s),
            clock=clock,
            pace=pace,
            changed=changed,
        )

    def behind(
        services: tuple[str, ...], slices: tuple[tuple[Endpoint, ...], ...], pods: tuple[Pod, ...]
    ) -> tuple[Member, ...]:
        return endpoint_members(spec, set(services), chain.from_iterable(slices), pods)

    def own(_: ApiServer) -> Asked:
        objects = Objects(query.kubeconfig, query.context, query.namespace, pace.timeout_s)
        try:
            return Asked(
                "pods", query.namespace, selector_of(objects, Target(query.kind, query.name, query.api_version))
            )
        finally:
            objects.close()

    ours = spec.replicas is not None and not spec.told_only
    owners = Ownership(spec.name, query, pace=pace, changed=changed) if ours else None
    if query.services:
        services = watched("services", query.services, object_name)
        slices, pods = watched("endpointslices", SERVICE_LABEL, read_endpoints), watched("pods", "", read_pod)
        return _Group((services, slices, pods), behind, owners=owners)
    pods = watched("pods", query.pods, partial(read_pod, drain=query.drain), None if query.pods else own)
    return _Group((pods,), partial(pod_members, spec), pods=True, owners=owners)

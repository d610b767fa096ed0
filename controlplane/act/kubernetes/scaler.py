"""Sets the replicas of workloads on Kubernetes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar

import structlog

from controlplane.act.kubernetes.draining import check_drained, put_back, set_traffic
from controlplane.act.kubernetes.failures import action_error, refused
from controlplane.act.kubernetes.victims import CHOOSERS, mark, victims
from controlplane.act.kubernetes.writing import Progress, progress, set_replicas
from controlplane.act.outcome import Done, outcome_of
from controlplane.domain.decision import OF_REPLICAS, Action, Outcome, Step
from controlplane.domain.errors import NotFoundError, TargetUnreachableError
from controlplane.domain.fleet import Fleet, KubernetesQuery
from controlplane.domain.leader import leave_by
from controlplane.domain.observation import ControlMode
from controlplane.kube.connection import ApiServerError
from controlplane.kube.objects import Objects
from controlplane.kube.target import Target, selector_of

T = TypeVar("T")

_log = structlog.get_logger(__name__)


class Worker(Protocol):
    """A thread for calls that block."""

    async def call(self, work: Callable[[], T], timeout_s: float) -> T:
        """What `work` gives or raises. Raises TimeoutError."""
        ...

    def close(self) -> None:
        """Let the thread end."""
        ...


class KubernetesScaler:
    """The actuator for the replicas of workloads that name an object of Kubernetes; adapts port Actuator.

    A step ends when the pods asked for were made, or taken away, not when they are ready: a start-up takes minutes,
    in which more may be needed. Where they were not within `rollout_s` it fails. Of a workload that is drained none is
    taken away that is in traffic. `loads(workload)` are the requests
    that each of its pods holds, by name, as far as that is known. `request_s` bounds one request, `steps_s` all of one
    step but the rollout. `clock` gives unix seconds, for outcomes. `may_act` is asked before each
    write: whether this process leads for certain.
    """

    def __init__(
        self,
        fleet: Fleet,
        worker: Worker,
        *,
        clock: Callable[[], float],
        loads: Callable[[str], Mapping[str, float]] = lambda _: {},
        request_s: float = 10.0,
        steps_s: float = 30.0,
        rollout_s: float = 60.0,
        poll_interval_s: float = 1.0,
        may_act: Callable[[], bool] = lambda: True,
    ) -> None:
        """Connects to nothing yet."""
        self._may_act = may_act
        self._worker = worker
        self._clock = clock
        self._loads = loads
        self._request_s = request_s
        self._steps_s = steps_s
        self._rollout_s = rollout_s
        self._poll_interval_s = poll_interval_s
        self._connections: dict[tuple[str, str, str], Objects] = {}
        self._unmarked: set[str] = set()
        self.follow(fleet)

    def follow(self, fleet: Fleet) -> None:
        """Act on this fleet's workloads from now on; steps under way on others come to their end."""
        queries = {spec.name: spec.query for spec in fleet.workloads}
        self._queries = {n: q for n, q in queries.items() if isinstance(q, KubernetesQuery) and q.name}

    async def control_mode(self, server: str) -> ControlMode:
        """EXPLICIT for a workload that names its object. Raises NotFoundError."""
        self._query(server)
        return ControlMode.EXPLICIT

    async def apply(self, action: Action) -> Outcome:
        """Carry out one step; the outcome tells what came of it. Issuing a step again changes nothing."""
        return await outcome_of(action, self._carry_out(action), self._clock)

    async def close(self) -> None:
        """Let go of connections and the thread."""
        for objects in self._connections.values():
            objects.close()
        self._connections.clear()
        self._worker.close()

    async def _carry_out(self, action: Action) -> Done:
        query, wanted = self._query(action.server), action.target.instances
        if action.step not in OF_REPLICAS:
            return Done("nothing to do")
        target, loads = Target(query.kind, query.name, query.api_version), self._loads(action.server)
        drain = query.drain

        def traffic(objects: Objects) -> tuple[str, ...]:
            if drain is not None:
                return set_traffic(objects, target, drain, wanted, loads)
            put_back(objects, target)
            return ()

        def scale(objects: Objects) -> int:
            def before_fewer(fewer: int) -> None:
                if drain is None:
                    self._choose(objects, target, loads, fewer)
                else:
                    check_drained(objects, target, drain, wanted)

            return set_replicas(objects, target, wanted, before_fewer)

        try:
            if action.step is Step.TRAFFIC:
                out = await self._write(query, traffic)
                return Done(f"out of traffic: {', '.join(out)}" if out else "all are in traffic")
            before = await self._write(query, scale)
            if before == wanted:
                return Done(f"has {wanted} replicas already")
            reached = await self._rollout(query, target, before, wanted)
        except (TargetUnreachableError, NotFoundError, TimeoutError) as error:
            raise refused(error) from error
        ready = "" if reached.ready is None else f"; {reached.ready} of {wanted} ready so far"
        return Done(f"from {before} to {wanted} replicas{ready}")

    async def _write(self, query: KubernetesQuery, write: Callable[[Objects], T]) -> T:
        """On the thread, which writes nothing more once nobody waits for it. Raises what `write` does, TimeoutError."""
        waited_for = True

        def work() -> T:
            try:
                return write(self._objects(query).asking(leave_by(lambda: waited_for and self._may_act())))
            except ApiServerError as error:
                if error.refused:
                    self._forget(query)  # so that a new token or kubeconfig is read
                raise

        try:
            return await self._worker.call(work, self._steps_s)
        finally:
            waited_for = False

    def _choose(self, objects: Objects, target: Target, loads: Mapping[str, float], fewer: int) -> None:
        """Have the least loaded go first, where that can be said; without the right to, any may go."""
        if target.kind not in CHOOSERS or not loads:
            return
        try:
            pods = objects.pods(selector_of(objects, target))
            mark(objects, pods, victims(pods, fewer, loads))
            self._unmarked.discard(target.name)
        except ApiServerError as error:
            if target.name not in self._unmarked:
                _log.warning("Kubernetes chooses which pods go", object=target.name, why=str(error))
            self._unmarked.add(target.name)

    async def _rollout(self, query: KubernetesQuery, target: Target, before: int, wanted: int) -> Progress:
        """Wait for the pods. Raises ActionError where they do not come, TimeoutError, TargetUnreachableError.

        There may be more than are wanted, for the time that a new template is rolled out.
        """
        ends = time.monotonic() + self._rollout_s
        while True:
            late = time.monotonic() >= ends
            try:
                seen = await self._worker.call(lambda: progress(self._objects(query), target), self._steps_s)
            except (TargetUnreachableError, TimeoutError):
                if late:
                    raise
            else:
                if seen.observed and (seen.made in (None, wanted) or before < wanted < seen.made):
                    return seen
                if late:
                    made = "its controller does not look at it: " if not seen.observed else ""
                    raise action_error(f"{made}{seen.made} of {wanted} pods were made within {self._rollout_s:g} s")
            await asyncio.sleep(self._poll_interval_s)

    def _objects(self, query: KubernetesQuery) -> Objects:
        """On the thread: a connection, kept."""
        key = query.kubeconfig, query.context, query.namespace
        if key not in self._connections:
            self._connections[key] = Objects(*key, self._request_s)
        return self._connections[key]

    def _forget(self, query: KubernetesQuery) -> None:
        objects = self._connections.pop((query.kubeconfig, query.context, query.namespace), None)
        if objects is not None:
            objects.close()

    def _query(self, workload: str) -> KubernetesQuery:
        if workload not in self._queries:
            raise NotFoundError("workload with an object of Kubernetes", workload, tuple(sorted(self._queries)))
        return self._queries[workload]

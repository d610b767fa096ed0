"""A discovery on Kubernetes under test."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

from controlplane.collect.kubernetes.discovery import KubernetesDiscovery
from controlplane.collect.kubernetes.watch import Pace
from controlplane.domain.fleet import KubernetesQuery, Member, Phase, Ports, ServerKind, WorkloadSpec
from controlplane.domain.signal import Known, Signal
from tests.kube.cluster import Cluster
from tests.kube.server import Request

PACE = Pace(timeout_s=2.0, watch_s=30, first_retry_s=0.05, longest_retry_s=0.2)
PORTS = Ports(8000, 0, 8000)
MAX_AGE_S = 60.0


def by_pods(cluster: Cluster, selector: str = "app=llm", name: str = "llama") -> WorkloadSpec:
    query = KubernetesQuery(cluster.namespace, pods=selector, kubeconfig=str(cluster.kubeconfig))
    return WorkloadSpec(name, ServerKind.VLLM, query, PORTS)


def by_services(cluster: Cluster, selector: str = "tier=llm", name: str = "llama") -> WorkloadSpec:
    query = KubernetesQuery(cluster.namespace, services=selector, kubeconfig=str(cluster.kubeconfig))
    return WorkloadSpec(name, ServerKind.VLLM, query, PORTS)


class Watching:
    """A discovery under test, on a clock that the test sets."""

    def __init__(self, workloads: Iterable[WorkloadSpec], pace: Pace = PACE) -> None:
        self.now = 1000.0
        self.changes = 0
        self.discovery = KubernetesDiscovery(workloads, clock=lambda: self.now, max_age_s=MAX_AGE_S, pace=pace)

    def changed(self) -> None:
        self.changes += 1

    def signal(self, workload: str = "llama") -> Signal[tuple[Member, ...]]:
        return self.discovery.members(self.now)[workload]

    def phases(self, workload: str = "llama") -> dict[str, Phase]:
        signal = self.signal(workload)
        assert isinstance(signal, Known), signal
        return {member.server.name.partition("/")[2]: member.phase for member in signal.value}

    async def until(self, wanted: Callable[[], bool], within_s: float = 60.0) -> None:
        ends = time.monotonic() + within_s
        while not wanted():
            assert time.monotonic() < ends, self.discovery.members(self.now)
            await asyncio.sleep(0.01)

    async def until_phases(self, expected: dict[str, Phase], workload: str = "llama") -> None:
        await self.until(lambda: self.phases(workload) == expected)


@asynccontextmanager
async def watching(*workloads: WorkloadSpec, pace: Pace = PACE) -> AsyncIterator[Watching]:
    under_test = Watching(workloads, pace)
    await under_test.discovery.start(under_test.changed)
    try:
        yield under_test
    finally:
        await under_test.discovery.close()


def between(requests: list[Request]) -> list[float]:
    """Seconds from each to the next."""
    return [later.at - earlier.at for earlier, later in itertools.pairwise(requests)]

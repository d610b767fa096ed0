"""A discovery that finds what it is told."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from controlplane.domain.fleet import KubernetesQuery, Member, Phase, Ports, ServerKind, WorkloadSpec
from controlplane.domain.scaling import ScaleStatus
from controlplane.domain.signal import Known, Missing, Signal, Stale

PORTS = Ports(8000, 8001, 8002)


def workload(name: str = "w", kind: ServerKind = ServerKind.TRITON, ports: Ports = PORTS) -> WorkloadSpec:
    return WorkloadSpec(name, kind, KubernetesQuery("ml", pods=f"app={name}"), ports)


def member(
    instance: str,
    phase: Phase = Phase.READY,
    *,
    of: WorkloadSpec | None = None,
    address: str = "10.0.0.1",
    uid: str = "",
    ready_at: float | None = None,
) -> Member:
    of = of or workload()
    return Member(of.server(instance, address), of.name, phase, ready_at, ready_at, uid or f"uid-{instance}")


class ToldDiscovery:
    """Implements the port `Discovery` by what `find`, `lose_sight` and nobody yet have told it."""

    def __init__(self, *workloads: WorkloadSpec) -> None:
        self._found: dict[str, Signal[tuple[Member, ...]]] = {w.name: Missing("not listed yet") for w in workloads}
        self._changed: Callable[[], None] = lambda: None
        self.started = self.closed = False
        self.told: dict[str, ScaleStatus] = {}

    async def start(self, changed: Callable[[], None]) -> None:
        self._changed, self.started = changed, True

    def members(self, now: float) -> dict[str, Signal[tuple[Member, ...]]]:  # noqa: ARG002 - the port's signature
        return dict(self._found)

    def scaling(self) -> dict[str, ScaleStatus]:
        return dict(self.told)

    async def close(self) -> None:
        self.closed = True

    def find(self, workload: str, members: Iterable[Member], at: float) -> None:
        self._found[workload] = Known(tuple(members), at)
        self._changed()

    def lose_sight(self, workload: str, why: str, age_s: float = 100.0) -> None:
        found = self._found[workload]
        assert isinstance(found, Known)
        self._found[workload] = Stale(found.value, found.observed_at, age_s, why)

    def fail(self, workload: str, why: str) -> None:
        self._found[workload] = Missing(why)

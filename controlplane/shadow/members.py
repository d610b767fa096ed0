"""Servers as they are told, line by line, and since when each is ready."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from controlplane.domain.fleet import Member, Phase, WorkloadSpec
from controlplane.shadow.line import Line, ToldServer

# A server that was not told for so long is not remembered.
_REMEMBERED_S = 3600.0
_UNLISTED = "unlisted"


@dataclass(frozen=True, slots=True)
class Sight:
    """A server: when it was asked for, when it was first seen ready (None: not known), and how it was told last."""

    created_at: float | None
    ready_at: float | None
    ready: bool
    told_at: float


class Sights:
    """What is remembered of servers. `known` is by workload, name and start."""

    def __init__(self, known: Mapping[str, Sight] | None = None) -> None:
        self.known = dict(known or {})

    def members(self, line: Line, specs: Mapping[str, WorkloadSpec], *, first: bool) -> dict[str, tuple[Member, ...]]:
        """By workload that is told of, its members. `first`: nothing was told before this line.

        Replicas that are asked for and of which no server is told are still to come.
        """
        found = {}
        for name in line.workloads:
            told = [s for s in line.servers if s.workload == name and s.phase is not None]
            told += _unlisted(line, name, told)
            found[name] = tuple(self._member(server, specs[name], line.now, first=first) for server in told)
        self.known = {key: sight for key, sight in self.known.items() if _lasts(key, sight, line)}
        return found

    def _member(self, told: ToldServer, spec: WorkloadSpec, now: float, *, first: bool) -> Member:
        uid = "" if told.started_at is None else repr(told.started_at)
        key = f"{spec.name}/{told.name} {uid}"
        sight = self.known[key] = _seen(self.known.get(key), told, now, first=first)
        phase = told.phase or Phase.TERMINATING
        return Member(spec.server(told.name, "told"), spec.name, phase, sight.created_at, sight.ready_at, uid)


def _seen(before: Sight | None, told: ToldServer, now: float, *, first: bool) -> Sight:
    """Of one that is ready in the first line of all nobody knows since when, and that stays so."""
    ready, created_at, ready_at = told.phase is Phase.READY, told.started_at, told.ready_at
    if before is None:
        created_at = now if created_at is None and not ready and not first else created_at
        before = Sight(created_at, None, ready=False, told_at=now)
    if ready_at is None:
        ready_at = now if ready and not before.ready and before.ready_at is None and not first else before.ready_at
    return Sight(before.created_at, ready_at, before.ready or ready, now)


def _unlisted(line: Line, workload: str, told: list[ToldServer]) -> Iterator[ToldServer]:
    here = sum(1 for server in told if server.phase is not Phase.TERMINATING)
    for index in range(here, line.workloads[workload].replicas or 0):
        yield ToldServer(f"{_UNLISTED} {index}", workload, Phase.STARTING)


def _lasts(key: str, sight: Sight, line: Line) -> bool:
    workload, _, name = key.partition("/")
    if name.startswith(f"{_UNLISTED} ") and workload in line.workloads:
        return sight.told_at == line.now
    return line.now - sight.told_at <= _REMEMBERED_S

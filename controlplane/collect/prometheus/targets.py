"""Servers that a Prometheus scrapes: its active targets, asked for at a slow pace."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

import structlog

from controlplane.collect.prometheus.api import Prometheus, Target, Targets
from controlplane.domain.errors import ControlPlaneError
from controlplane.domain.fleet import Member, Phase, ServerKind, TargetsQuery, WorkloadSpec
from controlplane.domain.scaling import ScaleStatus
from controlplane.domain.signal import Known, Missing, Signal, aged
from controlplane.domain.sources import Through

_log = structlog.get_logger(__name__)

INTERVAL_S = 15.0
_JITTER = 0.1
_MISSED = 3
"""So many listings in a row may fail before what was listed is stale."""
_UNKNOWN = "unknown"
"""Health of a target that was not scraped yet."""


@dataclass(slots=True)
class _Group:
    """A workload: what was found last and when, why the newest listing did not count, and whether it was empty."""

    spec: WorkloadSpec
    query: TargetsQuery
    found: tuple[Member, ...] | None = None
    found_at: float = 0.0
    why: str = "not listed yet"
    empty: bool = False


class PrometheusTargets:
    """Discovery of the workloads that have a TargetsQuery; the others are left to others.

    Every Prometheus is asked by a task of its own, each `interval_s` seconds. It stays its owner's to close.
    """

    def __init__(
        self,
        workloads: Iterable[WorkloadSpec],
        prometheus: Mapping[str, Prometheus],
        *,
        clock: Callable[[], float],
        interval_s: float = INTERVAL_S,
    ) -> None:
        self._clock = clock
        self._interval_s = interval_s
        self._changed: Callable[[], None] = lambda: None
        self._groups = [_Group(spec, spec.query) for spec in workloads if isinstance(spec.query, TargetsQuery)]
        wanted = {group.query.prometheus for group in self._groups}
        self._prometheus = {name: source for name, source in prometheus.items() if name in wanted}
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, changed: Callable[[], None]) -> None:
        """Begin to look, and return once every Prometheus has answered or failed."""
        self._changed = changed
        await asyncio.gather(*(self._list(name) for name in self._prometheus))
        self._tasks = [asyncio.create_task(self._follow(name), name=f"targets of {name}") for name in self._prometheus]

    def members(self, now: float) -> Mapping[str, Signal[tuple[Member, ...]]]:
        """By workload: missing until it was first listed, stale (what was known last) while it cannot be asked."""
        return {group.spec.name: self._signal(group, now) for group in self._groups}

    def scaling(self) -> Mapping[str, ScaleStatus]:
        """It tells nothing of who sets replicas."""
        return {}

    async def close(self) -> None:
        """Stop looking."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    def _signal(self, group: _Group, now: float) -> Signal[tuple[Member, ...]]:
        if group.found is None:
            return Missing(group.why)
        why = group.why or f"Prometheus {group.query.prometheus} has not answered since"
        return aged(Known(group.found, group.found_at), now, _MISSED * self._interval_s, why)

    async def _follow(self, name: str) -> None:
        while True:
            await asyncio.sleep(self._interval_s * random.uniform(1 - _JITTER, 1 + _JITTER))  # noqa: S311 - jitter
            try:
                await self._list(name)
            except Exception:  # noqa: BLE001 - a fault of ours must not end it
                _log.exception("targets were not taken in; the next listing does it", prometheus=name)

    async def _list(self, name: str) -> None:
        """One listing. What went wrong keeps what was known."""
        groups = [group for group in self._groups if group.query.prometheus == name]
        try:
            targets = await self._prometheus[name].targets()
        except ControlPlaneError as error:
            for group in groups:
                group.why = str(error)
            return
        for group in groups:
            self._absorb(group, targets)

    def _absorb(self, group: _Group, targets: Targets) -> None:
        if targets.warnings:
            group.why = f"Prometheus {group.query.prometheus} gave a part only: {'; '.join(targets.warnings)}"
            return
        now = self._clock()
        found = members_of(group.spec, group.query, targets.active, group.found, now)
        if not found and group.found and not group.empty:
            # One that has just started has found no targets yet, and says so without a warning.
            group.empty, group.why = True, "the targets were gone, which the next listing has to confirm"
            return
        changed = found != group.found
        group.found, group.found_at, group.why, group.empty = found, now, "", not found
        if changed:
            self._changed()


def members_of(
    workload: WorkloadSpec,
    query: TargetsQuery,
    targets: Sequence[Target],
    before: Sequence[Member] | None,
    now: float,
) -> tuple[Member, ...]:
    """The targets that the query finds as members, by name; `before` are those of the listing before, None: the first.

    A target's instance label names its server; where jobs share one, job and instance do. One that was not scraped yet
    is starting. One that is down stays a server, whose reading tells why. When one was ready is known as far as it was
    seen to; when it was asked for is not, since Prometheus tells of it later.
    """
    patterns = [(label, re.compile(pattern)) for label, pattern in query.where]
    matching = [t for t in targets if all(p.fullmatch(t.labels.get(label, "")) for label, p in patterns)]
    jobs: dict[str, set[str]] = {}
    for target in matching:
        jobs.setdefault(_instance(target), set()).add(target.labels.get("job", ""))
    known = {member.server.name: member for member in before or ()}
    members: dict[str, Member] = {}
    for target in sorted(matching, key=lambda t: t.scrape_url):
        instance = _instance(target)
        shared = len(jobs[instance]) > 1
        member = _member(workload, query, target, f"{target.labels.get('job', '')}/{instance}" if shared else instance)
        if member is None:
            continue
        old = known.get(member.server.name)
        if old is not None:
            phase = Phase.READY if old.phase is Phase.READY else member.phase
            member = replace(member, phase=phase, ready_at=old.ready_at)
        if member.phase is Phase.READY and before is not None and (old is None or old.phase is not Phase.READY):
            member = replace(member, ready_at=now)
        members.setdefault(member.server.name, member)
    return tuple(members[name] for name in sorted(members))


def _instance(target: Target) -> str:
    return target.labels.get("instance") or urlsplit(target.scrape_url).netloc


def _member(workload: WorkloadSpec, query: TargetsQuery, target: Target, name: str) -> Member | None:
    """None where the target has no address."""
    host = None
    with suppress(ValueError):
        host = urlsplit(target.scrape_url).hostname
    if not host:
        return None
    server = workload.server(name, host)
    if workload.kind is not ServerKind.OLLAMA:  # the page is where Prometheus finds it
        server = replace(server, metrics=target.scrape_url)
    if query.through:
        labels = tuple((label, target.labels.get(label, "")) for label in ("job", "instance"))
        server = replace(server, through=Through(query.prometheus, labels))
    phase = Phase.STARTING if target.health == _UNKNOWN else Phase.READY
    return Member(server, workload.name, phase)

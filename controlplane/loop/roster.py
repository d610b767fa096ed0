"""Who is there: what the configuration names, and what the discoveries find."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from controlplane.domain.fleet import Fleet, Member
from controlplane.domain.ports import Discovery
from controlplane.domain.scaling import ScaleStatus
from controlplane.domain.signal import Missing, Signal

_NOBODY = Missing("nothing discovers it")


class Roster:
    """The present fleet, in one place for all who need it. `fleet` changes in `update` only."""

    def __init__(self, fleet: Fleet, discoveries: Sequence[Discovery] = ()) -> None:
        self._configured = fleet
        self._discoveries = discoveries
        self._members: dict[str, tuple[Member, ...]] = {}
        self.fleet = self._present()

    async def start(self, changed: Callable[[], None]) -> None:
        """Begin to look for servers; `changed` is called whenever `update` may find something new."""
        await asyncio.gather(*(discovery.start(changed) for discovery in self._discoveries))

    def update(self, now: float) -> None:
        """Take the members found by `now` into the fleet.

        Those of a workload that cannot be asked stay.
        """
        for workload, found in self.workloads(now).items():
            if not isinstance(found, Missing):
                self._members[workload] = tuple(sorted(found.value, key=lambda member: member.server.name))
        self.fleet = self._present()

    def _present(self) -> Fleet:
        workloads = [workload.name for workload in self._configured.workloads]
        members = (member for name in workloads for member in self._members.get(name, ()))
        return self._configured.with_members(members, frozenset(workloads) - self._members.keys(), self._scaling())

    def _scaling(self) -> dict[str, ScaleStatus]:
        return {name: told for discovery in self._discoveries for name, told in discovery.scaling().items()}

    def workloads(self, now: float) -> dict[str, Signal[tuple[Member, ...]]]:
        """The members of every workload, as they were found last."""
        found: dict[str, Signal[tuple[Member, ...]]] = {}
        for discovery in self._discoveries:
            found |= discovery.members(now)
        return {workload.name: found.get(workload.name, _NOBODY) for workload in self._configured.workloads}

    async def close(self) -> None:
        """Stop looking."""
        for discovery in self._discoveries:
            await discovery.close()

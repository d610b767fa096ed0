"""A rollout: one model on one server on its way from the versions that serve to another one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol


class RolloutPhase(StrEnum):
    """Where it stands. Each says which versions should serve."""

    HOLDING = "holding"
    """Its turn has not come: it is told to serve just what it serves, whatever else comes to the repository."""
    WAITING = "waiting"
    """It was told so."""
    BESIDE = "beside"
    """The new version is being loaded beside the old ones."""
    VERIFYING = "verifying"
    """All serve, and the new one is watched."""
    RETIRING = "retiring"
    """The new one has proved itself; the old ones go."""
    DONE = "done"
    ROLLING_BACK = "rolling_back"
    """The new one failed, or the rollout was withdrawn; it goes."""
    ROLLED_BACK = "rolled_back"
    LAPSED = "lapsed"
    """Over, and what it decided on no longer holds: it is not there any more. The repository's own policy does."""


UNBEGUN = (RolloutPhase.HOLDING, RolloutPhase.WAITING)
OVER = (RolloutPhase.DONE, RolloutPhase.ROLLED_BACK, RolloutPhase.LAPSED)
FAILED = (RolloutPhase.ROLLING_BACK, RolloutPhase.ROLLED_BACK)
BOTH = (RolloutPhase.BESIDE, RolloutPhase.VERIFYING)


@dataclass(frozen=True, slots=True)
class Served:
    """What was served over some time: requests per second, the share of them that failed, their mean seconds.

    `mean_s` includes the time in the queue; None: none was answered.
    """

    requests: int
    per_s: float
    failed_share: float
    mean_s: float | None


@dataclass(frozen=True, slots=True)
class Rollout:
    """Memory of a rollout on one server. `id` is that of the instruction.

    `before`: the versions that serve until it begins, and `served` what they did just before. `since`: when its phase
    began. `why` it failed; empty: it has not.
    """

    id: str
    version: str
    before: tuple[str, ...]
    phase: RolloutPhase
    since: float
    served: Served
    why: str = ""

    @property
    def holds(self) -> bool:
        """Whether it says which versions should serve."""
        return self.phase is not RolloutPhase.LAPSED

    @property
    def versions(self) -> tuple[str, ...]:
        """Those that should serve now, ascending; empty: those that the repository's own policy says."""
        if not self.holds:
            return ()
        if self.phase in BOTH:
            return ascending({*self.before, self.version})
        return self.before if self.phase in (*UNBEGUN, *FAILED) else (self.version,)


class KeptConfigs(Protocol):
    """Configurations of models whose versions a rollout set, by model and server, over restarts of the control plane.

    Everything raises StoreError, StoreBusyError, and NotLeadingError where it writes and another leads.
    """

    async def keep(self, model: str, server: str, config: Mapping[str, Any]) -> None:
        """Keep it in place of the one before."""
        ...

    async def kept(self, model: str, server: str) -> dict[str, Any] | None:
        """The one kept, None: there is none."""
        ...

    async def kept_elsewhere(self, model: str) -> dict[str, Any] | None:
        """One that is kept of the model, whichever its server; None: there is none."""
        ...

    async def drop(self, model: str, server: str) -> None:
        """Forget it."""
        ...


def ascending(versions: frozenset[str] | set[str]) -> tuple[str, ...]:
    """Versions in the order of their numbers."""
    return tuple(sorted(versions, key=lambda version: (len(version), version)))

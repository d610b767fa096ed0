"""Small questions about what is there now, asked by the recheck before acting and by those who wait."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from controlplane.domain.decision import Target
from controlplane.domain.fleet import Fleet, Phase
from controlplane.domain.instructions import Override, OverrideKind
from controlplane.domain.observation import FleetReading, ModelReading, ModelState
from controlplane.domain.signal import known

_SHOWN = 10
# A model that is being unloaded takes no requests any more, and may be loaded again at once.
_NOT_LOADED = (ModelState.UNLOADED, ModelState.UNAVAILABLE, ModelState.UNLOADING)


def model_reading(reading: FleetReading, model: str, server: str) -> ModelReading | None:
    """The reading of a model on a server if it is known (not stale)."""
    entry = reading.servers.get(server)
    return known(entry.models[model]) if entry is not None and model in entry.models else None


def present(reading: FleetReading, model: str, server: str) -> Target | None:
    """What is loaded now, None when that is not known or changing."""
    seen = model_reading(reading, model, server)
    if seen is None:
        return None
    if seen.state in _NOT_LOADED:
        return Target(loaded=False, instances=0)
    instances = known(seen.instances)
    if seen.state is ModelState.READY and instances is not None:
        return Target(loaded=True, instances=instances)
    return None


def is_ready(reading: FleetReading, model: str, server: str) -> bool:
    """Whether the model is known to be ready."""
    seen = model_reading(reading, model, server)
    return seen is not None and seen.state is ModelState.READY


def silent(reading: FleetReading, servers: Iterable[str]) -> tuple[str, ...]:
    """Those of the servers that are known not to answer."""
    entries = ((name, reading.servers.get(name)) for name in servers)
    return tuple(name for name, entry in entries if entry is not None and known(entry.live) is False)


def listed(servers: Sequence[str]) -> str:
    """Their names in a message: of many only the first."""
    more = len(servers) - _SHOWN
    return ", ".join(servers[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def fulfilled(reading: FleetReading, override: Override, server: str) -> bool:
    """Whether what the override asks for is so on that server."""
    if override.kind is OverrideKind.ROLLOUT:
        return False  # that its decider tells
    target, seen = present(reading, override.model, server), model_reading(reading, override.model, server)
    if target is None or seen is None or seen.state is ModelState.UNLOADING:
        return False
    match override.kind:
        case OverrideKind.UNLOADED:
            return not target.loaded
        case OverrideKind.LOADED:
            return target.loaded
        case OverrideKind.INSTANCES | OverrideKind.PIN | OverrideKind.REPLICAS:
            return target.loaded and target.instances == override.instances
        case OverrideKind.BOUNDS:
            return not target.loaded or (override.least or 0) <= target.instances <= (override.most or 0)


def replicas_of(fleet: Fleet, workload: str, phase: Phase) -> int:
    """Servers of a workload in that phase, as it was listed last."""
    return sum(member.workload == workload and member.phase is phase for member in fleet.members.values())

"""Start-ups that are seen in readings though nobody announced them, and what is learned of all start-ups."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from controlplane.decide.startups import by_knob
from controlplane.domain.decision import Step
from controlplane.domain.fleet import Fleet, Member, Phase, ServerKind
from controlplane.domain.observation import FleetReading, ModelState, ServerReading
from controlplane.domain.ports import Store
from controlplane.domain.signal import Known, known
from controlplane.domain.startups import REPLICA, Knob, Startup, StartupTimes
from controlplane.domain.state import unit_key

_NEVER = -math.inf


@dataclass(frozen=True, slots=True)
class Sight:
    """What was seen of a unit last, at `at`; `state` None: it is not known now. Times are unix seconds, -inf: never.

    It was not loading yet at `unloaded_at`, and has been seen loading since `loading_at`. `not_serving_at`: when its
    server was last seen not to serve it; `served`: it has served since its server came.
    """

    at: float = _NEVER
    state: ModelState | None = None
    instances: Known[int] | None = None
    load_s: float | None = None
    incarnation: int = 0
    unloaded_at: float = _NEVER
    loading_at: float = _NEVER
    not_serving_at: float = _NEVER
    served: bool = False


def look(before: Sight, seen: ServerReading, model: str, kind: ServerKind, phase: Phase) -> Sight:
    """The unit by a newer reading of its server.

    A Triton serves once it answers: what it begins with it loads before that; others may answer before. And what
    discovered it must say that it is ready, since routing goes by that.
    """
    signal, live = seen.models.get(model), seen.live
    if seen.incarnation != before.incarnation:
        before = replace(before, incarnation=seen.incarnation, unloaded_at=_NEVER, loading_at=_NEVER)
    ready = isinstance(signal, Known) and signal.value.state is ModelState.READY
    serves = phase is Phase.READY and (known(live) is True if kind is ServerKind.TRITON else ready)
    if isinstance(live, Known) and not serves:
        before = replace(before, not_serving_at=max(before.not_serving_at, live.observed_at))
    before = replace(before, served=before.served or serves)
    if not isinstance(signal, Known):
        return replace(before, state=None, instances=None)
    at, reading = signal.observed_at, signal.value
    loading = reading.state is ModelState.LOADING
    instances = reading.instances if isinstance(reading.instances, Known) else None
    load_s = known(reading.load_s) if ready else None
    now = replace(before, at=at, state=reading.state, instances=instances, load_s=load_s)
    if not loading:
        return replace(now, unloaded_at=at, loading_at=_NEVER)
    return now if before.loading_at > _NEVER else replace(now, loading_at=at)


def between(before: Sight, now: Sight) -> tuple[Step, float, float] | None:
    """(step, least seconds, most seconds) of the start-up that two sights of a unit show, None: they show none.

    A load began after it was last seen not to load, and ended by the time at which the model was ready; where the
    server tells how long it took, and that can be, it is known. Of a raised instance count only the end was seen: it
    took no longer than from reading to reading.
    """
    loaded = before.loading_at > _NEVER
    if now.state is not ModelState.READY or before.at >= now.at or before.incarnation != now.incarnation:
        return None
    if before.state is None and not loaded:
        return None
    if before.state is not ModelState.READY:
        least_s = before.at - before.loading_at if loaded else 0.0
        most_s = now.at - before.unloaded_at
        if now.load_s is not None and least_s <= now.load_s <= most_s:
            return Step.LOAD, now.load_s, now.load_s
        return (Step.LOAD, least_s, most_s) if loaded and most_s < math.inf else None
    earlier, later = before.instances, now.instances
    if earlier is None or later is None or later.value <= earlier.value or later.observed_at <= earlier.observed_at:
        return None
    return Step.SET_INSTANCES, 0.0, later.observed_at - earlier.observed_at


def came(before: Sight, now: Sight, member: Member, at: float, since: float) -> tuple[float, float] | None:
    """(least, most seconds) from asking for a discovered server to its first serving the model, by a look at `at`.

    None: it did not begin to serve now, or it was there before `since`, when nobody looked yet.
    """
    created_at = member.created_at
    if before.served or not now.served or created_at is None or not since <= created_at < at:
        return None
    return max(0.0, now.not_serving_at - created_at), at - created_at


class StartupBook:
    """Watches for start-ups from the time `since` on, and holds what is learned by model, workload and knob."""

    def __init__(self, since: float) -> None:
        self._since = since
        self._sights: dict[tuple[str, str], Sight] = {}
        """By unit and pod: another pod of the same name is another server."""
        self._new: list[Startup] = []
        self._unread: set[str] = set()
        self.times: dict[str, Mapping[Knob, StartupTimes]] = {}

    def look(self, fleet: Fleet, reading: FleetReading, ours: Callable[[str, float], bool]) -> None:
        """Note the start-ups that a newer reading shows. `ours(unit, since)`: an action of ours on it since then."""
        sights: dict[tuple[str, str], Sight] = {}
        servers = {server.name: server for server in fleet.servers}
        for model in fleet.models:
            for name in model.runs_on:
                server, seen = servers.get(name), reading.servers.get(name)
                if server is None or seen is None:
                    continue
                key, member = unit_key(model.name, name), fleet.members.get(name)
                place = (key, member.pod_uid if member is not None else "")
                before = self._sights.get(place, Sight(incarnation=seen.incarnation))
                phase = member.phase if member is not None else Phase.READY
                now = sights[place] = look(before, seen, model.name, server.kind, phase)
                workload = member.workload if member is not None else ""
                if member is not None and (took := came(before, now, member, reading.at, self._since)):
                    self._new.append(Startup(model.name, name, REPLICA, reading.at, took[1], took[0], workload))
                if (step := between(before, now)) and not ours(key, before.at):
                    knob, least_s, most_s = step
                    self._new.append(Startup(model.name, name, knob.value, now.at, most_s, least_s, workload))
        self._sights = sights

    def take(self) -> tuple[Startup, ...]:
        """Start-ups seen since the last call, to be written."""
        new, self._new = tuple(self._new), []
        return new

    def written(self, models: Iterable[str]) -> None:
        """The store has new start-ups of these models."""
        self._unread.update(models)

    def unread(self, fleet: Fleet) -> tuple[str, ...]:
        """Models of which the store may hold start-ups that were not learned from yet."""
        return tuple(m.name for m in fleet.models if m.name in self._unread or m.name not in self.times)

    def learn(self, times: Mapping[str, Mapping[Knob, StartupTimes]]) -> None:
        """Take in what `learned` gave."""
        self.times |= times
        self._unread.difference_update(times)


def learned(store: Store, models: Iterable[str]) -> dict[str, Mapping[Knob, StartupTimes]]:
    """What the kept start-ups of these models teach, by workload and knob. Raises StoreError, StoreBusyError."""
    return {model: by_knob(store.startups(model)) for model in models}

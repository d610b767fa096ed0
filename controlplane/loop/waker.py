"""Waking: somebody waits until a model is ready, and many may wait for the same one."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from controlplane.domain.decision import Outcome
from controlplane.domain.errors import ConflictError, TargetUnreachableError
from controlplane.domain.fleet import Fleet, ModelSpec
from controlplane.domain.instructions import OverrideKind
from controlplane.domain.observation import FleetReading
from controlplane.domain.rollout import Rollout
from controlplane.loop.clock import Clock
from controlplane.loop.present import is_ready, listed, silent
from controlplane.loop.store_thread import StoreThread


@dataclass(frozen=True, slots=True)
class Readiness:
    """A model became ready after `waited_s` seconds, on `servers`."""

    model: str
    servers: tuple[str, ...]
    waited_s: float


class LoopView(Protocol):
    """What the desk needs of the running loop."""

    @property
    def fleet(self) -> Fleet:
        """The servers and models there are now."""
        ...

    def nudge(self) -> None:
        """Tick as soon as possible."""
        ...

    def reading(self) -> FleetReading:
        """What is known now."""
        ...

    async def refresh(self, servers: Collection[str]) -> None:
        """Read some servers again now."""
        ...

    async def changed(self, timeout_s: float) -> None:
        """Return when an action ended or a round of collecting is done, at the latest after `timeout_s` seconds."""
        ...

    def last_outcome(self, model: str, server: str) -> Outcome | None:
        """The newest outcome of a unit since this process started."""
        ...

    @property
    def rollouts(self) -> Mapping[str, Rollout]:
        """Where rollouts stand, by unit."""
        ...


class Waker:
    """Waits for models to become ready; callers that ask for the same one at the same time share one wait."""

    def __init__(self, loop: LoopView, store: StoreThread, clock: Clock) -> None:
        self._loop = loop
        self._store = store
        self._clock = clock
        self._ensuring: dict[str, asyncio.Task[Readiness]] = {}

    async def ready(self, spec: ModelSpec, started: float, timeout_s: float) -> Readiness:
        """Return when the model is ready on at least one server.

        Raises ConflictError when a load failed or is not allowed, TargetUnreachableError after `timeout_s` seconds.
        """
        model = spec.name
        task = self._ensuring.get(model)
        if task is None:
            task = asyncio.create_task(self._until_ready(model, started), name=f"ensure-{model}")
            self._ensuring[model] = task
            task.add_done_callback(lambda done: self._ensured(model, done))
        try:
            return await asyncio.wait_for(asyncio.shield(task), timeout_s)
        except TimeoutError:
            servers = self._servers(model)
            away = silent(self._loop.reading(), servers)
            why = "the load goes on" if len(away) < len(servers) else f"no answer from {listed(away)}"
            if not servers:
                why = "it has no server now"
            raise TargetUnreachableError(
                f"model {model}", f"not ready after {timeout_s:g} s; {why}, ask again"
            ) from None

    def _servers(self, model: str) -> tuple[str, ...]:
        """Where it may run now."""
        spec = self._loop.fleet.model(model)
        return () if spec is None else spec.runs_on

    async def _until_ready(self, model: str, started: float) -> Readiness:
        # Who asks may know better than the last reading: a gateway asks when it was told that the model is not there.
        await self._loop.refresh(self._servers(model))
        if ready := self._ready_on(model):
            return Readiness(model, ready, self._clock() - started)
        await self._refuse_if_unloaded_by_hand(model, started)
        self._loop.nudge()
        while True:
            if ready := self._ready_on(model):
                return Readiness(model, ready, self._clock() - started)
            failures = self._failures_since(model, started)
            if failures and len(failures) == len(self._servers(model)):
                raise ConflictError(f"model {model}: {failures[0].detail}; {failures[0].remedy}")
            await self._loop.changed(1.0)

    async def _refuse_if_unloaded_by_hand(self, model: str, now: float) -> None:
        """Raises ConflictError when people keep the model unloaded everywhere. A freeze does not forbid waking."""
        told = [
            o
            for o in await self._store.call(lambda s: s.overrides(now))
            if o.model == model and o.kind is OverrideKind.UNLOADED
        ]
        if told and all(any(o.server in ("", server) for o in told) for server in self._servers(model)):
            raise ConflictError(f"model {model} was unloaded by {told[-1].actor}: {told[-1].reason}; `unpin` ends that")

    def _ensured(self, model: str, done: asyncio.Task[Readiness]) -> None:
        self._ensuring.pop(model, None)
        if not done.cancelled():
            done.exception()  # every caller may have given up: looked at here, it is no unheard fault

    def _ready_on(self, model: str) -> tuple[str, ...]:
        reading = self._loop.reading()
        return tuple(name for name in self._servers(model) if is_ready(reading, model, name))

    def _failures_since(self, model: str, since: float) -> list[Outcome]:
        outcomes = (self._loop.last_outcome(model, server) for server in self._servers(model))
        return [o for o in outcomes if o is not None and o.failure is not None and o.finished_at >= since]

"""Tells what would be done, and does nothing."""

from __future__ import annotations

from collections.abc import Callable

from controlplane.domain.decision import Action, ActionStatus, Outcome, Step
from controlplane.domain.fleet import Fleet
from controlplane.domain.observation import ControlMode
from controlplane.domain.ports import Actuator

_WOULD = {
    Step.HOLD: "would do nothing with {model} on {server}",
    Step.LOAD: "would load {model} on {server} with {instances} instances",
    Step.UNLOAD: "would unload {model} on {server}",
    Step.SET_INSTANCES: "would set {model} on {server} to {instances} instances",
    Step.SET_VERSIONS: "would have {model} on {server} serve the versions {versions}",
    Step.SCALE: "would set {server} to {instances} replicas",
    Step.TRAFFIC: "would set {server} to {instances} replicas in traffic",
    Step.CONFIGURE: "would change the batching of {model} on {server}",
    Step.RELOAD: "would reload {model} on {server} with {instances} instances",
}


class DryRunActuator:
    """Decorates an actuator: reading passes through, steps become DRY_RUN outcomes. Adapts port Actuator."""

    def __init__(self, inner: Actuator, *, clock: Callable[[], float]) -> None:
        self._inner = inner
        self._clock = clock

    async def control_mode(self, server: str) -> ControlMode:
        """That of the decorated actuator."""
        return await self._inner.control_mode(server)

    async def apply(self, action: Action) -> Outcome:
        """What would have been done, in `detail`."""
        target = action.target
        detail = _WOULD[action.step].format(
            model=action.model,
            server=action.server,
            instances=target.instances,
            versions=", ".join(target.versions),
        )
        return Outcome(action, ActionStatus.DRY_RUN, self._clock(), detail)

    def follow(self, fleet: Fleet) -> None:
        """Have the decorated actuator follow it."""
        self._inner.follow(fleet)

    async def close(self) -> None:
        """Close the decorated actuator."""
        await self._inner.close()

"""Gives each step to the actuator for the kind of its server, those of a workload to the one that sets replicas."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from controlplane.domain.decision import Action, ActionStatus, Outcome
from controlplane.domain.errors import NotFoundError
from controlplane.domain.failures import FailureClass
from controlplane.domain.fleet import Fleet, ServerKind
from controlplane.domain.observation import ControlMode
from controlplane.domain.ports import Actuator


class ActuatorByKind:
    """Several actuators as one, each for the servers of one kind. Adapts port Actuator.

    `scaler` is that for the replicas of workloads, None: nothing sets them.
    """

    def __init__(
        self,
        fleet: Fleet,
        actuators: Mapping[ServerKind, Actuator],
        *,
        clock: Callable[[], float],
        scaler: Actuator | None = None,
    ) -> None:
        self._actuators = actuators
        self._scaler = scaler
        self._all = (*actuators.values(), *(() if scaler is None else (scaler,)))
        self._clock = clock
        self._follow(fleet)

    def _follow(self, fleet: Fleet) -> None:
        self._kinds = {server.name: server.kind for server in fleet.servers}
        self._workloads = frozenset(spec.name for spec in fleet.workloads)

    def follow(self, fleet: Fleet) -> None:
        """Act on this fleet's servers from now on. What is under way on others comes to its end."""
        self._follow(fleet)
        for actuator in self._all:
            actuator.follow(fleet)

    async def control_mode(self, server: str) -> ControlMode:
        """As the actuator for its kind. Raises NotFoundError for a server whose models cannot be controlled."""
        return await self._of(server).control_mode(server)

    async def apply(self, action: Action) -> Outcome:
        """As the actuator for the kind of the action's server."""
        try:
            actuator = self._of(action.server)
        except NotFoundError as error:
            failed, remedy = FailureClass.UNKNOWN, "correct the configuration"
            return Outcome(action, ActionStatus.FAILED, self._clock(), str(error), failed, remedy)
        return await actuator.apply(action)

    async def close(self) -> None:
        """Close all of them."""
        for actuator in self._all:
            await actuator.close()

    def _of(self, server: str) -> Actuator:
        if server in self._workloads and self._scaler is not None:
            return self._scaler
        actuator = self._actuators.get(self._kinds[server]) if server in self._kinds else None
        if actuator is None:
            known = tuple(sorted(name for name, kind in self._kinds.items() if kind in self._actuators))
            raise NotFoundError("server whose models can be controlled", server, known)
        return actuator

"""Counts and times what an actuator does."""

from __future__ import annotations

import time
from itertools import product

from prometheus_client import CollectorRegistry, Counter, Histogram

from controlplane.domain import names
from controlplane.domain.decision import Action, ActionStatus, Outcome, Step
from controlplane.domain.fleet import Fleet
from controlplane.domain.observation import ControlMode
from controlplane.domain.ports import Actuator

_STEPS = [step for step in Step if step is not Step.HOLD]
_STATUSES = (ActionStatus.SUCCEEDED, ActionStatus.FAILED, ActionStatus.DRY_RUN)
"""What an actuator does and tells; other ends of actions are not its own."""
# from an in-place update of a small model to a load that runs into its timeout
_BUCKETS_S = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class MeteredActuator:
    """Decorates an actuator with metrics in `registry`: actions by step and status, durations by step."""

    def __init__(self, inner: Actuator, registry: CollectorRegistry) -> None:
        self._inner = inner
        self._actions = Counter(names.ACTIONS, "Actions carried out", (names.STEP, names.STATUS), registry=registry)
        for step, status in product(_STEPS, _STATUSES):
            # from 0 on: a counter that begins at 1 grew by nothing, as Prometheus sees it
            self._actions.labels(step.value, status.value)
        self._duration = Histogram(
            names.ACTION_DURATION,
            "Seconds from issuing an action to its outcome",
            (names.STEP,),
            buckets=_BUCKETS_S,
            registry=registry,
        )

    async def control_mode(self, server: str) -> ControlMode:
        """That of the decorated actuator."""
        return await self._inner.control_mode(server)

    async def apply(self, action: Action) -> Outcome:
        """The outcome of the decorated actuator, counted."""
        began = time.perf_counter()
        outcome = await self._inner.apply(action)
        self._duration.labels(action.step.value).observe(time.perf_counter() - began)
        self._actions.labels(action.step.value, outcome.status.value).inc()
        return outcome

    def follow(self, fleet: Fleet) -> None:
        """Have the decorated actuator follow it."""
        self._inner.follow(fleet)

    async def close(self) -> None:
        """Close the decorated actuator."""
        await self._inner.close()

"""Tries a step again where that may help at once, and gives up one that takes longer than it may."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import replace

from prometheus_client import CollectorRegistry, Counter

from controlplane.domain import names
from controlplane.domain.decision import Action, ActionStatus, Outcome, Step
from controlplane.domain.failures import FailureClass
from controlplane.domain.fleet import Fleet
from controlplane.domain.observation import ControlMode
from controlplane.domain.ports import Actuator

_GIVEN_UP_REMEDY = "whoever was asked may go on by itself: the next reading shows what came of it"


class RetryingActuator:
    """Decorates an actuator: what failed for a passing reason is tried `retries` times more, within the step's time.

    Between two tries it waits `wait_s` seconds, twice as long each further time, less a random part of up to a half, so
    that those that failed together come back one by one (M. Brooker, Exponential Backoff And Jitter, AWS, 2015). A step
    is declarative: one that was carried out though nobody answered changes nothing the second time. Nothing is tried
    again once `may_act()` is false: another control plane may lead by then.
    """

    def __init__(
        self,
        inner: Actuator,
        registry: CollectorRegistry,
        *,
        clock: Callable[[], float],
        retries: int = 2,
        wait_s: float = 2.0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        chance: Callable[[], float] = random.random,
        may_act: Callable[[], bool] = lambda: True,
    ) -> None:
        self._inner = inner
        self._clock = clock
        self._retries = retries
        self._wait_s = wait_s
        self._sleep = sleep
        self._chance = chance
        self._may_act = may_act
        self._retried = Counter(
            names.ACTION_RETRIES, "Tries of a step after its first", (names.STEP,), registry=registry
        )
        for step in Step:
            if step is not Step.HOLD:
                self._retried.labels(step.value)

    async def control_mode(self, server: str) -> ControlMode:
        """That of the decorated actuator."""
        return await self._inner.control_mode(server)

    async def apply(self, action: Action) -> Outcome:
        """The outcome of the last try. One that is given up for its time fails with class TIMEOUT."""
        try:
            async with asyncio.timeout(action.timeout_s) as limit:
                return await self._tries(action)
        except TimeoutError:
            if not limit.expired():
                raise
            detail = f"given up after {action.timeout_s:g} s"
            return Outcome(action, ActionStatus.FAILED, self._clock(), detail, FailureClass.TIMEOUT, _GIVEN_UP_REMEDY)

    async def _tries(self, action: Action) -> Outcome:
        outcome, waited_s = await self._inner.apply(action), 0.0
        for number in range(self._retries):
            if outcome.failure is None or not outcome.failure.transient:
                break
            pause_s = self._wait_s * 2**number * (1.0 - 0.5 * self._chance())
            await self._sleep(pause_s)
            waited_s += pause_s
            if not self._may_act():
                break
            self._retried.labels(action.step.value).inc()
            outcome = await self._inner.apply(action)
            outcome = replace(outcome, detail=f"{outcome.detail} (try {number + 2})", waited_s=waited_s)
        return outcome

    def follow(self, fleet: Fleet) -> None:
        """Have the decorated actuator follow it."""
        self._inner.follow(fleet)

    async def close(self) -> None:
        """Close the decorated actuator."""
        await self._inner.close()

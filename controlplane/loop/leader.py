"""Which control plane decides: takes the lease, renews it, and tells the loop when it leads and when it stands by."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import uuid
from collections.abc import Callable
from typing import Protocol, TypeVar

import structlog

from controlplane.collect.worker import Worker
from controlplane.domain.errors import ControlPlaneError, NotLeadingError, StoreBusyError
from controlplane.domain.leader import LEASE_S, Leadership, Lease
from controlplane.loop.clock import Clock, steady_clock

log = structlog.get_logger(__name__)

T = TypeVar("T")

_RENEWALS = 4
"""A lease is renewed so many times while it lasts: two may fail, and it is still held for certain."""
_SURE = 0.8
"""So much of a lease is counted on: the rest is for a step on its way to a server, and for clocks of unlike pace."""
_SOON_S = 0.02
_RELEASE_S = 1.0


class Leases(Protocol):
    """The row in the store. Blocks. Raises StoreBusyError, StoreError."""

    def take(self, holder: str, lease_s: float, *, sole: bool = False) -> Lease:
        """Take it if nobody has it (`sole`: in any case); gives who has it then."""
        ...

    def renew(self, epoch: int, lease_s: float) -> None:
        """Hold it on. Raises NotLeadingError where another took it."""
        ...

    def release(self, epoch: int) -> None:
        """Let others have it."""
        ...


class Loop(Protocol):
    """What leads or stands by."""

    async def lead(self, enter: Callable[[], None]) -> None:
        """Go on from what the store holds; `enter` is called once nothing of before is written any more."""
        ...

    async def stand_by(self) -> None:
        """Decide and do nothing."""
        ...


def own_name() -> str:
    """A name for this process that no other has; its machine (or pod) can be read from it."""
    return f"{socket.gethostname()}-{uuid.uuid4().hex[:6]}"


class Leader:
    """Holds the lease while this event loop is alive: a process that hangs or is paused loses it.

    What was confirmed last is counted on for a part of the lease from before it was asked for, by a clock that runs on
    while the process is paused: `may_act` is false from then on, whether the store can be asked or not. Writes are
    fenced by `epoch`, 0 when it has none.
    """

    def __init__(
        self,
        leases: Leases,
        holder: str,
        lease_s: float = LEASE_S,
        *,
        sole: bool = False,
        steady: Clock = steady_clock,
    ) -> None:
        self._leases = leases
        self._holder = holder
        self._lease_s = lease_s
        self._sole = sole
        self._steady = steady
        self._worker = Worker("lease")
        self._known = Lease()
        self._held = 0
        self._sure_until = 0.0
        self._takeovers = 0
        self._resuming: asyncio.Task[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self.epoch = 0

    def may_act(self) -> bool:
        """Whether this one leads for certain, at this moment."""
        return 0 < self._held == self.epoch and self._steady() < self._sure_until

    def standing(self) -> Leadership:
        """How it stands."""
        leads = self.may_act()
        leader = self._known.holder if leads or self._known.holder != self._holder else ""
        return Leadership(leads, leader, self._known.epoch, self._takeovers)

    async def start(self, loop: Loop) -> None:
        """Lead or stand by from now on. Raises StoreError, StoreBusyError."""
        await self.attempt(loop)
        self._task = asyncio.create_task(self._run(loop), name="lease")
        if (resuming := self._resuming) is not None:
            await asyncio.wait({resuming})
            if not resuming.cancelled():
                resuming.result()
        else:
            log.info("standing by", leader=self._known.holder, epoch=self._known.epoch)

    async def attempt(self, loop: Loop) -> None:
        """Renew the lease, or take it if it is free. Raises StoreError, StoreBusyError."""
        began = self._steady()
        if not self._held:
            self._known = await self._call(lambda: self._leases.take(self._holder, self._lease_s, sole=self._sole))
            if self._known.holder == self._holder:
                # it may be an earlier call that got it, which was given up waiting for
                self._sure_until = began + self._known.left_s - (1 - _SURE) * self._lease_s
                self._held, self._takeovers = self._known.epoch, self._takeovers + 1
                self._resuming = asyncio.create_task(loop.lead(self._enter), name="take over")
            return
        held = self._held
        try:
            await self._call(lambda: self._leases.renew(held, self._lease_s))
        except NotLeadingError as error:
            log.error("the lease is lost; standing by", epoch=held, why=str(error))
            await self._lose(loop)
        else:
            self._sure_until = began + _SURE * self._lease_s

    async def close(self) -> None:
        """Let others take over at once. Call it when nothing is under way any more."""
        await _end(self._task)
        await _end(self._resuming)
        if held := self._held:
            self._held = 0
            with contextlib.suppress(ControlPlaneError, TimeoutError):
                await self._worker.call(lambda: self._leases.release(held), _RELEASE_S)
        self._worker.close()

    def _enter(self) -> None:
        self.epoch = self._held
        log.info("leading", epoch=self.epoch, holder=self._holder)

    async def _lose(self, loop: Loop) -> None:
        self._held = 0
        self._known = Lease()
        await _end(self._resuming)
        await loop.stand_by()

    async def _run(self, loop: Loop) -> None:
        pause_s = self._pause_s()
        while True:
            await asyncio.sleep(pause_s)
            pause_s = await self._round(loop)

    async def _round(self, loop: Loop) -> float:
        """Ask once; gives the seconds until the next time. Never raises."""
        try:
            if await self._gave_up(loop):
                return 2 * self._lease_s / _RENEWALS  # whoever stands by asks at least once meanwhile
            await self.attempt(loop)
            return self._pause_s()
        except ControlPlaneError as error:
            log.warning("the lease was neither taken nor renewed", sure_s=self._sure_s(), error=str(error))
        except Exception:
            log.exception("the lease was neither taken nor renewed")
        return self._lease_s / _RENEWALS

    async def _gave_up(self, loop: Loop) -> bool:
        """Let go of a lease with which nothing can be begun, so that another may try. Whether it did."""
        if self._resuming is None or not self._resuming.done() or self._resuming.cancelled():
            return False
        error, self._resuming = self._resuming.exception(), None
        if error is None:
            return False
        log.error("took the lease but cannot go on from what the store holds; letting go", error=str(error))
        held = self._held
        await self._lose(loop)
        await self._call(lambda: self._leases.release(held))
        return True

    def _pause_s(self) -> float:
        """Who stands by asks again when the lease may have run out."""
        between_s = self._lease_s / _RENEWALS
        return between_s if self._held else max(_SOON_S, min(between_s, self._known.left_s))

    def _sure_s(self) -> float:
        return round(max(0.0, self._sure_until - self._steady()), 1)

    async def _call(self, work: Callable[[], T]) -> T:
        try:
            return await self._worker.call(work, self._lease_s / 2)
        except TimeoutError as error:
            raise StoreBusyError(f"the store told nothing of the lease: {error}") from None


async def _end(task: asyncio.Task[None] | None) -> None:
    if task is not None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

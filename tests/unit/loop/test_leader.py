"""Two control planes and one lease, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from controlplane.domain.errors import NotLeadingError, StoreBusyError, StoreError
from controlplane.domain.leader import Lease
from controlplane.loop.leader import Leader, own_name

LEASE_S = 10.0


class Row:
    """The lease in a database whose clock is the test's. While `away` it cannot be asked."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.lease, self.until = Lease(), 0.0
        self.away = False
        self.asked = 0

    def take(self, holder: str, lease_s: float, *, sole: bool = False) -> Lease:
        self._ask()
        if sole or self.until <= self.now:
            self.lease, self.until = Lease(holder, self.lease.epoch + 1), self.now + lease_s
        return Lease(self.lease.holder, self.lease.epoch, self.until - self.now)

    def renew(self, epoch: int, lease_s: float) -> None:
        self._ask()
        if epoch != self.lease.epoch or not self.lease.holder:
            raise NotLeadingError(f"{self.lease.holder} leads now")
        self.until = self.now + lease_s

    def release(self, epoch: int) -> None:
        self._ask()
        if epoch == self.lease.epoch:
            self.lease, self.until = Lease("", epoch), 0.0

    def _ask(self) -> None:
        self.asked += 1
        if self.away:
            raise StoreBusyError("the database is away")


class Told:
    """A loop that notes what it was told."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.error: Exception | None = None
        self.resuming = asyncio.Event()
        self.resuming.set()

    async def lead(self, enter: Callable[[], None]) -> None:
        await self.resuming.wait()
        enter()
        if self.error is not None:
            raise self.error
        self.said.append("lead")

    async def stand_by(self) -> None:
        self.said.append("stand by")


class Plane:
    """A control plane as far as leading goes; its steady clock can be of its own pace."""

    def __init__(self, row: Row, name: str) -> None:
        self.told = Told()
        self.leader = Leader(row, name, LEASE_S, steady=lambda: row.now)

    async def attempt(self) -> None:
        await self.leader.attempt(self.told)
        await asyncio.sleep(0)

    @property
    def leads(self) -> bool:
        return self.leader.may_act()


@pytest.fixture
def row() -> Row:
    return Row()


@asynccontextmanager
async def planes(row: Row) -> AsyncIterator[tuple[Plane, Plane]]:
    """The first leads, the second stands by."""
    a, b = Plane(row, "a"), Plane(row, "b")
    await a.attempt()
    await b.attempt()
    assert (a.leads, b.leads) == (True, False)
    yield a, b
    await a.leader.close()
    await b.leader.close()


async def test_the_second_stands_by_and_knows_who_leads(row: Row) -> None:
    async with planes(row) as (a, b):
        assert (a.told.said, b.told.said) == (["lead"], [])
        assert (a.leader.epoch, b.leader.epoch) == (1, 0)
        assert a.leader.standing().leader == b.leader.standing().leader == "a"
        assert (a.leader.standing().takeovers, b.leader.standing().takeovers) == (1, 0)


async def test_at_no_moment_two_may_act_whoever_is_heard_of_or_not(row: Row) -> None:
    async with planes(row) as (a, b):
        for step in range(400):
            row.now += 0.25
            if step % 10 == 0 and step % 80 < 40:
                await a.attempt()  # it is paused for ten seconds after each ten
            if step % 3 == 0:
                await b.attempt()
            assert not (a.leads and b.leads), f"after {row.now - 1000.0:g} s"
        assert b.leader.standing().takeovers >= 1


async def test_a_leader_that_died_is_followed_within_fifteen_seconds(row: Row) -> None:
    async with planes(row) as (_, b):
        died = row.now
        while not b.leads:
            row.now += b.leader._pause_s()
            await b.attempt()
        assert row.now - died <= LEASE_S + 0.5
        assert b.leader.epoch == 2


async def test_one_that_was_paused_may_not_act_when_it_wakes_and_stands_by_once_it_has_asked(row: Row) -> None:
    async with planes(row) as (a, b):
        row.now += 60.0
        assert not a.leads, "before it asked anybody"
        await b.attempt()
        await a.attempt()
        assert (a.told.said, a.leads, b.leads) == (["lead", "stand by"], False, True)
        await a.attempt()
        assert a.leader.standing().leader == "b"
        assert a.leader.epoch == 1, "what it still writes is fenced by the epoch that it had"


async def test_while_the_database_is_away_it_acts_no_more_and_goes_on_when_nobody_took_over(row: Row) -> None:
    async with planes(row) as (a, _):
        row.away = True
        row.now += 0.7 * LEASE_S
        with pytest.raises(StoreBusyError):
            await a.attempt()
        assert a.leader.may_act(), "two renewals may fail"
        row.now += 0.2 * LEASE_S
        assert not a.leader.standing().leads
        assert row.until > row.now, "before another may have it"
        row.away = False
        row.now += LEASE_S
        await a.attempt()
        assert (a.leads, a.leader.epoch, a.told.said) == (True, 1, ["lead"])


async def test_one_that_stops_lets_the_other_lead_at_once(row: Row) -> None:
    async with planes(row) as (a, b):
        await a.leader.close()
        await b.attempt()
        assert b.leads
        assert not a.leads


async def test_until_what_was_decided_before_has_ended_nothing_is_written_in_the_new_epoch(row: Row) -> None:
    async with planes(row) as (a, b):
        row.now += 60.0
        await b.attempt()
        await a.attempt()
        row.now += 60.0
        a.told.resuming.clear()  # a tick of the first epoch hangs
        await a.attempt()
        assert (row.lease.holder, row.lease.epoch) == ("a", 3)
        assert (a.leads, a.leader.epoch) == (False, 1)
        a.told.resuming.set()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert (a.leads, a.leader.epoch) == (True, 3)


async def test_one_that_cannot_go_on_from_the_store_says_so_at_its_start_and_lets_go(row: Row) -> None:
    a = Plane(row, "a")
    a.told.error = StoreError("its state cannot be read")
    with pytest.raises(StoreError, match="cannot be read"):
        await a.leader.start(a.told)
    await a.leader.close()
    assert row.lease.holder == ""


async def test_it_renews_by_itself_and_what_cannot_be_resumed_is_let_go_of_for_another(row: Row) -> None:
    a = Plane(row, "a")
    a.leader = Leader(row, "a", 0.2, steady=lambda: row.now)
    await a.leader.start(a.told)
    async with asyncio.timeout(30):
        while row.asked < 4:  # noqa: ASYNC110 - a real cadence, watched from outside
            await asyncio.sleep(0.01)
        assert (a.told.said, row.lease) == (["lead"], Lease("a", 1))
        row.lease, row.until = Lease("b", 2), row.now - 1  # b took it, and died
        a.told.error = StoreError("its state cannot be read")
        while row.lease.epoch < 4:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert a.told.said[:3] == ["lead", "stand by", "stand by"], "it tried, let go, and tried again"
    await a.leader.close()


async def test_one_that_cannot_go_on_from_the_store_leaves_the_lease_to_another_before_it_tries_again(row: Row) -> None:
    a, b = Plane(row, "a"), Plane(row, "b")
    a.told.error = StoreError("its state cannot be read")
    await a.attempt()
    await b.attempt()
    pause_s = await a.leader._round(a.told)
    assert row.lease.holder == "", "it does not take at once what it let go of"
    assert pause_s > b.leader._pause_s(), "the other asks sooner"
    await b.attempt()
    assert b.leads
    assert await a.leader._round(a.told) > 0.0
    assert a.leader.standing().leader == "b"
    await a.leader.close()
    await b.leader.close()


def test_each_process_has_a_name_of_its_own() -> None:
    assert own_name() != own_name()

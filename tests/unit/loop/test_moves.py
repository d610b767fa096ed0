"""The runner between discoveries and those who follow them: never inside a tick, many moves as one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from controlplane.domain.fleet import Fleet, Phase
from controlplane.loop.roster import Roster
from tests.discovery_fake import ToldDiscovery, member, workload
from tests.unit.loop.test_runner import Bench
from tests.unit.loop.worlds import FLEET, NOW

MODELS = tuple(replace(model, workloads=("w",)) for model in FLEET.models)
CONFIGURED = Fleet(FLEET.servers, MODELS, workloads=(workload(),))


class Moving(Bench):
    """A runner at a slow pace, so that what happens is by moves, and the discovery that it follows."""

    def __init__(self) -> None:
        self.discovery = ToldDiscovery(workload())
        super().__init__(scrape_s=60.0, decide_s=600.0, roster=Roster(CONFIGURED, [self.discovery]))

    @property
    def followed(self) -> list[set[str]]:
        """The servers of each fleet that was followed."""
        return [{server.name for server in fleet.servers} for fleet in self.collector.followed]


@pytest.fixture
async def moving() -> AsyncIterator[Moving]:
    made = Moving()
    yield made
    await made.runner.stop(0.5)
    made.thread.close()


async def test_who_is_there_at_the_start_is_in_the_first_round(moving: Moving) -> None:
    moving.discovery.find("w", [member("0")], NOW)
    await moving.start()
    assert moving.followed == [{"t0", "w/0"}]
    assert moving.collector.asked == [None], "one round, over all"
    assert moving.runner.fleet.server("w/0") is not None
    assert moving.actuator.fleet == moving.runner.fleet


async def test_who_comes_is_followed_and_read_at_once_and_phases_read_nothing(moving: Moving) -> None:
    await moving.start()
    moving.discovery.find("w", [member("0", Phase.STARTING)], NOW)
    await moving.until(lambda: moving.collector.asked[-1] == frozenset({"w/0"}))
    rounds = moving.collector.rounds
    moving.discovery.find("w", [member("0")], NOW)
    await moving.until(lambda: len(moving.followed) == 2)
    moving.discovery.find("w", [], NOW)
    await moving.until(lambda: len(moving.followed) == 3)
    assert moving.followed[-1] == {"t0"}
    assert moving.collector.rounds == rounds


async def test_another_pod_of_the_same_name_is_one_that_came(moving: Moving) -> None:
    moving.discovery.find("w", [member("0", uid="first")], NOW)
    await moving.start()
    moving.discovery.find("w", [member("0", uid="second")], NOW)
    await moving.until(lambda: moving.collector.asked[-1] == frozenset({"w/0"}))


async def test_moves_wait_for_the_end_of_a_tick_and_are_taken_in_as_one(moving: Moving) -> None:
    await moving.start()
    moving.tick.hold_s = 0.2
    moving.runner.nudge()
    await moving.until(lambda: moving.tick.most_running == 1)
    for count in range(1, 6):
        moving.discovery.find("w", [member(str(i)) for i in range(count)], NOW)
    await moving.until(lambda: bool(moving.followed))
    assert moving.tick.running == 0
    assert moving.followed == [{"t0", *(f"w/{i}" for i in range(5))}]
    assert moving.runner.picture().health.skipped == 0


async def test_a_move_that_changes_nobody_is_no_move(moving: Moving) -> None:
    moving.discovery.find("w", [member("0")], NOW)
    await moving.start()
    moving.discovery.find("w", [member("0")], NOW + 1)
    moving.discovery.lose_sight("w", "away")
    assert await moving.runner.follow() == frozenset()
    assert len(moving.followed) == 1


async def test_a_move_that_fails_is_made_up_for_by_the_next(moving: Moving, monkeypatch: pytest.MonkeyPatch) -> None:
    await moving.start()
    working = moving.collector.follow

    def broken(fleet: Fleet, now: float) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr(moving.collector, "follow", broken)
    moving.discovery.find("w", [member("0")], NOW)
    await moving.until(lambda: moving.runner.fleet.server("w/0") is not None)
    monkeypatch.setattr(moving.collector, "follow", working)
    moving.discovery.find("w", [member("0")], NOW)
    await moving.until(lambda: moving.followed == [{"t0", "w/0"}])


async def test_the_end_ends_the_discoveries(moving: Moving) -> None:
    await moving.start()
    await moving.runner.stop(0.5)
    assert moving.discovery.closed
    assert moving.collector.closed

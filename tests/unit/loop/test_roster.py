"""The present fleet: known members stay while they cannot be asked for, and nobody is invented."""

from __future__ import annotations

from controlplane.domain.fleet import Fleet, Mode, ModelSpec, Phase, ServerKind, ServerSpec
from controlplane.domain.signal import Known, Missing, Stale
from controlplane.loop.roster import Roster
from tests.discovery_fake import ToldDiscovery, member, workload

STATIC = ServerSpec("t0", ServerKind.TRITON, "http://x", "http://x", "x:1")
BOTH = ModelSpec("both", "both", ("t0",), Mode.ACT, workloads=("w",))
ONLY = ModelSpec("only", "only", (), Mode.ACT, workloads=("w",))
APART = ModelSpec("apart", "apart", ("t0",), Mode.ACT)
FLEET = Fleet((STATIC,), (BOTH, ONLY, APART), workloads=(workload(),))
NOW = 1000.0


def told() -> tuple[ToldDiscovery, Roster]:
    discovery = ToldDiscovery(workload())
    return discovery, Roster(FLEET, [discovery])


def names(roster: Roster) -> list[str]:
    return [server.name for server in roster.fleet.servers]


def test_members_join_the_servers_and_what_runs_on_their_workload() -> None:
    discovery, roster = told()
    discovery.find("w", [member("b"), member("a")], NOW)
    roster.update(NOW)
    assert names(roster) == ["t0", "w/a", "w/b"]
    runs_on = {model.name: model.runs_on for model in roster.fleet.models}
    assert runs_on == {"both": ("t0", "w/a", "w/b"), "only": ("w/a", "w/b"), "apart": ("t0",)}
    assert roster.fleet.members["w/a"].workload == "w"


def test_a_member_that_left_is_gone_and_a_phase_is_a_move() -> None:
    discovery, roster = told()
    discovery.find("w", [member("a"), member("b")], NOW)
    roster.update(NOW)
    discovery.find("w", [member("b", Phase.TERMINATING)], NOW)
    roster.update(NOW)
    assert names(roster) == ["t0", "w/b"]
    assert roster.fleet.members["w/b"].phase is Phase.TERMINATING
    discovery.find("w", [], NOW)
    roster.update(NOW)
    assert names(roster) == ["t0"]
    assert roster.workloads(NOW)["w"] == Known((), NOW), "none is known to be there, which is not missing"


def test_before_the_first_listing_nobody_is_there_and_it_is_said_why() -> None:
    discovery, roster = told()
    discovery.fail("w", "the API server refuses: 403")
    roster.update(NOW)
    assert roster.fleet.model("only") == ONLY
    assert roster.workloads(NOW) == {"w": Missing("the API server refuses: 403")}
    assert roster.fleet.unlisted == {"w"}
    discovery.find("w", [], NOW)
    roster.update(NOW)
    assert roster.fleet.unlisted == frozenset()


def test_members_stay_while_nobody_can_be_asked() -> None:
    discovery, roster = told()
    discovery.find("w", [member("a")], NOW)
    roster.update(NOW)
    discovery.lose_sight("w", "connection refused")
    roster.update(NOW + 100)
    assert isinstance(roster.workloads(NOW + 100)["w"], Stale)
    discovery.fail("w", "connection refused")
    roster.update(NOW + 200)
    assert names(roster) == ["t0", "w/a"]


def test_a_workload_that_nothing_discovers_is_missing() -> None:
    assert Roster(FLEET).workloads(NOW) == {"w": Missing("nothing discovers it")}


async def test_discoveries_are_started_and_closed() -> None:
    discovery, roster = told()
    moves: list[int] = []
    await roster.start(lambda: moves.append(1))
    discovery.find("w", [member("a")], NOW)
    await roster.close()
    assert (moves, discovery.started, discovery.closed) == ([1], True, True)

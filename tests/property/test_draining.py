"""Draining, whatever is wanted, holds, dies, fails and is forgotten: nobody goes too soon, and nobody stays out."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.domain.state import WorkloadState
from tests.unit.decide.draining import DRAIN, TICK_S, Fleet, Replica, spec
from tests.unit.decide.replicas import decided, wanted


@dataclass(frozen=True)
class Moment:
    """Between two ticks: what is wanted from then on (-1: as before), and what befalls the replica of that place."""

    wanted: int | None
    holds: tuple[int | None, ...]
    place: int
    what: str
    fails: bool


moments = st.builds(
    Moment,
    wanted=st.sampled_from([-1, -1, -1, -1, None, 0, 1, 2, 3, 5]),
    holds=st.lists(st.sampled_from([0, 0, 3, None]), min_size=6, max_size=6).map(tuple),
    place=st.integers(0, 5),
    what=st.sampled_from(["nothing", "nothing", "dies", "sickens", "recovers", "forgotten"]),
    fails=st.sampled_from([False, False, False, True]),
)


def befall(fleet: Fleet, moment: Moment) -> None:
    fleet.wanted = fleet.wanted if moment.wanted == -1 else moment.wanted
    for replica, holds in zip(fleet.replicas, moment.holds, strict=False):
        replica.holds = holds if replica.ready else None
        if fleet.now - replica.born_at == 2 * TICK_S:  # it has started
            replica.ready = True
    if moment.place >= len(fleet.replicas):
        return
    one = fleet.replicas[moment.place]
    if moment.what == "dies":
        fleet.replicas.remove(one)
        fleet.start()
    elif moment.what in ("sickens", "recovers"):
        one.ready = moment.what == "recovers"
    elif moment.what == "forgotten":
        fleet.state, fleet.results = WorkloadState(), ()


def may_go(fleet: Fleet, one: Replica, seen_out: dict[str, float]) -> bool:
    """Whether it is out of traffic long enough, and known to hold nothing or out of time."""
    if not one.ready:
        return True
    since = seen_out.get(one.name)
    if since is None or fleet.now - since < DRAIN.settle_s:
        return False
    return one.holds == 0 or fleet.now - since >= DRAIN.timeout_s


@settings(deadline=None, max_examples=50)
@given(st.sampled_from(["Deployment", "StatefulSet"]), st.integers(1, 4), st.lists(moments, max_size=14))
def test_nobody_goes_too_soon_and_nobody_stays_out_of_traffic(kind: str, count: int, told: list[Moment]) -> None:
    fleet = Fleet.serving(count, of=spec(kind))
    seen_out: dict[str, float] = {}
    for moment in told:
        befall(fleet, moment)
        seen_out = {name: seen_out.get(name, fleet.now) for name in fleet.out}
        wish, _ = decided(fleet.pool(), fleet.state, fleet.now)
        there, gone_before = len(fleet.replicas), len(fleet.gone)
        fleet.tick(fails=moment.fails, seconds=0.0)
        assert all(may_go(fleet, one, seen_out) for one in fleet.gone[gone_before:])
        if wanted(wish) >= there and not moment.fails:
            assert fleet.out == [], "nobody wants them gone"
        fleet.now += TICK_S
    # the wish stays, and what runs ends: it is finished, or undone
    for replica in fleet.replicas:
        replica.ready, replica.holds = True, 0
    fleet.wanted = 1 if fleet.wanted is None else fleet.wanted
    for _ in range(60):
        fleet.tick()
        for replica in fleet.replicas:
            replica.ready, replica.holds = True, 0
    assert (len(fleet.replicas), fleet.out) == (fleet.wanted, [])

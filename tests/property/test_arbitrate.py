"""GPUs that do not suffice for all: who gets them never depends on who stands behind in the line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from controlplane.decide.arbitrate import Grant, Wish, arbitrate, line
from controlplane.domain.fleet import Quota

gains = st.lists(st.floats(0, 1), max_size=6).map(lambda values: tuple(sorted(values, reverse=True)))
wishes = st.builds(
    Wish,
    workload=st.just(""),
    current=st.integers(0, 6),
    wanted=st.integers(0, 6),
    floor=st.integers(0, 2),
    told=st.sampled_from((None, None, None, 0, 3)),
    gpus_per_replica=st.sampled_from((1, 1, 2, 4)),
    priority=st.integers(0, 2),
    gains=gains,
    gpu=st.sampled_from(("H100", "L4")),
)
fleets = st.lists(wishes, max_size=5).map(lambda many: [replace(w, workload=f"w{i}") for i, w in enumerate(many)])
quotas = st.builds(
    Quota,
    total=st.one_of(st.none(), st.integers(0, 30)),
    by_gpu=st.dictionaries(st.sampled_from(("H100", "L4")), st.integers(0, 20)),
)


def gpus(fleet: Sequence[Wish], grants: Sequence[Grant], gpu: str = "") -> int:
    return sum(w.gpus_per_replica * g.granted for w, g in zip(fleet, grants, strict=True) if gpu in ("", w.gpu))


@given(fleets, quotas)
def test_the_sum_is_within_the_quota_and_nobody_gets_more_than_wished(fleet: list[Wish], quota: Quota) -> None:
    grants = arbitrate(fleet, quota)
    assert quota.total is None or gpus(fleet, grants) <= quota.total
    assert all(gpus(fleet, grants, gpu) <= most for gpu, most in quota.by_gpu.items())
    for wish, grant in zip(fleet, grants, strict=True):
        assert grant.workload == wish.workload
        assert 0 <= grant.granted <= wish.need
        assert (grant.cut is None) == (grant.granted == wish.need)
        if grant.cut is not None:
            assert grant.cut.numbers["short_gpus"] == (wish.need - grant.granted) * wish.gpus_per_replica
    assert arbitrate(fleet, quota) == grants


@given(fleets, quotas)
def test_a_lower_priority_has_above_its_floor_only_what_is_too_little_for_a_higher_one(
    fleet: list[Wish], quota: Quota
) -> None:
    grants = dict(zip((wish.workload for wish in fleet), arbitrate(fleet, quota), strict=True))
    for high in fleet:
        if grants[high.workload].cut is None:
            continue
        lower = [w for w in fleet if w.priority < high.priority and w.told is None]
        above = {w: (grants[w.workload].granted - w.floor) * w.gpus_per_replica for w in lower}
        left = []
        if quota.total is not None:
            free = quota.total - gpus(fleet, list(grants.values()))
            left.append(free + sum(max(0, count) for count in above.values()))
        if high.gpu in quota.by_gpu:
            free = quota.by_gpu[high.gpu] - gpus(fleet, list(grants.values()), high.gpu)
            left.append(free + sum(max(0, count) for w, count in above.items() if w.gpu == high.gpu))
        assert min(left) < high.gpus_per_replica


@given(fleets.map(lambda fleet: [replace(w, gpus_per_replica=1, gpu="") for w in fleet]), st.integers(0, 30))
def test_of_single_gpus_more_give_nobody_less(fleet: list[Wish], total: int) -> None:
    before, after = arbitrate(fleet, Quota(total)), arbitrate(fleet, Quota(total + 1))
    assert all(more.granted >= less.granted for less, more in zip(before, after, strict=True))


@given(fleets, st.integers(0, 30), st.integers(1, 5))
def test_more_gpus_take_a_replica_from_somebody_only_for_one_further_ahead(
    fleet: list[Wish], total: int, more: int
) -> None:
    """The law for replicas of several GPUs: where there is enough for a large one, small ones may lose theirs to it."""
    before, after = (
        Counter({grant.workload: grant.granted for grant in arbitrate(fleet, Quota(quota))})
        for quota in (total, total + more)
    )
    seen: Counter[str] = Counter()
    for wish in line(fleet):
        seen[wish.workload] += 1
        had, has = (seen[wish.workload] <= granted[wish.workload] for granted in (before, after))
        if had != has:
            assert has, "the first in the line that is served otherwise is served better"
            break


@given(fleets, quotas)
def test_a_class_shrinks_before_one_of_it_goes(fleet: list[Wish], quota: Quota) -> None:
    grants = {grant.workload: grant.granted for grant in arbitrate(fleet, quota)}
    for gone in fleet:
        runs = gone.current > 0 and gone.need > 0 and gone.told is None and grants[gone.workload] == 0
        if not runs or gone.gpus_per_replica > 1:
            continue
        for other in fleet:
            same = other.priority == gone.priority and other.told is None and other.gpu == gone.gpu
            assert not same or grants[other.workload] <= max(1, other.floor)

"""What wins over random workloads: the quota, then a person's override, then a freeze, then bounds, then the policy."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.decide.policy import Policy
from controlplane.decide.replicas.pool import Pool
from controlplane.decide.replicas.quota import under_quota
from controlplane.decide.replicas.scaled import Scaled
from controlplane.domain.decision import ReasonCode
from controlplane.domain.fleet import Quota
from controlplane.domain.instructions import Freeze, FreezeDirection
from controlplane.domain.state import WorkloadState
from tests.property.test_replicas import pools, states
from tests.unit.decide.replicas import NOW, decided, wanted

POLICY = Policy()
FREEZE = Freeze("f", "", FreezeDirection.ALL, "eve", "incident", NOW - 60.0, NOW + 600.0)


@st.composite
def workloads(draw: st.DrawFn) -> list[Scaled]:
    """Decided each on its own: some by a person, some under a freeze, some of which nothing is seen."""
    found = []
    for n in range(draw(st.integers(1, 3))):
        pool = draw(pools())
        model = replace(pool.models[0], priority=draw(st.integers(0, 2)))
        spec = replace(pool.spec, name=f"w{n}", gpus_per_replica=draw(st.sampled_from([1, 1, 1, 4])))
        pool = replace(pool, spec=spec, models=(model,), freezes=draw(st.sampled_from([(), (), (FREEZE,)])))
        before = draw(states)
        decision, state = decided(pool, before)
        told = draw(st.sampled_from([False, False, True]))
        found.append(Scaled(pool, replace(decision, by_person=told), state, before))
    return found


quotas = st.integers(0, 40).map(Quota)


@settings(deadline=None, max_examples=30)
@given(workloads(), quotas)
def test_the_quota_wins_over_everything_and_says_so(fleet: list[Scaled], quota: Quota) -> None:
    after = under_quota(fleet, (), quota, POLICY, NOW)
    assert quota.total is not None
    assert sum(one.replicas * one.pool.spec.gpus_per_replica for one in after) <= quota.total
    for before, one in zip(fleet, after, strict=True):
        assert (one.replicas < before.replicas) == (one.decision.binding is ReasonCode.QUOTA)
        assert one is before or one.state.asked == one.replicas < before.replicas
    assert under_quota(fleet, (), quota, POLICY, NOW) == after
    assert under_quota(fleet, (), Quota(), POLICY, NOW) == fleet


@settings(deadline=None, max_examples=30)
@given(workloads().map(lambda fleet: [_of_one_gpu(one) for one in fleet]), quotas)
def test_under_the_quota_override_freeze_bounds_and_policy_follow_in_this_order(
    fleet: list[Scaled], quota: Quota
) -> None:
    """Who lacks a replica of one rank leaves nothing to the lower ranks of anybody."""
    after = under_quota(fleet, (), quota, POLICY, NOW)
    for before, one in zip(fleet, after, strict=True):
        for low, other in zip(fleet, after, strict=True):
            for rank in range(3):
                if one.replicas < _through(before, rank):
                    assert other.replicas <= _through(low, rank)


@settings(deadline=None, max_examples=30)
@given(pools(), states)
def test_a_freeze_wins_over_bounds_and_these_over_the_policy(pool: Pool, state: WorkloadState) -> None:
    decision, _ = decided(replace(pool, freezes=(FREEZE,)), state)
    assert wanted(decision) == max(pool.present, state.asked or 0)
    free, _ = decided(pool, state)
    assert pool.bounds.least <= wanted(free) <= pool.bounds.most


def _of_one_gpu(one: Scaled) -> Scaled:
    return replace(one, pool=replace(one.pool, spec=replace(one.pool.spec, gpus_per_replica=1)))


def _through(one: Scaled, rank: int) -> int:
    """Replicas that it is to have by an override (rank 0), by a freeze or for want of data (1), by its bounds (2)."""
    told = one.replicas if one.decision.by_person else 0
    frozen = bool(one.pool.freezes) or len(one.pool.told(NOW, POLICY.data_max_age_s)) < len(one.pool.serving)
    held = min(one.pool.present, one.replicas) if frozen else 0
    floor = min(one.pool.bounds.least, one.replicas)
    return max((told, held, floor)[: rank + 1])

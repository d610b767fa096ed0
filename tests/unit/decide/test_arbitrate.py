"""Scarce GPUs: overrides, floors, priorities, then what a replica brings."""

from __future__ import annotations

from controlplane.decide.arbitrate import Taken, Wish, arbitrate
from controlplane.decide.explain import reason_text
from controlplane.domain.fleet import Quota


def granted(wishes: list[Wish], total: int | None = None, **by_gpu: int) -> list[int]:
    return [grant.granted for grant in arbitrate(wishes, Quota(total, by_gpu))]


def test_everybody_gets_what_is_wanted_while_gpus_suffice() -> None:
    assert granted([Wish("a", 1, 3), Wish("b", 1, 2, floor=4)], 7) == [3, 4]
    assert granted([Wish("a", 1, 3), Wish("b", 1, 2)]) == [3, 2]


def test_the_higher_priority_first() -> None:
    assert granted([Wish("low", 3, 3), Wish("high", 1, 4, priority=1)], 5) == [1, 4]


def test_floors_before_priorities() -> None:
    assert granted([Wish("low", 0, 3, floor=2), Wish("high", 4, 4, priority=1)], 5) == [2, 3]


def test_what_a_person_said_before_floors() -> None:
    assert granted([Wish("a", 2, 2, floor=2, priority=9), Wish("b", 0, 1, told=4)], 5) == [1, 4]
    assert granted([Wish("a", 5, 5, told=1), Wish("b", 0, 9)], 5) == [1, 4]


def test_inside_a_class_by_the_gain_of_a_gpu() -> None:
    steep = Wish("steep", 0, 3, gains=(0.5, 0.3, 0.2))
    flat = Wish("flat", 0, 3, gains=(0.6, 0.1, 0.1))
    assert granted([steep, flat], 3) == [2, 1]
    large = Wish("large", 0, 3, gains=(0.8, 0.8, 0.8), gpus_per_replica=4)
    assert granted([large, flat], 6) == [1, 2]


def test_the_last_replica_that_runs_stays_while_another_can_shrink() -> None:
    small = Wish("small", 1, 1, gains=(0.01,))
    assert granted([small, Wish("great", 4, 4, gains=(0.4, 0.3, 0.2, 0.1))], 4) == [1, 3]
    assert granted([Wish("new", 0, 1, gains=(0.01,)), Wish("great", 4, 4, gains=(0.4, 0.3, 0.2, 0.1))], 4) == [0, 4]


def test_only_twice_the_gain_moves_a_replica_that_runs() -> None:
    settled = Wish("settled", 2, 2, gains=(0.5, 0.20))
    assert granted([settled, Wish("other", 1, 2, gains=(0.5, 0.38))], 3) == [2, 1]
    assert granted([settled, Wish("other", 1, 2, gains=(0.5, 0.42))], 3) == [1, 2]


def test_what_runs_and_is_held_stays_before_floors_and_priorities() -> None:
    frozen = Wish("frozen", 3, 3, held=3)
    assert granted([frozen, Wish("high", 0, 4, floor=1, priority=9)], 3) == [3, 0]
    assert granted([frozen, Wish("told", 0, 1, told=1)], 3) == [2, 1], "an override stands before a freeze"
    assert granted([frozen, Wish("high", 1, 1)], 2) == [2, 0], "and the quota before all"


def test_what_others_have_is_gone_before_the_line_begins() -> None:
    wishes = [Wish("a", 2, 3, gpu="H100")]
    assert arbitrate(wishes, Quota(6), [Taken("other", 4)])[0].granted == 2
    assert arbitrate(wishes, Quota(6, {"H100": 6}), [Taken("other", 4, "L4")])[0].granted == 2
    assert arbitrate(wishes, Quota(None, {"H100": 3}), [Taken("other", 4, "L4")])[0].granted == 3
    assert arbitrate(wishes, Quota(2), [Taken("other", 4)])[0].granted == 0


def test_each_type_of_gpu_has_a_quota_of_its_own_and_all_may_have_one() -> None:
    wishes = [Wish("a", 0, 3, gpu="H100"), Wish("b", 0, 3, gpu="L4"), Wish("c", 0, 3, gpu="A10")]
    assert granted(wishes, H100=1, L4=2) == [1, 2, 3]
    assert granted(wishes, 4, H100=1) == [1, 2, 1]


def test_what_is_too_little_for_a_large_replica_serves_a_small_one() -> None:
    assert granted([Wish("large", 1, 3, gpus_per_replica=4, priority=1), Wish("small", 3, 3)], 6) == [1, 2]


def test_a_cut_tells_what_is_missing() -> None:
    (grant,) = arbitrate([Wish("a", 1, 3, gpus_per_replica=2)], Quota(3))
    assert grant.cut is not None
    assert reason_text(grant.cut) == (
        "3 replicas wanted, 1 granted: the quota is 3 GPUs of all types (a 2), 4 more are needed"
    )
    wishes = [Wish("a", 1, 3, gpu="L4"), Wish("b", 1, 1, gpu="L4", priority=1), Wish("c", 1, 1, gpu="H100")]
    cut = arbitrate(wishes, Quota(9, {"L4": 3}), [Taken("d", 1, "L4")])[0].cut
    assert cut is not None
    assert (
        reason_text(cut) == "3 replicas wanted, 1 granted: the quota is 3 GPUs of L4 (a 1, b 1, d 1), 2 more are needed"
    )

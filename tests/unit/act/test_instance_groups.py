from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.domain.instance_groups import gpu_indices, instance_step, total_instances, with_total

# as a real server gives it: GET /v2/models/m/config
CPU: dict[str, Any] = {
    "name": "m_0",
    "kind": "KIND_CPU",
    "count": 1,
    "gpus": [],
    "secondary_devices": [],
    "profile": [],
    "passive": False,
    "host_policy": "",
}


def gpu(count: int, *gpus: int) -> dict[str, Any]:
    return {**CPU, "kind": "KIND_GPU", "count": count, "gpus": list(gpus)}


def config(*groups: dict[str, Any]) -> dict[str, Any]:
    return {"name": "m", "backend": "python", "max_batch_size": 8, "instance_group": list(groups)}


def counts(of: dict[str, Any]) -> list[int]:
    return [group["count"] for group in of["instance_group"]]


def test_count_is_per_listed_gpu_but_not_on_cpu() -> None:
    assert total_instances(config(CPU)) == 1
    assert total_instances(config(gpu(3, 0, 1))) == 6
    assert total_instances(config(gpu(3, 0, 1), {**CPU, "count": 2})) == 8
    assert total_instances(config({**CPU, "kind": "KIND_MODEL", "count": 2, "gpus": [0, 1]})) == 2


def test_without_a_group_a_model_has_one_instance() -> None:
    assert total_instances({"name": "m"}) == 1
    assert total_instances(with_total({"name": "m"}, 3)) == 3


def test_passive_groups_are_neither_counted_nor_changed() -> None:
    before = config({**CPU, "count": 5, "passive": True}, CPU)
    assert total_instances(before) == 1
    assert counts(with_total(before, 4)) == [5, 4]
    only_passive = config({**CPU, "passive": True})
    assert with_total(only_passive, 4) == only_passive
    assert total_instances(only_passive) == 0


def test_nothing_but_counts_is_changed_and_the_given_configuration_is_left_alone() -> None:
    before = config(gpu(1, 0), CPU)
    after = with_total(before, 5)
    assert counts(before) == [1, 1]
    assert counts(after) == [3, 2]
    for old, new in zip(before["instance_group"], after["instance_group"], strict=True):
        assert {**old, "count": 0} == {**new, "count": 0}
    assert {**after, "instance_group": 0} == {**before, "instance_group": 0}


def test_a_total_between_two_steps_is_rounded_up() -> None:
    before = config(gpu(1, 0, 1))
    assert instance_step(before) == 2
    assert counts(with_total(before, 3)) == [2]
    assert total_instances(with_total(before, 3)) == 4


def test_groups_of_different_width_reach_an_exact_total_where_they_can() -> None:
    before = config(gpu(1, 0, 1), gpu(1, 2))
    assert instance_step(before) == 1
    assert counts(with_total(before, 6)) == [2, 2]
    assert total_instances(with_total(before, 7)) == 7


def test_no_group_goes_to_zero() -> None:
    assert counts(with_total(config(gpu(4, 0), gpu(4, 1)), 1)) == [1, 1]
    assert counts(with_total(config(CPU), 0)) == [1]


def test_gpus_of_all_active_groups_are_listed_once() -> None:
    assert gpu_indices(config(gpu(1, 2, 0), gpu(1, 0), {**gpu(1, 5), "passive": True}, CPU)) == (0, 2)
    assert gpu_indices(config(CPU)) == ()


@given(widths=st.lists(st.integers(1, 8), min_size=1, max_size=4), total=st.integers(0, 100))
def test_the_total_is_never_less_than_asked_and_less_than_one_step_more(widths: list[int], total: int) -> None:
    before = config(*(gpu(1, *range(width)) for width in widths))
    after = with_total(before, total)
    assert min(counts(after)) >= 1
    asked = max(total, sum(widths))
    assert asked <= total_instances(after) < asked + instance_step(before)


@given(groups=st.integers(1, 6), width=st.integers(1, 4), total=st.integers(0, 100))
def test_equal_groups_differ_by_one_at_most(groups: int, width: int, total: int) -> None:
    after = counts(with_total(config(*(gpu(1, *range(width)) for _ in range(groups))), total))
    assert max(after) - min(after) <= 1


@pytest.mark.parametrize("total", [1, 3, 17])
def test_setting_a_total_again_changes_nothing(total: int) -> None:
    once = with_total(config(gpu(1, 0), CPU), total)
    assert with_total(once, total) == once

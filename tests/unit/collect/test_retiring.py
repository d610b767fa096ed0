from __future__ import annotations

from controlplane.collect.triton.retiring import RETIRES_S, Retiring


def test_instances_that_were_taken_away_may_execute_for_a_while() -> None:
    retiring = Retiring()
    assert retiring.executing(0, 4, reloaded=False) == 4
    assert retiring.executing(5, 1, reloaded=False) == 4
    assert retiring.executing(10, 3, reloaded=False) == 6, "new ones work beside those that leave"
    assert retiring.executing(5 + RETIRES_S, 3, reloaded=False) == 3


def test_a_hot_reload_has_the_old_instances_end_beside_the_new_ones() -> None:
    retiring = Retiring()
    retiring.executing(0, 2, reloaded=False)
    assert retiring.executing(5, 2, reloaded=True) == 4
    assert retiring.executing(5 + RETIRES_S, 2, reloaded=False) == 2

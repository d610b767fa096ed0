"""Mixes of variants by example."""

from __future__ import annotations

import pytest

from controlplane.decide.variants import Step, Variant, mix

LARGE = Variant("h100", 10.0, 4.0, 240.0, 0, 8, 0)
SMALL = Variant("l4", 2.0, 1.0, 60.0, 0, 20, 0)


def test_the_cheaper_per_capacity_holds_most_and_the_smaller_one_the_rest() -> None:
    found = mix([LARGE, SMALL], 23.0, 3600.0)
    assert found.replicas == (2, 2)
    assert found.price_per_h == 10.0
    assert found.capacity_per_s == 24.0
    assert [step.variant for step in found.steps] == ["h100", "l4"]


def test_a_switch_must_be_paid_back_within_the_dwell() -> None:
    # 5 small ones cost 5 an hour, one large one 4 an hour and 4 * 240 s once
    running = [LARGE, Variant("l4", 2.0, 1.0, 60.0, 0, 20, 5)]
    assert mix(running, 10.0, 900.0).steps == ()
    assert mix(running, 10.0, 1200.0).steps == (Step("h100", 0, 1), Step("l4", 5, 0))


def test_where_a_switch_costs_and_saves_nothing_none_is_made() -> None:
    alike = [Variant("a", 2.0, 1.0, 0.0, 0, 9, 0), Variant("b", 2.0, 1.0, 0.0, 0, 9, 3)]
    assert mix(alike, 6.0, 3600.0).steps == ()
    assert mix(alike[::-1], 6.0, 3600.0).steps == ()
    more = [Variant("more", 2.5, 1.0, 0.0, 0, 9, 0), *alike, Variant("last", 2.0, 1.0, 0.0, 0, 9, 1)]
    assert mix(more, 8.0, 3600.0).steps == ()


def test_in_a_hurry_what_starts_fastest() -> None:
    found = mix([LARGE, SMALL], 9.0, 3600.0, urgent=True)
    assert found.steps == (Step("l4", 0, 5),)


def test_what_ends_first_is_the_dearest_for_what_it_holds() -> None:
    many = [Variant("cheap", 3.0, 1.0, 60.0, 0, 9, 2), Variant("dear", 3.0, 2.0, 60.0, 0, 9, 2)]
    assert mix(many, 6.0, 3600.0).steps == (Step("dear", 2, 0),)
    assert [step.variant for step in mix(many, 0.0, 3600.0).steps] == ["dear", "cheap"]


def test_a_variant_of_unknown_capacity_stays_and_holds_nothing() -> None:
    found = mix([Variant("new", None, 1.0, 60.0, 0, 9, 3), SMALL], 4.0, 3600.0)
    assert found.replicas == (3, 2)


def test_what_nothing_holds_gets_everything_and_is_told() -> None:
    found = mix([LARGE, SMALL], 150.0, 3600.0)
    assert found.replicas == (8, 20)
    assert found.short_per_s == pytest.approx(30.0)

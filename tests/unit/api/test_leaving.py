"""Which servers a gateway that routes by model is told to drop."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controlplane.api.views.leaving import leaving_view
from controlplane.domain.decision import ReasonCode
from controlplane.domain.errors import TargetUnreachableError
from controlplane.domain.fleet import Mode
from controlplane.domain.instructions import Override, OverrideKind
from controlplane.domain.picture import Picture
from controlplane.domain.signal import Missing
from tests.unit.decide.placed_world import EDGE, NOW, PlacedWorld, a_model

PIN = Override("o", "a", OverrideKind.LOADED, "me", "by hand", NOW - 1, NOW + 3600, server="t1")


def picture(world: PlacedWorld) -> Picture:
    return Picture(
        world.now, world.fleet, world.snapshot().reading, decisions=world.decisions, placements={EDGE: world.plan}
    )


def moving(mode: Mode = Mode.ACT) -> PlacedWorld:
    """A world in which a copy of `a` is to leave t0, which the gateway still routes to."""
    models = [replace(a_model("a", 2, mode=mode), served_name="a-served"), a_model("b", 2, mode=mode)]
    world = PlacedWorld({"t0": 4, "t1": 4}, models, t0=("a", "b"))
    world.obeys = False
    world.overrides = (PIN,)
    world.run(10)
    return world


def test_a_server_that_a_model_is_to_leave_is_told_by_the_models_name_there() -> None:
    world = moving()
    assert world.of("a", "t0").binding is ReasonCode.ROUTED
    assert leaving_view(picture(world)) == {"a-served": ["t0"]}
    world.obeys = True
    world.run(5)
    assert leaving_view(picture(world)) == {}


def test_what_is_only_recommended_changes_no_route() -> None:
    assert leaving_view(picture(moving(Mode.RECOMMEND))) == {}


def test_it_is_not_known_before_the_first_placement() -> None:
    world = moving()
    world.plan = Missing("not asked yet")
    with pytest.raises(TargetUnreachableError, match="not asked yet"):
        leaving_view(picture(world))

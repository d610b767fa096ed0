from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.config.mig.boards import boards
from controlplane.decide.mig import WHOLE, Gpu, Place, Slice
from controlplane.decide.mig.disturbance import Cutter, Disturbance, disturbance
from controlplane.decide.mig.layouts import Layout

BOARD = boards()["h100-80gb"]
LEFT, RIGHT = Slice("3g.40gb", 0), Slice("3g.40gb", 4)
SMALL = Slice("1g.10gb", 4)
NODE = (
    Gpu("a", BOARD, (LEFT, RIGHT), models={LEFT: ("bert",), RIGHT: ("bert", "vit")}),
    Gpu("b", BOARD, (SMALL,), models={SMALL: ("llama",)}),
)


def test_an_agent_disturbs_only_the_slices_that_go() -> None:
    told = disturbance(Cutter.AGENT, NODE, {"a": (LEFT, SMALL)})
    assert (told.slices, told.copies) == (frozenset({Place("a", RIGHT)}), 2)
    assert told.seconds == pytest.approx(0.35 + 0.63)


def test_the_operator_disturbs_all_gpus_of_the_node() -> None:
    told = disturbance(Cutter.OPERATOR, NODE, {"a": (LEFT, SMALL)})
    assert told == Disturbance(frozenset({Place("a", LEFT), Place("a", RIGHT), Place("b", SMALL)}), 4, 69.0)


def test_slices_at_other_places_are_a_change_to_an_agent_alone() -> None:
    moved = {"b": (Slice("1g.10gb", 0),)}
    assert disturbance(Cutter.OPERATOR, NODE, moved) == Disturbance(frozenset(), 0, 0.0)
    assert disturbance(Cutter.AGENT, NODE, moved).copies == 1


def test_turning_mig_off_takes_its_time_too() -> None:
    assert disturbance(Cutter.AGENT, NODE, {"b": (Slice(WHOLE, 0),)}).seconds == pytest.approx(0.63 + 6.5)


LAYOUTS: st.SearchStrategy[Layout] = st.sampled_from([(), (LEFT,), (RIGHT,), (LEFT, RIGHT), (SMALL,), (LEFT, SMALL)])


@given(st.dictionaries(st.sampled_from(["a", "b"]), LAYOUTS))
def test_what_stays_costs_nothing_and_the_operator_never_disturbs_less_of_what_counts_change(
    layouts: dict[str, Layout],
) -> None:
    agent, operator = (disturbance(cutter, NODE, layouts) for cutter in (Cutter.AGENT, Cutter.OPERATOR))
    same = all(gpu.layout == layouts.get(gpu.uuid, gpu.layout) for gpu in NODE)
    assert (agent.seconds == 0.0) is same
    assert not operator.seconds or agent.slices <= operator.slices

"""Steps to a layout, without NVML: the fewest, and in an order that always has room."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.act.mig.documents import (
    layout_document,
    layout_of_document,
    outcome_document,
    outcome_of_document,
)
from controlplane.agent.mig.geometry import piece_of
from controlplane.agent.mig.nvml import Compute, Instance, NvmlProfile, Reading
from controlplane.agent.mig.steps import OFF, Planned, staying, steps
from controlplane.config.mig.boards import boards
from controlplane.decide.mig import WHOLE, Board, Slice
from controlplane.decide.mig.layouts import fits
from controlplane.domain.mig import Act, CutSlice, GpuLayout, LayoutOutcome, LayoutState, LayoutStep

CUTTABLE = [board for board in boards().values() if board.profiles[0].gi is not None]


@st.composite
def layouts_of(draw: st.DrawFn, board: Board) -> tuple[Slice, ...]:
    """A legal layout, `whole` among them."""
    if draw(st.integers(0, 9)) == 0:
        return (OFF,)
    layout: tuple[Slice, ...] = ()
    for piece in draw(st.permutations([p for p in board.placements() if p != OFF]))[: draw(st.integers(0, 12))]:
        if fits(board, layout, piece):
            layout = (*layout, piece)
    return layout


def reading_of(board: Board, layout: tuple[Slice, ...], *, begun: int = 0) -> Reading:
    """A GPU that is cut so; the first `begun` slices have no compute instance."""
    table = tuple(
        NvmlProfile(p.nvml, p.gi or 0, p.name, p.size, p.starts, p.most, p.sm or 0, 0)
        for p in board.profiles
        if p.nvml is not None
    )
    instances = tuple(
        Instance(i, profile.gi or 0, piece.start, profile.size, () if i < begun else (Compute(0, f"MIG-{i}", 1, ()),))
        for i, piece in enumerate(layout)
        if piece != OFF and (profile := board.profile(piece.profile))
    )
    on = bool(layout) and layout != (OFF,)
    return Reading("GPU-0", board.names[0], board.pci[0], on, on, table, instances)


def carried_out(board: Board, there: set[Slice], planned: tuple[Planned, ...]) -> set[Slice]:
    """What is there after the steps; each has to be possible where it stands."""
    for one in planned:
        if one.step.act is Act.DESTROY:
            there.discard(one.step.piece)
        else:
            assert one.instance is not None or fits(board, there, one.step.piece)
            there.add(one.step.piece)
    return there


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_steps_lead_to_the_layout_touch_what_stays_never_and_are_the_fewest(data: st.DataObject) -> None:
    board = data.draw(st.sampled_from(CUTTABLE))
    before, after = data.draw(layouts_of(board)), data.draw(layouts_of(board))
    reading = reading_of(board, before, begun=data.draw(st.integers(0, 2)))
    planned = steps(reading, board, after)
    there = {OFF} if reading.mode is False else {piece_of(reading, board, i) for i in reading.instances}
    # MIG off and nothing asked for: the mode is left as it is
    assert carried_out(board, set(there), planned) == (set(after) or there & {OFF})
    whole = {piece_of(reading, board, i) for i in reading.instances if i.computes}
    touched = {one.step.piece for one in planned}
    assert not touched & whole & set(after)
    assert len(planned) == len({(one.step.act, one.step.piece) for one in planned})
    assert touched <= (there | set(after)) | {OFF}
    assert set(staying(reading, board, after)) == {
        uuid for i in reading.instances if piece_of(reading, board, i) in after for uuid in i.uuids
    }


def test_an_instance_of_another_size_is_another_slice() -> None:
    board = boards()["h100-80gb"]
    reading = reading_of(board, (Slice("3g.40gb", 0),))
    shrunk = Reading(
        **{name: getattr(reading, name) for name in ("uuid", "name", "pci", "mode", "pending", "table")},
        instances=(Instance(0, 9, 0, 3, (Compute(0, "MIG-0", 1, ()),)),),
    )
    acts = [one.step.act for one in steps(shrunk, board, (Slice("3g.40gb", 0),))]
    assert acts == [Act.DESTROY, Act.CREATE]


pieces = st.builds(Slice, st.sampled_from(["1g.10gb", WHOLE]), st.integers(0, 11))
words = st.text(max_size=5)
outcomes = st.builds(
    LayoutOutcome,
    words,
    st.sampled_from(LayoutState),
    st.lists(
        st.builds(LayoutStep, st.sampled_from([Act.CREATE, Act.DESTROY]), pieces, st.booleans(), words, words),
        max_size=3,
    ).map(tuple),
    words,
)
cuts = st.builds(
    CutSlice,
    pieces,
    st.integers(1, 12),
    st.lists(words, max_size=2).map(tuple),
    st.integers(0, 200),
    st.integers(0, 10**6),
    st.lists(words, max_size=2).map(tuple),
)
gpus = st.builds(
    GpuLayout,
    words,
    words,
    words,
    st.none() | st.booleans(),
    st.none() | st.booleans(),
    st.lists(cuts, max_size=3).map(lambda found: tuple(sorted(found, key=lambda cut: cut.piece.start))),
    words,
    st.none() | outcomes,
)


@given(gpus, outcomes)
@settings(max_examples=30)
def test_what_is_told_is_read_back(gpu: GpuLayout, outcome: LayoutOutcome) -> None:
    assert layout_of_document(layout_document(gpu)) == gpu
    assert outcome_of_document(outcome_document(outcome)) == outcome

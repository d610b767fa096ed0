"""What mig-parted is told, as values and as the text of its file."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.act.mig.operator.cuts import Cut, Cuts, cuts_in, cuts_wanted, entry_of, names_of, resources_of
from controlplane.act.mig.operator.parted_file import entries, with_entries
from controlplane.act.mig.operator.reading import last_error
from controlplane.agent.mig.present import LOST
from controlplane.domain.errors import ConflictError, NotFoundError
from controlplane.domain.mig import WHOLE, CutSlice, GpuLayout, Slice

OFF, TWO = Cut(mig=False), Cut(mig=True, counts={"1g.10gb": 2})
PROFILES = st.sampled_from(["1g.10gb", "1g.10gb+me", "3g.40gb", "7g.80gb"])
CUTS: st.SearchStrategy[Cuts] = st.lists(
    st.one_of(
        st.just(OFF),
        st.dictionaries(PROFILES, st.integers(1, 7)).map(
            lambda counts: Cut(mig=True, counts=dict(sorted(counts.items())))
        ),
    ),
    min_size=1,
    max_size=4,
).map(tuple)
# what stands in ConfigMaps: block and flow, comments, nothing yet, deeper indentation
FILES = [
    "",
    "version: v1\nmig-configs: {}\n",
    "version: v1\nmig-configs:\n",
    "version: v1\nmig-configs:  # ours\n    # x\n\n    a: [{devices: all, mig-enabled: true, mig-devices: {}}]\n",
    "mig-configs:\n  off:\n    - devices: [0]\n      mig-enabled: false\nversion: v1\n",
    "# head\nversion: v1\nmig-configs:\n  a: &a\n    - {devices: all, mig-enabled: false}\n  b: *a",
]


def gpu(uuid: str, *pieces: Slice, mig: bool | None = True, board: str = "h100-80gb", why: str = "") -> GpuLayout:
    return GpuLayout(uuid, "H100", board, mig, mig, tuple(CutSlice(piece, 1) for piece in pieces), why)


def test_an_entry_has_gpus_that_are_alike_together_and_every_gpu_once() -> None:
    assert entry_of((TWO, OFF, TWO)) == [
        {"devices": [0, 2], "mig-enabled": True, "mig-devices": {"1g.10gb": 2}},
        {"devices": [1], "mig-enabled": False, "mig-devices": {}},
    ]


@given(CUTS)
def test_an_entry_says_what_it_was_made_of_and_names_tell_contents_apart(cuts: Cuts) -> None:
    assert cuts_in(entry_of(cuts)) == cuts
    assert names_of(cuts) == names_of(
        tuple(Cut(cut.mig, dict(sorted(cut.counts.items(), reverse=True))) for cut in cuts)
    )
    other = (*cuts[:-1], Cut(mig=True, counts={**cuts[-1].counts, "2g.20gb": 1}))
    assert not {*names_of(cuts)} & {*names_of(other)}
    assert all(len(name) <= 63 for name in names_of(cuts))  # the most that a label's value has


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(FILES), CUTS, CUTS)
def test_entries_are_added_to_any_file_and_all_else_of_it_stays(text: str, cuts: Cuts, again: Cuts) -> None:
    first = with_entries(text, {names_of(cuts)[0]: entry_of(cuts)}, ())
    before = (yaml.safe_load(text) or {}).get("mig-configs") or {}
    assert entries(first) == before | {names_of(cuts)[0]: entry_of(cuts)}
    assert all(line in first.splitlines() for line in text.splitlines() if not line.startswith("mig-configs"))
    second = with_entries(first, {names_of(again)[1]: entry_of(again)}, {names_of(cuts)[0]})
    assert entries(second) == entries(first) | {names_of(again)[1]: entry_of(again)}
    assert with_entries(second, {names_of(again)[1]: entry_of(again)}, {names_of(cuts)[0]}) == second
    third = with_entries(second, {names_of(again)[1]: entry_of(again)}, ())
    assert entries(third) == before | {names_of(again)[1]: entry_of(again)}


@pytest.mark.parametrize(
    "text", ["[", "- 1", "version: v1\n", "mig-configs: [1]\n", '{"version": "v1", "mig-configs": {"a": []}}']
)
def test_a_file_to_which_nothing_can_be_added_is_refused(text: str) -> None:
    with pytest.raises(ConflictError, match=r"config\.yaml"):
        with_entries(text, {names_of((TWO,))[0]: entry_of((TWO,))}, ())


def test_gpus_that_are_not_named_stay_as_they_are() -> None:
    small = Slice("1g.10gb", 0)
    gpus = (gpu("a", small), gpu("b", Slice(WHOLE, 0), mig=False), gpu("t4", mig=None, board=""))
    assert cuts_wanted(gpus, {"b": [small, Slice("1g.10gb", 5)]}) == (Cut(mig=True, counts={"1g.10gb": 1}), TWO, OFF)
    assert cuts_wanted(gpus, {"a": []})[0] == Cut(mig=True)
    assert cuts_wanted(gpus, {"a": [Slice(WHOLE, 0)]})[0] == OFF


def test_nothing_is_asked_of_a_node_of_which_something_is_not_known() -> None:
    unread = gpu("b", mig=None, why="GPU is lost")
    with pytest.raises(ConflictError, match="GPU b of the same node cannot be read: GPU is lost"):
        cuts_wanted((gpu("a"), unread), {"a": []})
    with pytest.raises(ConflictError, match="GPU b cannot be cut: GPU is lost"):
        cuts_wanted((gpu("a"), unread), {"b": []})
    with pytest.raises(NotFoundError, match=r"'c'; known: a$"):
        cuts_wanted((LOST, gpu("a")), {"c": []})


@pytest.mark.parametrize("lost", [LOST, GpuLayout("l", "", why="the GPU is lost")])
def test_a_node_with_a_lost_gpu_is_refused_since_mig_parted_would_count_on_without_it(lost: GpuLayout) -> None:
    for gpus, name in (((lost, gpu("b")), lost.uuid or "0"), ((gpu("b"), lost), lost.uuid or "1")):
        with pytest.raises(ConflictError, match=f"GPU {name} of the same node cannot be read: the GPU is lost"):
            cuts_wanted(gpus, {"b": []})


def test_resources_are_named_as_the_strategy_has_them() -> None:
    mixed = (OFF, Cut(mig=True, counts={"1g.10gb": 2, "1g.10gb+me": 1}), TWO)
    assert resources_of("mixed", mixed) == {
        "nvidia.com/gpu": 1,
        "nvidia.com/mig-1g.10gb": 4,
        "nvidia.com/mig-1g.10gb.me": 1,
    }
    assert resources_of("single", (TWO, TWO)) == {"nvidia.com/gpu": 4}
    assert resources_of("", (OFF, OFF)) == {"nvidia.com/gpu": 2}
    for strategy, cuts in (("single", mixed), ("single", (Cut(mig=True),)), ("none", (TWO,)), ("", (TWO,))):
        with pytest.raises(ConflictError, match="strategy"):
            resources_of(strategy, cuts)


def test_why_mig_manager_failed_is_the_last_of_its_worst_messages() -> None:
    log = (
        'time="2026-11-29T01:00:00Z" level=error'
        ' msg="\\nThe following GPUs could not be reset:\\n  GPU 0: In use by \\"x\\""\n'
        'time="2026-11-29T01:00:01Z" level=fatal msg="Error setting MIGConfig: all orderings failed"\n'
        'time="2026-11-29T01:00:02Z" level=error msg="Error: exit status 1"\n'
    )
    assert last_error(log) == "Error setting MIGConfig: all orderings failed"
    first, *_ = log.splitlines()
    assert last_error(first) == 'The following GPUs could not be reset: GPU 0: In use by \\"x\\"'
    assert last_error("all is well") == ""

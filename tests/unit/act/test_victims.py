"""Which pods go first."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from controlplane.act.kubernetes.victims import COST, OURS, victims


def pod(name: str, *, ready: bool = True, born: int = 0, cost: str = "", going: bool = False) -> dict[str, Any]:
    meta: dict[str, Any] = {"name": name, "creationTimestamp": f"2026-11-22T09:00:{born:02}Z"}
    if cost:
        meta["annotations"] = {COST: cost}
    if going:
        meta["deletionTimestamp"] = "2026-11-22T10:00:00Z"
    return {"metadata": meta, "status": {"conditions": [{"type": "Ready", "status": str(ready)}]}}


def test_the_least_loaded_go_first_and_of_those_the_youngest() -> None:
    pods = [pod("old", born=1), pod("young", born=9), pod("busy", born=5)]
    assert victims(pods, 2, {"old": 1.0, "young": 1.0, "busy": 4.0}) == ("young", "old")


def test_those_that_are_not_ready_go_before_anybody_is_chosen() -> None:
    assert victims([pod("a"), pod("starting", ready=False)], 1, {"a": 0.0}) == ()


def test_one_that_tells_nothing_and_one_that_a_person_prices_are_not_chosen() -> None:
    pods = [pod("silent"), pod("dear", cost="100"), pod("ours", cost=OURS)]
    assert victims(pods, 3, {"dear": 0.0, "ours": 7.0}) == ("ours",)


@st.composite
def fleets(draw: st.DrawFn) -> list[dict[str, Any]]:
    made = []
    for n in range(draw(st.integers(0, 8))):
        ready, going, born = draw(st.booleans()), draw(st.booleans()), draw(st.integers(0, 59))
        cost = draw(st.sampled_from(["", OURS, "7"]))
        made.append(pod(str(n), ready=ready, born=born, cost=cost, going=going))
    return made


@given(fleets(), st.integers(0, 9), st.dictionaries(st.sampled_from([str(n) for n in range(8)]), st.floats(0, 99)))
def test_no_more_are_chosen_than_go_and_none_that_holds_more_than_one_that_stays(
    pods: list[dict[str, Any]], fewer: int, loads: dict[str, float]
) -> None:
    chosen = victims(pods, fewer, loads)
    assert len(set(chosen)) == len(chosen) <= fewer
    named = {one["metadata"]["name"]: one for one in pods}
    free = {name for name, one in named.items() if one in candidates(pods, loads)}
    assert set(chosen) <= free
    assert all(loads[name] <= loads[stays] for name in chosen for stays in free - set(chosen))


def candidates(pods: list[dict[str, Any]], loads: dict[str, float]) -> list[dict[str, Any]]:
    return [
        one
        for one in pods
        if one["metadata"]["name"] in loads
        and one["status"]["conditions"][0]["status"] == "True"
        and "deletionTimestamp" not in one["metadata"]
        and one["metadata"].get("annotations", {}).get(COST, OURS) == OURS
    ]

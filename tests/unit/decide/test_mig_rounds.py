"""Steps of a plan put into rounds: who waits for whom, and what a share comes to."""

from __future__ import annotations

import pytest

from controlplane.decide.mig.rounds import in_rounds, most_at_once, most_gpus, taken_out
from controlplane.domain.layouts import LayoutStep


def recut(uuid: str, model: str = "small") -> list[LayoutStep]:
    """One slice given up and two cut in its place, on a GPU for itself."""
    return [
        LayoutStep(0, "drain", uuid, "3g.40gb", 0, model),
        LayoutStep(1, "destroy", uuid, "3g.40gb", 0),
        LayoutStep(2, "create", uuid, "1g.10gb", 0),
        LayoutStep(3, "start", uuid, "1g.10gb", 0, model),
    ]


def by_wave(steps: list[LayoutStep]) -> tuple[LayoutStep, ...]:
    return tuple(sorted(steps, key=lambda step: (step.wave, step.uuid)))


def told(steps: tuple[LayoutStep, ...]) -> list[str]:
    """By wave, as `round: action GPU` with what goes on at the same time."""
    waves: dict[int, list[str]] = {}
    for step in steps:
        waves.setdefault(step.wave, [f"{step.round}:"]).append(f"{step.action} {step.uuid}")
    return [" ".join(waves[wave]) for wave in sorted(waves)]


def of_rounds(steps: tuple[LayoutStep, ...]) -> list[list[str]]:
    """By round, the GPUs that it takes out of service; none for one that only adds."""
    return [sorted(taken_out(s for s in steps if s.round == number)) for number in range(steps[-1].round + 1)]


def test_gpus_that_wait_for_nobody_go_in_rounds_of_as_many_as_may() -> None:
    steps = by_wave([step for n in range(5) for step in recut(f"GPU-{n}", f"m{n}")])
    cut = in_rounds(steps, 2)
    assert of_rounds(cut) == [["GPU-0", "GPU-1"], ["GPU-2", "GPU-3"], ["GPU-4"]]
    assert [step.wave for step in cut] == sorted(step.wave for step in cut)
    assert told(cut)[:5] == [
        "0: drain GPU-0 drain GPU-1",
        "0: destroy GPU-0 destroy GPU-1",
        "0: create GPU-0 create GPU-1",
        "0: start GPU-0 start GPU-1",
        "1: drain GPU-2 drain GPU-3",
    ]
    assert in_rounds(steps, 5) == steps, "as they were, where none is over and nothing only adds"


def test_what_only_adds_is_never_held_up_and_comes_first() -> None:
    adds = [LayoutStep(0, "create", f"GPU-{n}", "1g.10gb", 6) for n in range(3)]
    starts = [LayoutStep(1, "start", f"GPU-{n}", "1g.10gb", 6, "small") for n in range(3)]
    drains = [LayoutStep(2, "drain", f"GPU-{n}", "3g.40gb", 0, "small") for n in range(3)]
    assert told(in_rounds(by_wave([*adds, *starts, *drains]), 1)) == [
        "0: create GPU-0 create GPU-1 create GPU-2",
        "0: start GPU-0 start GPU-1 start GPU-2",
        "1: drain GPU-0",
        "2: drain GPU-1",
        "3: drain GPU-2",
    ]


def test_an_exchange_through_a_spare_takes_one_gpu_out_of_service() -> None:
    """The slice cut meanwhile on GPU-b was never in service: giving it up takes nothing away."""
    exchange = [
        LayoutStep(0, "create", "GPU-b", "1g.10gb", 0, temporary=True),
        LayoutStep(1, "start", "GPU-b", "1g.10gb", 0, "small", temporary=True),
        *(LayoutStep(s.wave + 2, s.action, s.uuid, s.profile, s.start, s.model) for s in recut("GPU-a")),
        LayoutStep(6, "drain", "GPU-b", "1g.10gb", 0, "small", temporary=True),
        LayoutStep(7, "destroy", "GPU-b", "1g.10gb", 0, temporary=True),
    ]
    assert taken_out(exchange) == {"GPU-a"}
    steps = by_wave([*exchange, *recut("GPU-c", "other")])
    cut = in_rounds(steps, 1)
    assert {step.round for step in cut if step.uuid == "GPU-a"} != {step.round for step in cut if step.uuid == "GPU-c"}
    order = [(step.action, step.uuid) for step in cut if step.model == "small"]
    assert order == [("start", "GPU-b"), ("drain", "GPU-a"), ("start", "GPU-a"), ("drain", "GPU-b")]


def test_a_gpu_for_which_another_waits_goes_in_a_round_before_it() -> None:
    """GPU-a's second copy may go once GPU-c has another, for which GPU-c has to give up a slice first."""
    steps = by_wave(
        [
            *recut("GPU-a"),
            LayoutStep(0, "drain", "GPU-b", "3g.40gb", 0, "third"),
            *(LayoutStep(s.wave + 2, s.action, "GPU-c", s.profile, s.start, "large") for s in recut("GPU-c")),
            LayoutStep(6, "drain", "GPU-a", "4g.40gb", 4, "large"),
        ]
    )
    assert of_rounds(in_rounds(steps, 1)) == [["GPU-b"], ["GPU-c"], ["GPU-a"]]


def exchange(*uuids: str, wave: int = 0) -> list[LayoutStep]:
    """Each gives up a copy, takes one of the next, and gives up another that the one before it has by then."""
    steps = []
    for at, uuid in enumerate(uuids):
        own, other = f"of {uuid}", f"of {uuids[at - 1]}"
        steps += [LayoutStep(s.wave + wave, s.action, uuid, s.profile, s.start, other) for s in recut(uuid)]
        steps += [LayoutStep(wave + 4, "drain", uuid, "3g.40gb", 4, own)]
    return steps


def test_only_gpus_that_need_each_other_are_out_together_beyond_the_bound_and_last() -> None:
    steps = by_wave([*exchange("GPU-a", "GPU-b"), *recut("GPU-c", "other"), *recut("GPU-d", "another")])
    assert of_rounds(in_rounds(steps, 1)) == [["GPU-c"], ["GPU-d"], ["GPU-a", "GPU-b"]]
    assert of_rounds(in_rounds(steps, 2)) == [["GPU-c", "GPU-d"], ["GPU-a", "GPU-b"]]
    assert of_rounds(in_rounds(steps, 3)) == [["GPU-c", "GPU-d"], ["GPU-a", "GPU-b"]]
    assert [most_at_once(in_rounds(steps, most)) for most in (1, 2, 4)] == [2, 2, 4]


def test_what_an_earlier_plan_left_without_copies_is_back_before_another_gpu_goes() -> None:
    """GPU-z has no copy: it is filled first; GPU-y has none and an old slice: it goes before GPU-a, which serves."""
    adds = [LayoutStep(5, "create", "GPU-z", "1g.10gb", 0), LayoutStep(6, "start", "GPU-z", "1g.10gb", 0, "small")]
    idle = [LayoutStep(s.wave + 4, s.action, "GPU-y", s.profile, s.start, s.model) for s in recut("GPU-y", "own")[1:]]
    cut = in_rounds(by_wave([*recut("GPU-a"), *idle, *adds]), 1)
    assert [sorted({s.uuid for s in cut if s.round == r}) for r in range(3)] == [["GPU-z"], ["GPU-y"], ["GPU-a"]]


def test_what_is_out_of_service_already_goes_first_though_it_serves_in_part() -> None:
    steps = by_wave([step for n in range(3) for step in recut(f"GPU-{n}", f"m{n}")])
    assert of_rounds(in_rounds(steps, 1, {"GPU-2"})) == [["GPU-2"], ["GPU-0"], ["GPU-1"]]
    assert of_rounds(in_rounds(steps, 2, {"GPU-2", "not of the plan"})) == [["GPU-0", "GPU-2"], ["GPU-1"]]


def test_what_is_out_takes_with_it_what_it_waits_for_before_others_go() -> None:
    """GPU-c, which is out already, gives up another copy once GPU-b has it: so GPU-b goes before GPU-a."""
    steps = by_wave(
        [
            *recut("GPU-a", "other"),
            *(LayoutStep(s.wave, s.action, s.uuid, s.profile, s.start, "large") for s in recut("GPU-b")),
            LayoutStep(4, "drain", "GPU-c", "4g.40gb", 4, "large"),
        ]
    )
    assert of_rounds(in_rounds(steps, 1)) == [["GPU-a"], ["GPU-b"], ["GPU-c"]]
    assert of_rounds(in_rounds(steps, 1, {"GPU-c"})) == [["GPU-b"], ["GPU-c"], ["GPU-a"]]


@pytest.mark.parametrize(
    ("share", "gpus", "most"), [(0.25, 8, 2), (0.25, 3, 1), (0.5, 3, 1), (1.0, 7, 7), (0.1, 30, 3)]
)
def test_a_share_is_rounded_down_and_one_may_always_be(share: float, gpus: int, most: int) -> None:
    assert most_gpus(share, gpus) == most


@pytest.mark.parametrize(
    ("step", "takes"),
    [
        (LayoutStep(0, "create", "g", "1g.10gb", 0), False),
        (LayoutStep(0, "start", "g", "1g.10gb", 0, "m"), False),
        (LayoutStep(0, "drain", "g", "1g.10gb", 0, "m"), True),
        (LayoutStep(0, "destroy", "g", "1g.10gb", 0), True),
        (LayoutStep(0, "drain", "g", "1g.10gb", 0, "m", temporary=True), False),
        (LayoutStep(0, "destroy", "g", "whole", 0), True),
        (LayoutStep(0, "create", "g", "whole", 0), True),
    ],
)
def test_a_step_takes_away_where_something_goes_or_the_mode_changes(step: LayoutStep, takes: bool) -> None:
    assert step.takes_away is takes
